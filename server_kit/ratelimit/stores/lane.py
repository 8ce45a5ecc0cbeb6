"""Round trips, shared by all who wait at the same moment. asyncio only."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from server_kit.ratelimit.stores.wire import Request, Stood

MOST: Final = 32
"""Requests in one round trip: while Redis decides on some, others are made or told."""

AT_ONCE: Final = 2
"""Round trips at a time."""

_LEAST: Final = 0.4
"""Of the timeout, for a round trip: it is no sign of Redis that the loop was busy."""

Answers: TypeAlias = list[list[Stood]]
Ask: TypeAlias = Callable[
    [list[Request], float, Callable[[Answers | None], None]], None
]
"""Asks Redis, within so many seconds, and calls the last. None: it is not to be had."""


class Lane:
    """The round trips of one event loop.

    A request goes out with all that were made in the same round of the loop. Those that
    come while all round trips are under way go out together after one of them. So one
    caller waits for nothing but Redis, and many cost it little more than one.

    Args:
        ask: Asks Redis.
        timeout: Seconds after which a request is without an answer.

    """

    def __init__(self, ask: Ask, timeout: float) -> None:
        self._ask = ask
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._since = 0.0
        self._under_way = 0
        self._is_about_to_send = False
        self._came_alone = True

    def decide(self, request: Request) -> "asyncio.Future[list[Stood] | None]":
        """Return how the accounts stood, later; None if Redis is not to be had.

        Cancelled before the request was sent, nothing is charged.
        """
        answer: asyncio.Future[list[Stood] | None] = self._loop.create_future()
        can_send = self._under_way < AT_ONCE and not self._is_about_to_send
        if can_send and self._came_alone and not self._waiting:
            self._go([(request, answer)], self._timeout)
            return answer
        if not self._waiting:
            self._since = self._loop.time()
        self._waiting.append((request, answer))
        if can_send:
            self._is_about_to_send = True
            self._loop.call_soon(self._send)
        return answer

    def close(self) -> None:
        """Leave who still waits without an answer."""
        _leave(self._waiting)

    def _send(self) -> None:
        """Send the next round trip; one, or Redis would answer two of them together."""
        self._is_about_to_send = False
        if self._under_way == AT_ONCE:
            return
        if self._waiting:
            self._came_alone = len(self._waiting) == 1
        sent: list[_Waiting] = []
        while self._waiting and not sent:
            sent = [it for it in self._waiting[:MOST] if not it[1].done()]
            del self._waiting[:MOST]
        if sent:
            waited = self._loop.time() - self._since
            self._go(sent, max(_LEAST * self._timeout, self._timeout - waited))

    def _go(self, sent: "list[_Waiting]", within: float) -> None:
        def told(answers: Answers | None) -> None:
            self._under_way -= 1
            if answers is None:
                _leave(sent)
                # The next would wait as long, for no better answer.
                _leave(self._waiting)
                return
            try:
                if self._waiting:  # Redis decides on the next while these are told
                    self._send()
            finally:
                for (_, answer), stood in zip(sent, answers, strict=True):
                    if not answer.done():
                        answer.set_result(stood)

        self._under_way += 1
        try:
            self._ask([request for request, _ in sent], within, told)
        except BaseException:
            told(None)  # or they would wait for ever
            raise


_Waiting: TypeAlias = tuple[Request, "asyncio.Future[list[Stood] | None]"]


def _leave(waiting: list[_Waiting]) -> None:
    for _, answer in waiting:
        if not answer.done():
            answer.set_result(None)
    waiting.clear()
