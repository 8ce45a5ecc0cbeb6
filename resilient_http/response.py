"""Responses whose `raise_for_status()` raises the contract's classes."""

import zlib
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self, cast

import httpx

from resilient_http._core.attempt import Attempt
from resilient_http._hands.pool import aclose
from resilient_http.bodies import Around, iterating
from resilient_http.errors import answered
from resilient_http.family import Family
from resilient_http.problems import MEDIA_TYPE, AppException, Contract
from resilient_http.problems.contract import MAX_DOCUMENT

_FIRST_REDIRECT: Final = 300
FIRST_ERROR: Final = 400
_ANNOUNCING: Final = frozenset(
    {b"retry-after", b"ratelimit", b"ratelimit-remaining", b"x-ratelimit-remaining"}
)
_FAMILIES: Final = ("httpx", "httpx2")
_NEWS: Final = _ANNOUNCING | {b"set-cookie", b"content-encoding"}
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


if TYPE_CHECKING:
    _Plain = httpx.Response
else:
    _Plain = object


class TypedErrors(_Plain):
    """What our responses do besides what those of their family do."""

    _family: Family
    _contract: Contract
    _news: tuple[bytes, ...] | None = None
    attempts: tuple[Attempt, ...] = ()
    """Every send of the call, in order, this answer's included."""
    has_own_close = False
    """Whether closing it takes more than closing its body."""
    peeked: bytes = b""
    """What was read of an error's body before its caller was asked."""

    @property
    def has_content(self) -> bool:
        """Whether the body is here already."""
        return hasattr(self, "_content")

    def begin_body(self) -> Any:
        """Return the raw body, to be read to its end and given to `keep`."""
        self.is_stream_consumed = True
        # Past what httpx puts around it to time it, which would keep its generator
        # from being ended: closing goes through that all the same.
        bound = getattr(self.stream, "_stream", None)
        return bound if isinstance(bound, self._family.bodies) else self.stream

    @property
    def has_redirect_location(self) -> bool:
        """Whether it sends the caller elsewhere."""
        # What httpx compares it with takes longer to look up than all else here.
        return _FIRST_REDIRECT <= self.status_code < FIRST_ERROR and (
            super().has_redirect_location
        )

    @property
    def announces(self) -> bool:
        """Whether it may say when to come again."""
        return not _ANNOUNCING.isdisjoint(news(self))

    def decoder(self) -> Any:
        """Return what undoes the content encoding; None where there is none."""
        if b"content-encoding" not in news(self):
            return None
        return self._get_content_decoder()

    def keep(self, content: bytes, raw: int) -> None:
        """Take the body, as it was read to its end in so many `raw` bytes."""
        self._content = content
        self._num_bytes_downloaded = raw
        if not hasattr(self.stream, "elapsed"):
            # What httpx binds to a response holds it, and both would wait for the
            # collector; what httpx2 does holds the time and nothing else.
            self.stream = self._family.bytes(content)

    def rejoin(self, first: list[bytes], rest: object, whole: object) -> None:
        """Put back the part of the body that was read ahead of the caller."""
        self.peeked = b"".join(first)
        self.stream = self._family.stream(_Rejoined)(first, rest, whole)

    def reopen(self) -> None:
        """Let what was seen be read, though its connection is gone."""
        if not self.has_content:
            self._replace(self._family.http.ByteStream(self.peeked))
            self.is_closed = self.is_stream_consumed = False

    def raise_for_status(self) -> Self:
        """Return the response itself, or raise what it says went wrong.

        Raises:
            AppException: Any 4xx or 5xx, as the class of its problem type, else of its
                status; an `httpx.HTTPStatusError` as well.
            httpx.HTTPStatusError: 1xx and 3xx, as httpx does.

        """
        if self.status_code < FIRST_ERROR:
            super().raise_for_status()
            return self
        raise self.error()

    def problem(self) -> AppException:
        """Return the problem that an error answer carries, whatever its body."""
        encoding = self.headers.get("content-encoding", "")
        body = self.content if self.has_content else _decoded(self.peeked, encoding)
        return self._contract.parse(
            self.status_code, self.headers, body, str(self.request.url)
        )

    def error(self) -> AppException:
        """Return what `raise_for_status` raises of an error answer."""
        return answered(self.problem(), self, self.attempts, self._family)

    def _replace(self, stream: httpx.ByteStream) -> None:
        elapsed = getattr(self.stream, "elapsed", None)
        if elapsed is not None:  # httpx2 leaves it with the stream
            self.elapsed = elapsed
        self.stream = stream


class Response(TypedErrors, httpx.Response):
    """An `httpx.Response` that knows its contract.

    Responses are made by transports; `adopt` makes one of these out of any.
    """


def news(response: Any) -> tuple[bytes, ...]:
    """Return which of the headers that few answers have this one has."""
    found: tuple[bytes, ...] | None = getattr(response, "_news", None)
    if found is None:
        # One look through the raw names; asked one by one, httpx decodes all of them.
        names = [name.lower() for name, _ in response.headers.raw]
        found = ()
        if not _NEWS.isdisjoint(names):
            found = tuple(name for name in names if name in _NEWS)
        response._news = found  # noqa: SLF001 - a name of ours
    return found


def adopt(response: Any, family: Family, contract: Contract) -> Response:
    """Make `response` one of ours, in place: a copy would cost a third of a call."""
    if not isinstance(response, TypedErrors):
        cls: Any = type(response)
        response.__class__ = ours(cls)
    response._family, response._contract = family, contract  # noqa: SLF001 - it is ours now
    return cast("Response", response)


@cache
def ours(cls: Any) -> type[Response]:
    """Return the class that is `cls`, and knows its contract."""
    if cls is httpx.Response:
        return Response
    closed_by = cls.aclose.__module__.partition(".")[0]
    own = {"has_own_close": closed_by not in _FAMILIES}
    return cast("type[Response]", type(cls.__name__, (TypedErrors, cls), own))


def carries_problem(response: Response) -> bool:
    """Whether the answer is an error whose body says more than its status."""
    if response.status_code < FIRST_ERROR:
        return False
    media_type: str = response.headers.get("content-type", "")
    return media_type.lower().startswith(MEDIA_TYPE)


def _decoded(raw: bytes, encoding: str) -> bytes:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "deflate"):
        return b""  # no decoder of the others can be told where to stop
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(raw, MAX_DOCUMENT + 1)
    except zlib.error:
        return b""


class _Rejoined(Around):
    """A body of which the first part has been read already."""

    def __init__(self, first: list[bytes], rest: Any, whole: Any) -> None:
        super().__init__(whole)
        self._first = first
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        yield from self._first
        yield from self._rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with iterating(self._rest) as rest:
            for chunk in self._first:
                yield chunk
            async for chunk in rest:
                yield chunk

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        async with iterating(self._rest):
            await self._stream.aclose()


def peek(response: Response) -> None:
    """Read the problem at the head of a body, and put it back for the caller."""
    stream: Any = response.stream
    rest, first, size = iter(stream), [], 0
    for chunk in rest:
        first.append(chunk)
        size += len(chunk)
        if size > MAX_DOCUMENT:
            break
    response.rejoin(first, rest, stream)


async def apeek(response: Response) -> None:
    """Read the problem at the head of a body, and put it back for the caller."""
    stream: Any = response.stream
    rest, first, size = aiter(stream), [], 0
    async for chunk in rest:
        first.append(chunk)
        size += len(chunk)
        if size > MAX_DOCUMENT:
            break
    response.rejoin(first, rest, stream)


def discard(response: Response) -> None:
    """Free the connection of an answer; what was seen of it stays readable."""
    response.close()
    response.reopen()


async def adiscard(family: Family, response: Response) -> None:
    """Free the connection of an answer; what was seen of it stays readable."""
    await aclose(family, response)
    response.reopen()
