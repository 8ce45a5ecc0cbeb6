"""What an app answers under a claim, kept before it is sent.

A short answer is held until it is whole, and kept; then it is sent: once the client
has it, a repeat must find it. One that is long, or streamed, goes out as it comes.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from server_kit.asgi import Message, RawHeaders, Send, headers_of, values_of
from server_kit.idempotency.rules import Kept

NOT_REPLAYABLE: Final = (b"idempotent-replayable", b"false")
"""Says that a repeat will not get this answer again."""

Settle: TypeAlias = Callable[[Kept], Awaitable[bool]]
"""Called with a whole answer; tells whether a repeat will be answered."""


class Recording:
    """The answer to one request.

    Args:
        send: Takes the answer.
        settle: Keeps it.
        most: Bytes of the body of an answer that is held.

    """

    __slots__ = ("_chunks", "_most", "_send", "_settle", "_size", "_start", "is_over")

    def __init__(self, send: Send, settle: Settle, most: int) -> None:
        self._send = send
        self._settle = settle
        self._most = most
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self.is_over = False
        """Whether nothing is held any more: it was kept, or is sent as it comes."""

    @property
    def status(self) -> int | None:
        """That of the answer; None if it has not begun."""
        return None if self._start is None else int(self._start["status"])

    async def take(self, message: Message) -> None:
        """Take one message of the app."""
        kind = message["type"]
        if self.is_over or (self._start is None and kind != "http.response.start"):
            await self._send(message)
        elif self._start is None:
            self._start = message
        elif kind != "http.response.body":  # a file by its path, and the like
            await self._let_go()
            await self._send(message)
        else:
            await self._add(message)

    async def _add(self, message: Message) -> None:
        body, has_more = message.get("body", b""), bool(message.get("more_body"))
        self._size += len(body)
        if self._size > self._most or (has_more and self._is_stream()):
            await self._let_go()
            await self._send(message)
            return
        self._chunks.append(body)
        if not has_more:
            await self._finish()

    def _is_stream(self) -> bool:
        # Middlewares hand on in pieces what was whole, and its length with it.
        return not values_of(headers_of(self._start or {}), b"content-length")

    async def _let_go(self) -> None:
        self.is_over = True
        await self._send(self._begun([NOT_REPLAYABLE]))
        for chunk in self._chunks:
            more = {"type": "http.response.body", "body": chunk, "more_body": True}
            await self._send(more)

    async def _finish(self) -> None:
        self.is_over = True
        start, body = self._start or {}, b"".join(self._chunks)
        is_kept = await self._settle(Kept(start["status"], headers_of(start), body))
        await self._send(self._begun([] if is_kept else [NOT_REPLAYABLE]))
        await self._send({"type": "http.response.body", "body": body})

    def _begun(self, more: RawHeaders) -> Message:
        start = self._start or {}
        return {**start, "headers": [*headers_of(start), *more]}
