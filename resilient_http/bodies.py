"""Bodies: which can be sent again, how far they have got, and that they end."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from resilient_http.family import Family

PIECE: Final = 64 * 1024
"""Bytes handed on at a time, so that a body of one piece is seen to move, too."""

Moved = Callable[[int], None]


class Around:
    """A body around another one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def elapsed(self) -> timedelta | None:
        """How long the answer took, which httpx2 asks of its body; None until then."""
        return getattr(self._stream, "elapsed", None)


class Upload:
    """A request body that tells how it moves, and whether it can be sent again.

    It goes back to its first byte by itself, since httpcore may send it twice without
    telling anybody: what is used up would go out as an empty body.
    """

    def __init__(
        self, stream: Any, rewind: Callable[[], object] | None, spent: type[Exception]
    ) -> None:
        self.stream = stream
        self._spent = spent
        self._started = False
        self._rewind = rewind
        self.moved: Moved = _unheard

    @property
    def is_replayable(self) -> bool:
        """Whether a second send would carry the same bytes."""
        return self._rewind is not None

    def __iter__(self) -> Iterator[bytes]:
        self._start()
        for chunk in self.stream:
            for piece in _pieces(chunk):
                yield piece
                self.moved(len(piece))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._start()
        async with iterating(self.stream) as chunks:
            async for chunk in chunks:
                for piece in _pieces(chunk):
                    yield piece
                    self.moved(len(piece))

    def close(self) -> None:
        """Close the body that was wrapped."""
        self.stream.close()

    async def aclose(self) -> None:
        """Close the body that was wrapped."""
        await self.stream.aclose()

    def _start(self) -> None:
        if self._started:
            if self._rewind is None:
                raise self._spent("sent again, but its body can be read only once")
            self._rewind()
        self._started = True


class iterating:  # noqa: N801 - reads as a verb after `async with`
    """Iterate over a body, whose generator ends here even if it was not exhausted.

    Left to the garbage collector, it would end at any later time, under trio with a
    warning. No generator itself: the collector may end those it finds together in any
    order, and one that is held open by another's `yield` has to be the last.
    """

    __slots__ = ("_chunks",)

    def __init__(self, stream: Any) -> None:
        self._chunks: AsyncIterator[bytes] = aiter(stream)

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def __aexit__(self, *_: object) -> None:
        await end(self._chunks)


async def end(chunks: AsyncIterator[bytes]) -> None:
    """End a generator that may not have been exhausted."""
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


def upload_of(request: Any, colour: type, family: Family) -> Upload | None:
    """Return the body of `request` to be watched; None where one write will do.

    A body of the wrong colour is left for httpx to refuse.
    """
    stream = request.stream
    if isinstance(stream, family.bytes):
        if len(stream._stream) <= PIECE:  # noqa: SLF001 - it has no length of its own
            return None
    elif not isinstance(stream, colour):
        return None
    rewind, spent = _rewinder(stream, family), family.http.RemoteProtocolError
    upload: Upload = family.stream(Upload)(stream, rewind, spent)
    return upload


def _pieces(chunk: bytes) -> Iterator[bytes]:
    if len(chunk) <= PIECE:
        yield chunk
        return
    for start in range(0, len(chunk), PIECE):
        yield chunk[start : start + PIECE]


def _unheard(count: int) -> None:
    """Take no notice."""


def _rewinder(stream: Any, family: Family) -> Callable[[], object] | None:
    """Return what brings `stream` back to its first byte; None for a one-shot body."""
    if isinstance(stream, family.bytes):
        return _nothing_to_do
    # httpx has no public name for the rest, and they are told apart by what they hold.
    if hasattr(stream, "fields"):
        files = [getattr(field, "file", b"") for field in stream.fields]
        rewindable = all(isinstance(f, str | bytes) or _seekable(f) for f in files)
        return _nothing_to_do if rewindable else None  # it seeks by itself
    source: Any = getattr(stream, "_stream", None)
    if not _seekable(source):
        return None
    start = source.tell()
    return lambda: source.seek(start)


def _seekable(file: Any) -> bool:
    try:
        return bool(file.seekable())
    except AttributeError:
        return False


def _nothing_to_do() -> None:
    """Start over: iterating the body again is enough."""
