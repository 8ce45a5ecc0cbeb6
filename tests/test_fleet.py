"""Many clients share one quota, and know of each other only what it says is left."""

import random
from collections import Counter
from functools import cache
from typing import Any

import pytest
import trio
import trio.testing

from resilient_http import Policy, State
from server_kit import wrap
from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send
from server_kit.ratelimit import RateLimiter, RateLimitMiddleware
from server_kit.ratelimit.machines import Algorithm
from tests.family import AsyncClient, httpx
from tests.server.accounts import ALGORITHMS

LIMIT, CLIENTS = 100, 20
SHARE = LIMIT / CLIENTS
WORKERS, THINKING = 10, 1.0
OFFERED = CLIENTS * WORKERS / THINKING
"""Calls a second, if each were answered at once."""

SETTLING, MEASURED = 10.0, 10.0


class Fleet:
    """Clients of an app that lets all of them together make 100 calls a second.

    In each of them ten workers call, think for a second, and call again.
    """

    def __init__(self, algorithm: Algorithm, *, is_ours: bool) -> None:
        self._algorithm = algorithm
        self._is_ours = is_ours
        self.served: Counter[str] = Counter()
        """By client, once all has settled."""
        self.refused = 0

    def run(self) -> "Fleet":
        trio.run(self._main, clock=trio.testing.MockClock(autojump_threshold=0))
        return self

    @property
    def calls(self) -> int:
        return self.served.total() + self.refused

    async def _main(self) -> None:
        limiter = RateLimiter(algorithm=self._algorithm, clock=trio.current_time)
        app = wrap(RateLimitMiddleware(_serve, limiter, LIMIT, default_window=1))
        self._began = trio.current_time()
        with trio.move_on_after(SETTLING + MEASURED):
            async with trio.open_nursery() as nursery:
                for number in range(CLIENTS):
                    nursery.start_soon(self._client, app, number)

    async def _client(self, app: ASGIApp, number: int) -> None:
        # One each, as trio starts tasks in any order.
        rng = random.Random(number)
        options: dict[str, Any] = {
            "transport": httpx.ASGITransport(self._behind(app, rng)),
            "base_url": "http://api",
            "headers": {"x-client": str(number)},
        }
        if self._is_ours:
            options["policy"] = Policy()
            options["state"] = State(clock=TrioClock(), rng=random.Random(number))
        kind = AsyncClient if self._is_ours else httpx.AsyncClient
        async with kind(**options) as client, trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(self._worker, client, rng)

    async def _worker(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        while True:
            await trio.sleep(rng.expovariate(1 / THINKING))
            await client.get("/")

    def _behind(self, app: ASGIApp, rng: random.Random) -> ASGIApp:
        """Put a network before `app`, which counts what comes through."""

        async def network(scope: Scope, receive: Receive, send: Send) -> None:
            async def count(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._count(scope, message["status"])
                await send(message)

            await trio.sleep(rng.uniform(0.005, 0.02))
            await app(scope, receive, count)

        return network

    def _count(self, scope: Scope, status: int) -> None:
        if trio.current_time() < self._began + SETTLING:
            return
        if status == 429:
            self.refused += 1
        else:
            self.served[dict(scope["headers"])[b"x-client"].decode()] += 1


class TrioClock:
    """A `Clock` that shows the time of trio's own."""

    def now(self) -> float:
        return trio.current_time()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("no thread waits here")

    async def asleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    await trio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@cache  # several tests look at one run
def paced(algorithm: Algorithm) -> Fleet:
    return Fleet(algorithm, is_ours=True).run()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_fleet_that_does_not_listen_is_refused_a_third_of_its_calls(
    algorithm: Algorithm,
) -> None:
    fleet = Fleet(algorithm, is_ours=False).run()
    assert fleet.refused > 0.3 * fleet.calls


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_that_does_settles_with_hardly_a_call_refused(algorithm: Algorithm) -> None:
    fleet = paced(algorithm)
    assert fleet.refused < 0.01 * fleet.calls


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_and_uses_the_quota_all_the_same(algorithm: Algorithm) -> None:
    assert paced(algorithm).served.total() >= 0.9 * LIMIT * MEASURED


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_none_of_them_goes_short(algorithm: Algorithm) -> None:
    served = paced(algorithm).served
    assert len(served) == CLIENTS
    assert min(served.values()) >= 0.5 * SHARE * MEASURED
