"""What limiters of peers have got wrong, in memory and in a real Valkey."""

import asyncio
import itertools
import math
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from server_kit.ratelimit.enforcement import refusal
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.machines import Algorithm
from server_kit.ratelimit.quota import Charge, Decision, Quota, microseconds
from server_kit.ratelimit.stores.lane import AT_ONCE
from tests.server.accounts import ALGORITHMS
from tests.server.valkey import Valkey, valkey

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

BEGINS = 1_800_000_000_000_000  # microseconds, as Redis has them
PATIENT = 20.0  # seconds: where no fault is the point, a busy machine is none

each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


class Place:
    """A limiter in memory or in Redis, whose time is a number."""

    def __init__(self, algorithm: Algorithm, redis: Any = None) -> None:
        self.now = BEGINS
        self._in_redis = redis is not None
        # In memory near zero, where floats are exact.
        memory = (lambda: (self.now - BEGINS) / 1_000_000) if redis is None else None
        self.limiter = RateLimiter(
            redis,
            algorithm=algorithm,
            timeout=PATIENT,
            on_outage="closed",
            # Else so that no refusal is remembered.
            clock=memory or itertools.count(0, 10).__next__,
        )
        self.pass_time(0)

    def pass_time(self, seconds: float) -> None:
        self.now += microseconds(seconds)
        if self._in_redis:
            self.limiter._store._now = str(self.now)  # type: ignore[attr-defined] # noqa: SLF001 - what it is there for

    async def ask(
        self, limit: int, window: float, cost: int = 1, key: str = "k"
    ) -> Decision:
        return await self.limiter.check(key, limit=limit, window=window, cost=cost)

    async def admitted(self, times: int, limit: int, window: float) -> int:
        found = [await self.ask(limit, window) for _ in range(times)]
        return sum(decision.allowed for decision in found)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One that lets its clients ignore what has expired."""
    with valkey() as running:
        running.ask("CONFIG", "SET", "import-mode", "yes")
        yield running


@pytest.fixture
async def client(server: Valkey) -> AsyncIterator[Redis]:
    """One for which nothing expires by Redis' clock."""
    async with Redis.from_url(server.url, single_connection_client=True) as client:
        see_all: Any = client.execute_command
        await see_all("CLIENT", "IMPORT-SOURCE", "ON")
        await client.flushall()
        yield client


@pytest.fixture(params=["memory", "redis"])
def where(request: pytest.FixtureRequest, client: Redis) -> Redis | None:
    return client if request.param == "redis" else None


@pytest.mark.case("S10")
@pytest.mark.parametrize("window", [1.0, 60.0])
@each_algorithm
async def test_a_clock_set_back_by_ten_seconds_locks_out_for_a_window_at_most(
    algorithm: Algorithm, window: float, where: Redis | None
) -> None:
    place = Place(algorithm, where)
    place.pass_time(100)
    assert await place.admitted(20, 10, window) == 10
    place.pass_time(-10)
    refused = await place.ask(10, window)
    assert 0 < refused.retry_after <= window
    whole = await place.ask(10, window, cost=10)
    assert whole.retry_after <= window
    place.pass_time(whole.retry_after)
    assert (await place.ask(10, window, cost=10)).allowed


@pytest.mark.case("S11")
async def test_a_small_burst_at_a_high_rate_is_no_hole(
    where: Redis | None, client: Redis
) -> None:
    place = Place("token_bucket", where)
    assert await place.admitted(200, 10, 0.1) == 10
    for key in await client.keys():
        assert 0 <= await client.pttl(key) <= 100
    place.pass_time(0.01)
    assert await place.admitted(200, 10, 0.1) == 1


@pytest.mark.case("S14", "S15")
@each_algorithm
async def test_costs_that_cannot_be_are_errors_and_take_nothing(
    algorithm: Algorithm, where: Redis | None
) -> None:
    place = Place(algorithm, where)
    for cost in (11, -1):
        with pytest.raises(ValueError, match="cost must be"):
            await place.ask(10, 60, cost=cost)
    assert [(await place.ask(10, 60, cost=0)).remaining for _ in range(3)] == [10] * 3
    with pytest.raises(ValueError, match="cost must be"):
        await place.limiter.refund("k", limit=10, window=60, cost=-1)


@pytest.mark.case("S15")
@each_algorithm
async def test_no_more_is_given_back_than_was_taken(
    algorithm: Algorithm, where: Redis | None
) -> None:
    place = Place(algorithm, where)
    await place.ask(10, 60, cost=4)
    await place.limiter.refund("k", limit=10, window=60, cost=1_000)
    assert await place.admitted(20, 10, 60) == 10


@pytest.mark.case("S16")
@pytest.mark.parametrize("refusing_first", [True, False])
@each_algorithm
async def test_if_one_of_two_quotas_refuses_the_other_is_not_charged(
    algorithm: Algorithm, refusing_first: bool, where: Redis | None
) -> None:
    place = Place(algorithm, where)
    await place.ask(1, 60, key="full")
    quotas = [Quota("full", 1, 60), Quota("free", 10, 60)]
    asked = quotas if refusing_first else quotas[::-1]
    told = await place.limiter.decide(asked)
    decisions = {it.limit: it for it in told if it is not None}
    assert (decisions[1].allowed, decisions[10].remaining) == (False, 10)
    assert (await place.ask(10, 60, cost=0, key="free")).remaining == 10


@pytest.mark.case("S17")
@each_algorithm
async def test_refused_calls_do_not_put_off_the_next_allowed_one(
    algorithm: Algorithm, where: Redis | None
) -> None:
    place = Place(algorithm, where)
    await place.admitted(10, 10, 60)
    free = place.now + microseconds((await place.ask(10, 60)).retry_after)
    while place.now < free:
        assert await place.admitted(10, 10, 60) == 0
        place.pass_time(min(1.0, (free - place.now) / 1_000_000))
    assert await place.admitted(1, 10, 60) == 1


@pytest.mark.case("S18")
@pytest.mark.parametrize("window", [0.007, 1.0, 86_400.0])
async def test_admissions_are_where_arithmetic_has_them(
    client: Redis, window: float
) -> None:
    place = Place("token_bucket", client)
    limit, ticks = 97, microseconds(window)
    for number in range(500):
        refused = await place.ask(limit, window)
        if not refused.allowed:
            place.pass_time(refused.retry_after)
            assert (await place.ask(limit, window)).allowed
        returned = max(0, number + 1 - limit)
        assert place.now == BEGINS - (-returned * ticks // limit)


@pytest.mark.case("S27")
@each_algorithm
async def test_fifty_at_once_are_told_of_fifty_different_units(
    algorithm: Algorithm, server: Valkey
) -> None:
    limiters = [
        RateLimiter(server.url, algorithm=algorithm, timeout=PATIENT) for _ in "12345"
    ]
    for limiter in limiters:
        await limiter.reset("fifty", limit=50, window=3_600)
    asked = [it.check("fifty", limit=50, window=3_600) for it in limiters * 12]
    decisions = await asyncio.gather(*asked)
    left = [it.remaining for it in decisions if it.allowed]
    assert sorted(left) == list(range(50))
    for limiter in limiters:
        await limiter.aclose()


@pytest.mark.case("S28")
@each_algorithm
async def test_who_waits_as_long_as_told_is_admitted(
    algorithm: Algorithm, where: Redis | None
) -> None:
    place, rng = Place(algorithm, where), random.Random(28)
    enough = 1_000 if where is None else 200
    trials = 0
    for number in itertools.count():
        limit = rng.choice([1, 3, 10, 97, 1_000])
        window = rng.choice([0.05, 1.0, 60.0, rng.uniform(0.001, 1e5)])
        key = f"{number}"
        for _ in range(4):
            await place.ask(limit, window, rng.randint(1, limit), key)
            place.pass_time(rng.uniform(0, window / 2))
        cost = rng.randint(1, limit)
        told = await place.ask(limit, window, cost, key)
        if told.allowed:
            continue
        quota = Quota(key, limit, window, cost)
        answer = refusal([Charge("default", quota, told)], {"type": "http"})
        headers = answer.headers
        whole = math.ceil(told.retry_after)
        assert answer.retry_after == whole
        assert headers is not None
        assert headers["RateLimit"].endswith(f";t={whole}")
        assert headers["X-RateLimit-Remaining"] == str(told.remaining)
        exactly = rng.random() < 0.5
        place.pass_time(told.retry_after if exactly else whole)
        assert (await place.ask(limit, window, cost, key)).allowed
        trials += 1
        if trials == enough:
            return


async def test_one_early_call_does_not_open_the_next_window(
    where: Redis | None,
) -> None:
    place = Place("sliding_window", where)
    admitted: list[int] = []

    async def flood(times: int) -> None:
        admitted.extend([place.now] * await place.admitted(times, 100, 1.0))

    await flood(1)
    place.pass_time(0.99)
    await flood(99)
    for _ in range(150):
        place.pass_time(0.01)
        await flood(30)
    for end in admitted:
        assert sum(end - 1_000_000 < at <= end for at in admitted) <= 110


@pytest.mark.case("S31")
@pytest.mark.parametrize("own", [True, False])
async def test_who_is_cancelled_leaves_no_reply_for_the_next(own: bool) -> None:
    with valkey() as server:
        async with Redis.from_url(server.url, single_connection_client=True) as client:
            redis = server.url if own else client
            limiter = RateLimiter(redis, timeout=PATIENT, on_outage="closed")
            await limiter.check("first", limit=5, window=3_600)  # connected
            server.pause()
            cancelled = [
                asyncio.create_task(limiter.check("first", limit=5, window=3_600))
                for _ in range(AT_ONCE)
            ]
            await asyncio.sleep(0.05)
            for task in cancelled:
                task.cancel()
            asked = [limiter.check(f"{n}", limit=n, window=3_600) for n in (7, 8, 9)]
            following = asyncio.gather(*asked)
            await asyncio.sleep(0.05)
            server.resume()
            assert [(it.limit, it.remaining) for it in await following] == [
                (7, 6),
                (8, 7),
                (9, 8),
            ]
            assert all(task.cancelled() for task in cancelled)
            # They had been sent, and were charged.
            peeked = await limiter.peek("first", limit=5, window=3_600)
            assert peeked.remaining == 5 - 1 - AT_ONCE
            await limiter.aclose()


def stall() -> None:
    """Stop the loop, as code does that is not asynchronous."""
    time.sleep(0.3)


async def test_a_loop_that_stalls_is_no_redis_that_is_down(server: Valkey) -> None:
    limiter = RateLimiter(server.url, timeout=0.2)
    await limiter.check("stalled", limit=5, window=3_600)  # connected
    asked = asyncio.create_task(limiter.check("stalled", limit=5, window=3_600))
    await asyncio.sleep(0)
    stall()
    decision = await asked
    assert (decision.outage, decision.remaining) == (None, 3)
    await limiter.aclose()


RESERVE = """
import asyncio, sys
from server_kit import RateLimiter

async def stream(url):
    limiter = RateLimiter(url, timeout=20, on_outage="closed")
    tokens = await limiter.reserve("k", limit=10, window=3_600, cost=10, expires=2)
    async with tokens:
        print("reserved" if tokens.allowed else "refused", flush=True)
        await asyncio.sleep(3_600)

asyncio.run(stream(sys.argv[1]))
"""


def reserve_and_die(url: str) -> None:
    command = [sys.executable, "-c", RESERVE, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reserved\n"
        process.kill()


@pytest.mark.case("S32")
async def test_what_a_killed_process_had_set_aside_comes_back() -> None:
    with valkey() as server:
        reserve_and_die(server.url)
        limiter = RateLimiter(server.url, timeout=PATIENT, on_outage="closed")
        async with limiter.limit(
            "k", limit=10, window=3_600, cost=10, wait=10
        ) as all_of:
            assert all_of.allowed
        # Once, and it was charged: it does not come back a second time.
        assert not (await limiter.check("k", limit=10, window=3_600)).allowed
        await limiter.aclose()
