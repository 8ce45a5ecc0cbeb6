"""The hands: what sends, reads, waits and gives up. What to do is decided elsewhere.

A request goes one way through it::

    httpx client -> handle_request -> Hop: what now?  -> inner transport
                 <- response       <- Hop: enough?    <- answer or error

Everything stands here twice, once for each colour, and nothing twice that decides.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import httpx

from resilient_http._core.hop import Send
from resilient_http._pool import aclose, mend
from resilient_http._sync_backend import bind, bounded
from resilient_http._timers import Timer, timer
from resilient_http.call import TICK, Call, Hop
from resilient_http.family import HTTPX, Family
from resilient_http.policy import Policy
from resilient_http.problems import Contract
from resilient_http.response import Response, adiscard, apeek, discard, peek
from resilient_http.settings import Settings
from resilient_http.state import State


async def acarry_out(hop: Hop, send: Callable[[Any], Awaitable[Any]]) -> Response:
    """Do what `hop` wants done until it wants no more."""
    with hop:
        while (command := hop.command) is not None:
            if isinstance(command, Send):
                await _asend(hop, send)
                continue
            if not isinstance(hop.last, Exception | None):
                await adiscard(hop.call.family, hop.last)
            await hop.call.settings.state.clock.asleep(command.delay)
            hop.woke()
    response = hop.result()
    if hop.is_unread:
        response.stream = hop.call.family.stream(_AsyncBody)(hop, response.stream)
    return response


def carry_out(hop: Hop, send: Callable[[Any], Any]) -> Response:
    """Do what `hop` wants done until it wants no more."""
    with hop:
        while (command := hop.command) is not None:
            if isinstance(command, Send):
                _send(hop, send)
                continue
            if not isinstance(hop.last, Exception | None):
                discard(hop.last)
            hop.call.settings.state.clock.sleep(command.delay)
            hop.woke()
    response = hop.result()
    if hop.is_unread:
        response.stream = hop.call.family.stream(_Body)(hop, response.stream)
    return response


async def _asend(hop: Hop, send: Callable[[Any], Awaitable[Any]]) -> None:
    hop.sending()
    try:
        with _timer(hop) as time:
            answer = await send(hop.request)
            try:
                response = hop.head(answer)
                await _aread(hop, response)
            except BaseException as error:
                await mend(hop.call.family, answer, error)
                with anyio.CancelScope(shield=True):
                    await aclose(hop.call.family, answer)
                raise
    except hop.expected as error:
        _failed(hop, error)
    else:
        if time.expired:
            hop.gave_up()
        else:
            hop.replied(response)


def _send(hop: Hop, send: Callable[[Any], Any]) -> None:
    hop.sending()
    try:
        with bounded(hop.call.left):
            answer = send(hop.request)
            try:
                response = hop.head(answer)
                _read(hop, response)
            except BaseException:
                answer.close()
                raise
    except hop.expected as error:
        _failed(hop, error)
    else:
        hop.replied(response)


def _failed(hop: Hop, error: Exception) -> None:
    if _is_time_up(hop, error):
        hop.gave_up()
    else:
        hop.failed(error)


def _is_time_up(hop: Hop, error: Exception) -> bool:
    is_timeout = isinstance(error, hop.call.family.http.TimeoutException)
    return is_timeout and hop.call.left() <= TICK


def _timer(hop: Hop) -> Timer:
    """Return what gives up on what is under way when its time is over."""
    found = timer(hop.call.left)
    hop.rearm = found.rearm
    return found


async def _aread(hop: Hop, response: Response) -> None:
    if hop.call.streamed:
        if hop.wants_peek(response):
            await apeek(response)
        return
    if response.has_content:
        return
    parts: list[bytes] = []
    seen = 0
    async for part in response.aiter_bytes():
        if parts:  # most bodies come in one, and need no more time
            hop.moved(response.num_bytes_downloaded - seen)
        parts.append(part)
        seen = response.num_bytes_downloaded
    response.keep(b"".join(parts))


def _read(hop: Hop, response: Response) -> None:
    if hop.call.streamed:
        if hop.wants_peek(response):
            peek(response)
        return
    if response.has_content:
        return
    parts: list[bytes] = []
    seen = 0
    for part in response.iter_bytes():
        hop.check_time()  # a foreign transport has nobody else to do it
        if parts:
            hop.moved(response.num_bytes_downloaded - seen)
        parts.append(part)
        seen = response.num_bytes_downloaded
    response.keep(b"".join(parts))


class _AsyncBody:
    """A body that the caller reads, within the limits of the call it belongs to."""

    def __init__(self, hop: Hop, stream: Any) -> None:
        self._hop = hop
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        while True:
            with _timer(self._hop) as time:
                try:
                    chunk = await anext(chunks, None)
                except BaseException as error:
                    await mend(self._hop.call.family, self._stream, error)
                    if isinstance(error, self._hop.expected):
                        self._hop.body_failed(error)
                    raise
            if time.expired:
                raise await self._give_up()
            if chunk is None:
                break
            yield chunk
        self._hop.body_ended()

    async def aclose(self) -> None:
        """Close the body that was wrapped."""
        self._hop.body_ended()
        await aclose(self._hop.call.family, self._stream)

    async def _give_up(self) -> Exception:
        error = self._hop.call.too_late(self._hop.request)
        self._hop.body_failed(error)
        with anyio.CancelScope(shield=True):
            await aclose(self._hop.call.family, self._stream)
        return error


class _Body:
    """A body that the caller reads, within the limits of the call it belongs to."""

    def __init__(self, hop: Hop, stream: Any) -> None:
        self._hop = hop
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._stream)
        while (chunk := self._next(chunks)) is not None:
            yield chunk
        self._hop.body_ended()

    def close(self) -> None:
        """Close the body that was wrapped."""
        self._hop.body_ended()
        self._stream.close()

    def _next(self, chunks: Iterator[bytes]) -> bytes | None:
        try:
            with bounded(self._hop.call.left):
                self._hop.check_time()
                return next(chunks, None)
        except self._hop.expected as error:
            if not _is_time_up(self._hop, error):
                self._hop.body_failed(error)
                raise
        raise self._give_up()

    def _give_up(self) -> Exception:
        error = self._hop.call.too_late(self._hop.request)
        self._hop.body_failed(error)
        self._stream.close()
        return error


class Transport:
    """What both transports do, in whichever family and colour."""

    _family: Family
    _takes: str
    """The family's name for what may be inside."""
    _makes: str
    """The family's name for what is inside unless told otherwise."""

    def __init__(
        self,
        inner: Any = None,
        policy: Policy | None = None,
        *,
        contract: Contract | None = None,
        state: State | None = None,
    ) -> None:
        http = self._family.http
        if not isinstance(inner, getattr(http, self._takes) | None):
            raise TypeError(f"inner must be {self._takes} or None, got {inner!r}")
        self._inner = getattr(http, self._makes)() if inner is None else inner
        self._settings = Settings(policy, contract, state, self._family)
        bind(self._inner, self._family)


class AsyncTransport(Transport):
    """What `AsyncResilientTransport` does, in whichever family."""

    _takes = "AsyncBaseTransport"
    _makes = "AsyncHTTPTransport"

    async def handle_async_request(self, request: Any) -> Any:
        """Send `request` as often as the policy allows; return the last answer."""
        call = Call(self._settings, request, streamed=True)
        hop = Hop(call, request, self._family.http.AsyncByteStream)
        return await acarry_out(hop, self._send_once)

    async def _send_once(self, request: Any) -> Any:
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            await mend(self._family, self._inner, error)
            raise
        response.request = request
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


class SyncTransport(Transport):
    """What `ResilientTransport` does, in whichever family."""

    _takes = "BaseTransport"
    _makes = "HTTPTransport"

    def handle_request(self, request: Any) -> Any:
        """Send `request` as often as the policy allows; return the last answer."""
        call = Call(self._settings, request, streamed=True)
        hop = Hop(call, request, self._family.http.SyncByteStream)
        return carry_out(hop, self._send_once)

    def _send_once(self, request: Any) -> Any:
        response = self._inner.handle_request(request)
        response.request = request
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()


class AsyncResilientTransport(AsyncTransport, httpx.AsyncBaseTransport):
    """Send through `inner` under a policy; for clients that are not ours.

    Each request that reaches it is a call of its own, and every response counts as
    streamed: its body is bounded by what the caller chose, and never read twice.

    Args:
        inner: Where requests go; None for an `httpx.AsyncHTTPTransport`. A client that
            is given a transport ignores its own `verify`, `http2`, `limits` and
            proxies: set them on `inner`, or use `resilient_http.wrap(client)`.
        policy: What to do when things go wrong; None for the defaults.
        contract: The problems to tell apart; None for the built-in ones.
        state: What is remembered between calls; None for one of its own.

    """

    _family = HTTPX


class ResilientTransport(SyncTransport, httpx.BaseTransport):
    """Send through `inner` under a policy; for clients that are not ours.

    See `AsyncResilientTransport`. A foreign `inner` is bounded between the chunks of a
    body only; httpx's own is bounded in every read and write.
    """

    _family = HTTPX
