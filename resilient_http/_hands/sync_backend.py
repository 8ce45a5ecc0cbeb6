"""A network backend whose every read and write ends when the call does.

httpx gives each socket operation of a sync call its own phase timeout, so a server that
sends a byte at a time is waited for without end. Here each operation gets what is left
of the call where that is less.
"""

import math
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, Protocol

from resilient_http.family import Family

_PIECE: Final = 16 * 1024
"""Bytes written under one timeout: a socket applies it to each part it accepts."""


class Bound(Protocol):
    """What bounds the operations of one send."""

    busy: Any
    """The stream that is read or written, where it may be cut from another thread."""

    def left(self) -> float:
        """Return what is left, in seconds; asked before each operation."""


_bound: ContextVar[Bound | None] = ContextVar("bound", default=None)


class bounded:  # noqa: N801 - a context manager, and a generator would cost as much again
    """Bound the network operations inside."""

    __slots__ = ("_by", "_token")

    def __init__(self, by: Bound) -> None:
        self._by = by

    def __enter__(self) -> None:
        self._token = _bound.set(self._by)

    def __exit__(self, *raised: object) -> None:
        _bound.reset(self._token)


def cut(bound: Bound) -> None:
    """Have the operation that is under way fail, whichever thread it is in."""
    stream = bound.busy
    if stream is not None:
        # Not closed, which would leave its thread to wait for a file that is gone.
        with suppress(OSError):
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def bind(transport: object, family: Family) -> None:
    """Let the calls through `transport` be bounded. A foreign one is left as it is."""
    if isinstance(transport, family.http.HTTPTransport):
        pool = vars(transport)["_pool"]  # httpx has no setting for it
        backend = vars(pool)["_network_backend"]
        if not isinstance(backend, _Backend):
            # Over HTTP/2 a connection is shared, and not cut for one of its requests.
            is_own = not vars(pool)["_http2"]
            vars(pool)["_network_backend"] = _Backend(backend, family.core, is_own)


def _clamped(timeout: float | None, error: type[Exception]) -> float | None:
    bound = _bound.get()
    seconds = math.inf if bound is None else bound.left()
    if seconds <= 0:
        raise error("the time for the call is over")
    if seconds == math.inf:
        return timeout
    return seconds if timeout is None else min(timeout, seconds)


class _Stream:
    def __init__(self, inner: Any, core: Any, is_own: bool) -> None:  # noqa: FBT001 - only ever handed on
        self._inner = inner
        self._core = core
        self._is_own = is_own

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        bound = _bound.get()
        if bound is None or not self._is_own:
            timeout = _clamped(timeout, self._core.ReadTimeout)
            return self._read(max_bytes, timeout)
        bound.busy = self._inner
        try:
            # Asked after it is known what to cut, so that no cut comes in between.
            timeout = _clamped(timeout, self._core.ReadTimeout)
            return self._read(max_bytes, timeout)
        finally:
            bound.busy = None

    def _read(self, max_bytes: int, timeout: float | None) -> bytes:
        data: bytes = self._inner.read(max_bytes, timeout)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            self._inner.write(piece, _clamped(timeout, self._core.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "_Stream":
        timeout = _clamped(timeout, self._core.ConnectTimeout)
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(inner, self._core, self._is_own)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend:
    def __init__(self, inner: Any, core: Any, is_own: bool) -> None:  # noqa: FBT001 - only ever handed on
        self._inner = inner
        self._core = core
        self._is_own = is_own

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "_Stream":
        timeout = _clamped(timeout, self._core.ConnectTimeout)
        inner = self._inner.connect_tcp(
            host, port, timeout, local_address, socket_options
        )
        return _Stream(inner, self._core, self._is_own)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "_Stream":
        timeout = _clamped(timeout, self._core.ConnectTimeout)
        inner = self._inner.connect_unix_socket(path, timeout, socket_options)
        return _Stream(inner, self._core, self._is_own)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)
