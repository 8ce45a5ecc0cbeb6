"""A service under more load than it can bear, in virtual time."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import trio
import trio.testing

from server_kit import Deadlines, Shedding, wrap
from server_kit.asgi import Message, Receive, Scope, Send

WORKERS, SERVICE = 4, 0.02
CAPACITY = WORKERS / SERVICE
"""Requests a second."""

USUAL = 0.7 * CAPACITY
REFUSING = 0.05
"""What a refusal costs, in services."""


@dataclass(kw_only=True)
class Overload:
    """Poisson arrivals, usual ones, then more of them, then usual ones again.

    Each request is served by one of a few workers, first come, first served, and takes
    an exponential time. Refusals, and what was cut short, take some of it as well.
    """

    shedding: Shedding | None
    spike: float = 1.0
    """Arrivals in the middle, in usual ones."""
    speed: float = 1.0
    """Of the workers in the middle."""
    patience: float = 1.0
    """Seconds a caller waits."""
    tells: bool = True
    """Whether it says so."""
    calm: float = 10.0
    seconds: float = 10.0
    seed: int = 1
    paths: Callable[[random.Random], str] = lambda _: "/"
    good: Counter[str] = field(default_factory=Counter)
    """By path, requests of the middle that were answered in time."""
    refused: Counter[str] = field(default_factory=Counter)
    offered: Counter[str] = field(default_factory=Counter)
    refusals: list[float] = field(default_factory=list)
    """Seconds that refusals took."""
    after: list[bool] = field(default_factory=list)
    """Whether those that came afterwards were served, in order of their answers."""

    def run(self) -> "Overload":
        trio.run(self._main, clock=trio.testing.MockClock(autojump_threshold=0))
        return self

    async def _main(self) -> None:
        self._rng = random.Random(self.seed)
        self._workers = trio.Semaphore(WORKERS)
        deadlines = Deadlines()
        app = wrap(self._serve, shedding=self.shedding, deadlines=deadlines)
        began = trio.current_time()
        end = 2 * self.calm + self.seconds
        async with trio.open_nursery() as self._nursery:
            while (at := trio.current_time() - began) < end:
                self._is_middle = self.calm <= at < self.calm + self.seconds
                rate = USUAL * (self.spike if self._is_middle else 1.0)
                await trio.sleep(self._rng.expovariate(rate))
                is_after = at >= self.calm + self.seconds
                call = partial(self._call, app, self._is_middle, is_after=is_after)
                self._nursery.start_soon(call)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._work(self._rng.expovariate(1 / SERVICE))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _work(self, seconds: float) -> None:
        async with self._workers:
            await trio.sleep(seconds / (self.speed if self._is_middle else 1.0))

    async def _call(
        self, app: Callable[..., object], is_middle: bool, *, is_after: bool
    ) -> None:
        path = self.paths(self._rng)
        status = 0

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)

        left = b"%d" % (self.patience * 1_000)
        headers = [(b"x-request-timeout-ms", left)] if self.tells else []
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        began = trio.current_time()
        await app(scope, receive, send)  # type: ignore[misc]  # an ASGI app
        took = trio.current_time() - began
        is_good = status == 200 and took <= self.patience
        if is_middle:
            self.offered[path] += 1
            self.good[path] += is_good
            self.refused[path] += status == 503
        if is_after:
            self.after.append(is_good)
        if status == 503:
            self.refusals.append(took)
        if status != 200:
            self._nursery.start_soon(self._work, REFUSING * SERVICE)

    @property
    def goodput(self) -> float:
        """Good answers a second, in the middle."""
        return self.good.total() / self.seconds
