"""Bodies on their way in: for the call, or for the caller of a stream."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import anyio

from resilient_http import errors
from resilient_http._hands.pool import aclose, mend
from resilient_http._hands.sync_backend import bounded
from resilient_http._hands.timers import timer
from resilient_http.bodies import Around, end, iterating
from resilient_http.hop import Hop
from resilient_http.response import Response, apeek, peek
from resilient_http.sending import Sending


async def aread(sending: Sending, response: Response) -> None:
    """Read the body, or of a streamed one what decides how to go on."""
    if sending.call.streamed:
        if sending.wants_peek(response):
            await apeek(response)
    else:
        body = _Collected(sending, response)
        chunks = aiter(response.begin_body())
        try:
            async for raw in chunks:
                body.add(raw)
            if response.has_own_close:
                await response.aclose()
            else:  # as the family does it, but for naming the request in an error
                response.is_closed = True
                stream: Any = response.stream
                await stream.aclose()
            body.end()
        except BaseException as error:
            sending.blame(error)
            await mend(sending.call.family, response, error)
            await end(chunks)
            raise


def read(sending: Sending, response: Response) -> None:
    """Read the body, or of a streamed one what decides how to go on."""
    if sending.call.streamed:
        if sending.wants_peek(response):
            peek(response)
    else:
        body = _Collected(sending, response)
        try:
            for raw in response.begin_body():
                sending.check_time()  # a foreign transport has nobody else to do it
                body.add(raw)
            response.close()
            body.end()
        except BaseException as error:
            sending.blame(error)
            raise


class _Collected:
    """A body as it comes in, decoded and bounded."""

    __slots__ = (
        *("_decoder", "_most", "_parts", "_raw", "_response", "_sending", "_size"),
    )

    def __init__(self, sending: Sending, response: Response) -> None:
        self._sending = sending
        self._response = response
        self._most = sending.call.policy.max_response_bytes
        self._decoder = response.decoder()
        self._parts: list[bytes] = []
        self._raw = self._size = 0

    def add(self, raw: bytes) -> None:
        if self._raw:  # most bodies come in one, and need no more time
            self._sending.moved(len(raw))
        self._raw += len(raw)
        if self._decoder is None and self._most is None:
            self._parts.append(raw)
        elif self._decoder is None:
            self._take(raw)
        else:
            self._take_all(self._decoder.decode(raw))

    def end(self) -> None:
        if self._decoder is not None:
            self._take_all(self._decoder.flush())
        parts = self._parts
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        self._response.keep(content, self._raw)

    def _take_all(self, decoded: bytes | Iterable[bytes]) -> None:
        # One piece from httpx's decoders; pieces of bounded size from its fork's.
        for part in [decoded] if isinstance(decoded, bytes) else decoded:
            self._take(part)

    def _take(self, part: bytes) -> None:
        self._parts.append(part)
        if self._most is not None:
            self._size += len(part)
            if self._size > self._most:
                sending = self._sending
                family = sending.call.family
                raise errors.too_large(self._most, sending.request, family)


class AsyncBody(Around):
    """A body that the caller reads, within the limits of the call it belongs to."""

    def __init__(self, hop: Hop, sending: Sending, stream: Any) -> None:
        super().__init__(stream)
        self._hop = hop
        self._sending = sending

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sending = self._sending
        async with iterating(self._stream) as chunks:
            while True:
                with timer(sending.left) as time:
                    sending.rearm = time.rearm
                    try:
                        chunk = await anext(chunks, None)
                    except BaseException as error:
                        await mend(self._hop.call.family, self._stream, error)
                        if isinstance(error, sending.call.expected):
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
        try:
            await aclose(self._hop.call.family, self._stream)
        finally:
            self._hop.body_ended()

    async def _give_up(self) -> Exception:
        error = self._hop.call.too_late(self._hop.request)
        with anyio.CancelScope(shield=True):
            await aclose(self._hop.call.family, self._stream)
        self._hop.body_failed(error)
        return error


class Body(Around):
    """A body that the caller reads, within the limits of the call it belongs to."""

    def __init__(self, hop: Hop, sending: Sending, stream: Any) -> None:
        super().__init__(stream)
        self._hop = hop
        self._sending = sending

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._stream)
        while (chunk := self._next(chunks)) is not None:
            yield chunk
        self._hop.body_ended()

    def close(self) -> None:
        """Close the body that was wrapped."""
        try:
            self._stream.close()
        finally:
            self._hop.body_ended()

    def _next(self, chunks: Iterator[bytes]) -> bytes | None:
        sending = self._sending
        try:
            with bounded(sending):
                sending.check_time()
                return next(chunks, None)
        except sending.call.expected as error:
            if not sending.is_time_up(error):
                self._hop.body_failed(error)
                raise
        raise self._give_up()

    def _give_up(self) -> Exception:
        error = self._hop.call.too_late(self._hop.request)
        self._stream.close()
        self._hop.body_failed(error)
        return error
