"""Round trips, shared by all who wait at the same moment. asyncio only."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from server_kit.ratelimit.stores.wire import Request, Stood

MOST: Final = 128
"""Requests in one round trip: Redis does nothing else meanwhile."""

Ask: TypeAlias = Callable[[list[Request], float], Awaitable[list[list[Stood]] | None]]
"""Asks Redis, within so many seconds. None: it is not to be had."""


class Lane:
    """The round trips of one event loop, one after the other.

    A request goes out with all that were made in the same round of the loop. Those that
    come while a reply is awaited go out together after it. So one caller waits for
    nothing but Redis, and many cost it little more than one.

    Args:
        ask: Asks Redis.
        timeout: Seconds after which a request is without an answer.

    """

    def __init__(self, ask: Ask, timeout: float) -> None:
        self._ask = ask
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None

    async def decide(self, request: Request) -> list[Stood] | None:
        """Return how the accounts stood; None if Redis is not to be had.

        Cancelled before the request was sent, nothing is charged.
        """
        answer: asyncio.Future[list[Stood] | None] = self._loop.create_future()
        self._waiting.append((request, answer, self._loop.time()))
        if self._running is None:
            self._running = self._loop.create_task(self._run())
        return await answer

    async def aclose(self) -> None:
        """Stop; who still waits is left without an answer."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._go()
        finally:
            self._running = None
            _leave(self._waiting)

    async def _go(self) -> None:
        sent = [it for it in self._waiting[:MOST] if not it[1].done()]
        del self._waiting[:MOST]
        if not sent:
            return
        waited = self._loop.time() - sent[0][2]
        try:
            answers = await self._ask(
                [request for request, _, _ in sent], max(0.0, self._timeout - waited)
            )
            if answers is None:
                # The next would wait as long, for no better answer.
                _leave(self._waiting)
                return
            for (_, future, _), answer in zip(sent, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        finally:
            _leave(sent)


_Waiting: TypeAlias = tuple[Request, "asyncio.Future[list[Stood] | None]", float]


def _leave(waiting: list[_Waiting]) -> None:
    for _, answer, _ in waiting:
        if not answer.done():
            answer.set_result(None)
    waiting.clear()
