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

import httpcore
import httpx

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


def bind(transport: httpx.BaseTransport | None) -> None:
    """Let the calls through `transport` be bounded. A foreign one is left as it is."""
    if isinstance(transport, httpx.HTTPTransport):
        pool = transport._pool  # noqa: SLF001 - httpx has no setting for it
        backend = pool._network_backend  # noqa: SLF001
        if not isinstance(backend, _Backend):
            pool._network_backend = _Backend(backend)  # noqa: SLF001


def _clamped(timeout: float | None, error: type[Exception]) -> float | None:
    left = _left.get()
    seconds = math.inf if left is None else left()
    if seconds <= 0:
        raise error("the time for the call is over")
    if seconds == math.inf:
        return timeout
    return seconds if timeout is None else min(timeout, seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _clamped(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            self._inner.write(piece, _clamped(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _clamped(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _clamped(timeout, httpcore.ConnectTimeout)
        return _Stream(
            self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        )

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _clamped(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)
