"""A network backend whose reads and writes are timed for less.

On asyncio httpcore has anyio put a cancel scope with a timer of its own around each of
them, which is a good part of what a call costs. A place in the loop's table of timers
does the same. Connecting and the handshake of TLS stay as they are, since connections
are kept; and so does all of it on trio, whose scopes are cheap.
"""
# ruff: noqa: SLF001 - httpcore has no setting for it, and hides what it reads from

from contextlib import suppress
from functools import cache
from typing import Any, Final

import anyio

from resilient_http._hands.pool import owners
from resilient_http._hands.timers import phase
from resilient_http.family import Family

_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)
_SHORTEST: Final = 1e-3
"""Seconds below which it matters that a scope may be over before it begins."""


def quicken(transport: object, family: Family) -> None:
    """Have what async `transport` reads and writes timed for less.

    A foreign one is left as it is, and so are versions that are not known, and a
    network backend that somebody chose.
    """
    with suppress(AttributeError):  # a version with other names than those we know
        for owner in owners(family, transport, deepest=0):
            pool = owner._pool
            if type(pool._network_backend) is family.core._backends.auto.AutoBackend:
                pool._network_backend = _backend(family)()


def _timer(timeout: float | None) -> Any:
    """Return a timer of ours, or None where httpcore is to use its own."""
    is_short = timeout is not None and timeout < _SHORTEST
    return None if is_short else phase(timeout)


class _Stream:
    """What `AnyIOStream` is, with a timer of ours. See there for what is raised."""

    _core: Any
    _plain: type
    """What this takes the place of."""
    _stream: Any
    """What anyio reads and writes."""

    @classmethod
    def instead_of(cls, stream: Any) -> Any:
        """Return `stream`, as one of these if it is one of anyio's."""
        if type(stream) is cls._plain and hasattr(stream, "_stream"):
            stream.__class__ = cls
        return stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as httpcore has it
        time = _timer(timeout)
        if time is None:
            plain: Any = super()
            return await plain.read(max_bytes, timeout)
        try:
            with time:
                return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as error:
            raise self._core.ReadError(error) from error
        raise self._core.ReadTimeout

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - likewise
        time = _timer(timeout) if buffer else None
        if time is None:
            plain: Any = super()
            await plain.write(buffer, timeout)
            return
        try:
            with time:
                await self._stream.send(buffer)
                return
        except (*_BROKEN, anyio.EndOfStream) as error:
            raise self._core.WriteError(error) from error
        raise self._core.WriteTimeout

    async def start_tls(self, *args: Any, **options: Any) -> Any:
        plain: Any = super()
        return self.instead_of(await plain.start_tls(*args, **options))


class _Backend:
    """What `AutoBackend` is, with streams of ours where it has anyio's."""

    _streams: type[_Stream]

    async def connect_tcp(self, *args: Any, **options: Any) -> Any:
        plain: Any = super()
        return self._streams.instead_of(await plain.connect_tcp(*args, **options))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> Any:
        plain: Any = super()
        stream = await plain.connect_unix_socket(*args, **options)
        return self._streams.instead_of(stream)


@cache
def _backend(family: Family) -> Any:
    """Return the backend as a class of the family's."""
    backends = family.core._backends
    plain = backends.anyio.AnyIOStream
    known = {"_core": family.core, "_plain": plain}
    streams = type("Stream", (_Stream, plain), known)
    bases = _Backend, backends.auto.AutoBackend
    return type("Backend", bases, {"_streams": streams})
