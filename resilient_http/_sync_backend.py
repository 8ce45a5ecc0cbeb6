"""A network backend whose every read and write ends when the call does.

httpx gives each socket operation of a sync call its own phase timeout, so a server that
sends a byte at a time is waited for without end. Here each operation gets what is left
of the call where that is less.
"""

import math
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from resilient_http.family import Family

_PIECE: Final = 16 * 1024
"""Bytes written under one timeout: a socket applies it to each part it accepts."""

_left: ContextVar[Callable[[], float] | None] = ContextVar("left", default=None)


@contextmanager
def bounded(left: Callable[[], float]) -> Iterator[None]:
    """Bound the network operations inside by `left()`, in seconds, asked each time."""
    token = _left.set(left)
    try:
        yield
    finally:
        _left.reset(token)


def bind(transport: object, family: Family) -> None:
    """Let the calls through `transport` be bounded. A foreign one is left as it is."""
    if isinstance(transport, family.http.HTTPTransport):
        pool = vars(transport)["_pool"]  # httpx has no setting for it
        backend = vars(pool)["_network_backend"]
        if not isinstance(backend, _Backend):
            vars(pool)["_network_backend"] = _Backend(backend, family.core)


def _clamped(timeout: float | None, error: type[Exception]) -> float | None:
    left = _left.get()
    seconds = math.inf if left is None else left()
    if seconds <= 0:
        raise error("the time for the call is over")
    if seconds == math.inf:
        return timeout
    return seconds if timeout is None else min(timeout, seconds)


class _Stream:
    def __init__(self, inner: Any, core: Any) -> None:
        self._inner = inner
        self._core = core

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        timeout = _clamped(timeout, self._core.ReadTimeout)
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
        return _Stream(inner, self._core)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend:
    def __init__(self, inner: Any, core: Any) -> None:
        self._inner = inner
        self._core = core

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
        return _Stream(inner, self._core)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "_Stream":
        timeout = _clamped(timeout, self._core.ConnectTimeout)
        inner = self._inner.connect_unix_socket(path, timeout, socket_options)
        return _Stream(inner, self._core)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)
