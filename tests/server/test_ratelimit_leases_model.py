"""Processes that take units ahead, against all that they ever let through."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from server_kit.ratelimit.leases import Lease, Leases
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.machines import Algorithm
from server_kit.ratelimit.quota import Decision, microseconds
from tests.server.accounts import ALGORITHMS
from tests.server.valkey import Valkey, valkey
from tests.server.virtual import StillLoop

T = TypeVar("T")

BEGINS = 1_800_000_000_000_000  # microseconds, as Redis has them
PATIENT = 20.0  # seconds of a time that stands still while Redis is asked
LEASES = [Lease(share=0.5, ttl=5), Lease(share=0.2), None]

NO_TIME_TO_LIVE = (
    "local n = 0 for _, key in ipairs(redis.call('KEYS', '*')) do"
    " if redis.call('PTTL', key) == -1 then n = n + 1 end end return n"
)

processes = st.integers(0, len(LEASES) - 1)
costs = st.one_of(st.just(1), st.integers(1, 5), st.integers(1, 50))
# Gaps in windows; a lease lasts a tenth of one.
gaps = st.one_of(st.floats(0, 0.05), st.sampled_from([0.09, 0.1, 0.5, 0.91, 1.0]))


class Game(RuleBasedStateMachine):
    """Processes ask, end their leases, forget them, and are interrupted."""

    algorithm: Algorithm
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=StillLoop)
        self.ticks = 0
        self.through: Counter[int] = Counter()
        self.client = Redis.from_url(self.url, single_connection_client=True)
        see_all: Any = self.client.execute_command
        self.run(see_all("CLIENT", "IMPORT-SOURCE", "ON"))
        self.run(self.client.flushall())
        self.limiters = [
            RateLimiter(
                self.client,
                algorithm=self.algorithm,
                timeout=PATIENT,
                on_outage="closed",
                lease=lease,
                clock=self.seconds,
            )
            for lease in LEASES
        ]
        self.pass_time(0)

    @initialize(
        limit=st.sampled_from([5, 20, 100]),
        window=st.sampled_from([0.5, 10.0, 60.0]),
    )
    def begin(self, limit: int, window: float) -> None:
        self.limit, self.window = limit, window

    @rule(who=processes, cost=costs, times=st.integers(1, 30))
    def ask(self, who: int, cost: int, times: int) -> None:
        for _ in range(times):
            self.notes(cost, self.run(self.check(who, cost)))

    @rule(who=processes, some=st.lists(costs, min_size=2, max_size=12))
    def ask_at_once(self, who: int, some: list[int]) -> None:
        async def all_of() -> list[Decision]:
            return await asyncio.gather(*[self.check(who, cost) for cost in some])

        for cost, decision in zip(some, self.run(all_of()), strict=True):
            self.notes(cost, decision)

    @rule(who=processes)
    def flood(self, who: int) -> None:
        """Use up all there is, but for what others hold."""
        allowed = True
        while allowed:
            decision = self.run(self.check(who, 1))
            self.notes(1, decision)
            allowed = decision.allowed

    @rule(who=processes, cost=costs, rounds=st.integers(0, 3))
    def ask_and_be_cancelled(self, who: int, cost: int, rounds: int) -> None:
        async def interrupted() -> None:
            task = asyncio.create_task(self.check(who, cost))
            for _ in range(rounds):
                await asyncio.sleep(0)
            if task.done():
                self.notes(cost, task.result())
            task.cancel()
            await asyncio.wait([task])

        self.run(interrupted())

    @rule(who=processes)
    def die(self, who: int) -> None:
        """Begin anew, and know nothing of what was taken ahead."""
        lease = LEASES[who]
        if lease is not None:
            store: Any = self.limiters[who]._store  # noqa: SLF001 - as a process that was killed
            store._leases = Leases(lease)  # noqa: SLF001 - as above

    @rule(gap=gaps)
    def time_passes(self, gap: float) -> None:
        self.pass_time(microseconds(self.window * gap))

    @rule()
    def scripts_are_flushed(self) -> None:
        self.run(self.client.script_flush())

    @rule()
    def rest(self) -> None:
        """See that all comes back, from processes that died as well."""
        longest = self.window + self.window / 10 + 1.0
        for _ in range(2):
            self.pass_time(microseconds(longest))
        decision = self.run(self.check(0, 0))
        assert (decision.remaining, decision.reset_after) == (self.limit, 0.0)

    @invariant()
    def no_more_is_let_through_than_may_be(self) -> None:
        window = microseconds(getattr(self, "window", 1.0))
        latest = {
            at: n for at, n in self.through.items() if at > self.ticks - 3 * window
        }
        for end in latest:
            if self.algorithm == "sliding_window":
                held = sum(n for at, n in latest.items() if end - window < at <= end)
                assert held * 10 <= self.limit * 11
                continue
            for start in latest:
                held = sum(n for at, n in latest.items() if start <= at <= end)
                assert held <= self.limit + max(0, end - start) * self.limit // window

    @invariant()
    def every_key_has_a_time_to_live(self) -> None:
        assert self.run(self.client.eval(NO_TIME_TO_LIVE, 0)) == 0

    def teardown(self) -> None:
        for limiter in self.limiters:
            self.run(limiter.aclose())
        self.run(self.client.aclose())
        self.runner.close()

    def run(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            found = await work
            for limiter in getattr(self, "limiters", []):
                # What leases came to is settled in the background.
                tasks = tuple(_redis_store(limiter)._link._tasks)  # noqa: SLF001 - see above
                await asyncio.gather(*tasks)
            return found

        return self.runner.run(done())

    def seconds(self) -> float:
        return self.ticks / 1_000_000

    def pass_time(self, ticks: int) -> None:
        self.ticks += ticks
        loop = self.runner.get_loop()
        assert isinstance(loop, StillLoop)
        loop.now = self.seconds()
        for limiter in self.limiters:
            _redis_store(limiter)._now = str(BEGINS + self.ticks)  # noqa: SLF001 - what it is there for
        self.run(asyncio.sleep(0))

    async def check(self, who: int, cost: int) -> Decision:
        cost = min(cost, self.limit)
        return await self.limiters[who].check(
            "k", limit=self.limit, window=self.window, cost=cost
        )

    def notes(self, cost: int, decision: Decision) -> None:
        assert decision.outage is None
        assert 0 <= decision.remaining <= self.limit
        assert decision.allowed == (decision.retry_after == 0)
        if decision.allowed:
            self.through[self.ticks] += min(cost, self.limit)


def _redis_store(limiter: RateLimiter) -> Any:
    store: Any = limiter._store  # noqa: SLF001 - to be told the time
    return getattr(store, "_store", store)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One that lets its clients ignore what has expired."""
    with valkey() as running:
        running.ask("CONFIG", "SET", "import-mode", "yes")
        yield running


@pytest.mark.property
@pytest.mark.case("R38")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_processes_with_leases_let_through_no_more_than_the_quota(
    algorithm: Algorithm, server: Valkey
) -> None:
    class Played(Game):
        url = server.url

    Played.algorithm = algorithm
    run_state_machine_as_test(
        Played,
        settings=settings(
            max_examples=settings().max_examples // 2,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
