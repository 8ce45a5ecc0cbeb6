"""Both stores, and both algorithms, against a slow and obvious list of charges."""

import asyncio
import itertools
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.machines import Algorithm
from server_kit.ratelimit.quota import Decision, Quota, microseconds
from server_kit.ratelimit.reservation import Reservation
from tests.server.accounts import ALGORITHMS
from tests.server.tallies import TALLIES, Tally
from tests.server.valkey import Valkey, valkey

T = TypeVar("T")

BEGINS = 1_800_000_000_000_000  # microseconds, as Redis has them
PATIENT = 20.0  # seconds: where no fault is the point, a busy machine is none
LONG = 10**12
"""Milliseconds to live, by which a key is known that nobody has written since."""

LOOK = """
local found = {}
for i, key in ipairs(redis.call('KEYS', '*')) do
  found[i] = {key, redis.call('PEXPIRETIME', key)}
  if found[i][2] >= 0 then
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), found}
"""

limits = st.sampled_from([1, 2, 7, 10, 19, 30, 100, 1_000])
windows = st.one_of(st.sampled_from([1.0, 7.0, 60.0, 86_400.0]), st.floats(0.01, 1e5))
costs = st.one_of(st.just(1), st.integers(0, 30), st.just(1_000))
names = st.integers(0, 2)
# Gaps in windows: many calls at once, calls that just miss each other, long silence.
gaps = st.one_of(st.floats(0, 0.2), st.sampled_from([0.05, 0.1, 0.5, 0.9, 1.0, 2.5]))


@dataclass
class Aside:
    """What one reservation is called in each place."""

    name: str
    quotas: list[Quota]
    reservations: tuple[Reservation, Reservation]


class Game(RuleBasedStateMachine):
    """Anything that users, time, and whoever has the password of Redis may do."""

    algorithm: Algorithm
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = BEGINS
        self.looked = 0
        self.due: dict[bytes, int] = {}
        self.quotas: list[Quota] = []
        self.asides: list[Aside] = []
        self.names = itertools.count()
        # Near zero, where floats are exact.
        self.memory = RateLimiter(
            algorithm=self.algorithm, clock=lambda: (self.now - BEGINS) / 1_000_000
        )
        # One connection, to which no key ever expires: time here is not Redis'.
        self.client = Redis.from_url(self.url, single_connection_client=True)
        self.redis = RateLimiter(
            self.client,
            algorithm=self.algorithm,
            timeout=PATIENT,
            on_outage="closed",
            clock=itertools.count(0, 10).__next__,  # so that no refusal is remembered
        )
        see_all: Any = self.client.execute_command
        self.run(see_all("CLIENT", "IMPORT-SOURCE", "ON"))
        self.run(self.client.flushall())
        self.redis._store._now = str(self.now)  # type: ignore[attr-defined] # noqa: SLF001 - what it is there for

    @initialize(
        limits=st.lists(limits, min_size=3, max_size=3),
        windows=st.lists(windows, min_size=3, max_size=3),
    )
    def begin(self, limits: list[int], windows: list[float]) -> None:
        self.quotas = [
            Quota(f"key {number}", limit, window, 0)
            for number, (limit, window) in enumerate(zip(limits, windows, strict=True))
        ]
        self.tallies: dict[str, Tally] = {
            quota.key: TALLIES[self.algorithm](quota.limit, microseconds(quota.window))
            for quota in self.quotas
        }

    # What is asked.

    @rule(asked=st.dictionaries(names, costs, min_size=1))
    def decide(self, asked: dict[int, int]) -> None:
        quotas = [self.quota(number, cost) for number, cost in asked.items()]
        ours, theirs = self.both(lambda limiter: limiter.decide(quotas))
        self.fits(quotas, ours, theirs)

    @rule(number=names, cost=costs, times=st.integers(1, 12))
    def decide_at_once(self, number: int, cost: int, times: int) -> None:
        """Ask several times; Redis is asked in one round trip."""
        quota = self.quota(number, cost)

        async def all_of(limiter: RateLimiter) -> list[Decision]:
            asked = (limiter.check_all([quota]) for _ in range(times))
            return await asyncio.gather(*asked)

        ours, theirs = self.both(all_of)
        for one, other in zip(ours, theirs, strict=True):
            self.fits([quota], [one], [other])

    @rule(number=names, cost=costs)
    def wait_as_told(self, number: int, cost: int) -> None:
        """Use up what is left; ask, wait, and ask again."""
        quota = self.quota(number, max(1, cost))
        left = self.check(replace(quota, cost=0)).remaining
        assert self.check(replace(quota, cost=left)).allowed
        refused = self.check(quota)
        wait = microseconds(refused.retry_after)
        self.pass_time(wait - 1)
        assert not self.check(quota).allowed
        self.pass_time(1)
        assert self.check(quota).allowed

    @rule(number=names)
    def rest(self, number: int) -> None:
        """Wait for the reset: nothing is used after it."""
        quota = self.quota(number, 0)
        self.pass_time(microseconds(self.check(quota).reset_after))
        assert self.check(quota).remaining == quota.limit

    @rule(asked=st.dictionaries(names, costs, min_size=1), gap=st.none() | gaps)
    def reserve(self, asked: dict[int, int], gap: float | None) -> None:
        quotas = [self.quota(number, cost) for number, cost in asked.items()]
        longest = max(quota.window for quota in quotas)
        expires = longest if gap is None else max(0.001, gap * longest)
        ours, theirs = self.both(lambda it: it.reserve_all(quotas, expires))
        assert ours.decision._replace(reset_after=0) == theirs.decision._replace(
            reset_after=0
        )
        aside = Aside(f"{next(self.names)}", quotas, (ours, theirs))
        assert ours.allowed == all(self.may(it, ours.allowed) for it in quotas)
        if ours.allowed:
            self.asides.append(aside)
            until = self.now + microseconds(expires)
            for quota in quotas:
                self.tally(quota).hold(aside.name, quota.cost, until)

    @precondition(lambda self: self.asides)
    @rule(data=st.data(), ended=st.sampled_from(["released", "settled", "forgotten"]))
    def settle(self, data: st.DataObject, ended: str) -> None:
        aside = self.asides.pop(data.draw(st.integers(0, len(self.asides) - 1)))
        if ended == "forgotten":  # as by a process that was killed
            return
        most = 1 if ended == "released" else 2
        came_to = [
            data.draw(st.integers(0, most * max(1, quota.cost)))
            for quota in aside.quotas
        ]
        for reservation in aside.reservations:
            if ended == "released":
                came_to = [0 for _ in came_to]
                self.run(reservation.release())
            else:
                self.run(reservation.settle(*came_to))
        for quota, cost in zip(aside.quotas, came_to, strict=True):
            self.tally(quota).settle(aside.name, cost, self.now)
        self.look_at(aside.quotas)

    @rule(number=names, cost=costs)
    def refund(self, number: int, cost: int) -> None:
        it = self.quota(number, 0)
        self.both(
            lambda limiter: limiter.refund(
                it.key, limit=it.limit, window=it.window, cost=cost
            )
        )
        self.tally(it).refund(cost, self.now)
        self.look_at([it])

    @rule(number=names)
    def reset(self, number: int) -> None:
        it = self.quota(number, 0)
        self.both(lambda me: me.reset(it.key, limit=it.limit, window=it.window))
        self.forget(it)
        assert self.check(it).remaining == it.limit

    # What happens.

    @rule(number=names, gap=gaps)
    def time_passes(self, number: int, gap: float) -> None:
        self.pass_time(microseconds(self.quotas[number].window * gap))

    @rule(number=names, gap=gaps)
    def the_clock_is_set_back(self, number: int, gap: float) -> None:
        """See that nobody is locked out.

        The stores may differ from here on: what was merely looked at was written
        in memory and not in Redis. So they go on with what is the same in both.
        """
        self.pass_time(-microseconds(self.quotas[number].window * gap))
        for quota in self.quotas:
            tally = self.tally(quota)
            tally.used(self.now)
            says_all = not tally.holds and not tally.may_be_more
            tally.set_back(self.now)
            asked = [replace(quota, cost=1)]
            ours, theirs = self.both(partial(RateLimiter.decide, quotas=asked))
            for decision in (*ours, *theirs):
                longest = tally.longest(self.now) / 1_000_000
                assert 0 <= decision.retry_after <= longest
                assert 0 <= decision.remaining <= quota.limit
            if ours != theirs or not says_all:
                self.reset(self.quotas.index(quota))
            elif ours[0].allowed:
                tally.charge(1, self.now)

    @rule()
    def scripts_are_flushed(self) -> None:
        self.run(self.client.script_flush())

    @rule(number=names)
    def a_key_loses_its_time_to_live(self, number: int) -> None:
        quota = self.quota(number, 0)
        self.run(self.client.persist(self.address(quota)))
        self.check(quota)

    @rule(number=names)
    def a_key_is_something_else(self, number: int) -> None:
        quota = self.quota(number, 0)
        address = self.address(quota)
        self.run(self.client.set(address, "theirs", px=1_000_000))
        self.run(self.memory.reset(quota.key, limit=quota.limit, window=quota.window))
        self.forget(quota)
        self.decide({number: 1})

    @invariant()
    def every_key_has_a_time_to_live(self) -> None:
        """See that it has, and note when Redis would forget it."""
        looked, found = self.run(self.client.eval(LOOK, 0, LONG))
        quotas = {self.address(it).encode(): it for it in self.quotas}
        for key, until in found:
            assert until >= 0
            if until - looked > LONG / 2:
                continue
            it = quotas[key]
            peeked = self.run(
                self.memory.peek(it.key, limit=it.limit, window=it.window)
            )
            reset = microseconds(peeked.reset_after)
            assert until - self.looked >= reset / 1_000 - 1
            assert until - looked <= self.tally(it).longest(self.now) / 1_000 + 1
            self.due[key] = self.now + reset
        self.looked = looked

    def teardown(self) -> None:
        self.run(self.client.aclose())
        self.run(self.redis.aclose())
        self.runner.close()

    # How it is done.

    def run(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            return await work

        return self.runner.run(done())

    def both(self, ask: Any) -> tuple[Any, Any]:
        return self.run(ask(self.memory)), self.run(ask(self.redis))

    def quota(self, number: int, cost: int) -> Quota:
        quota = self.quotas[number]
        return replace(quota, cost=min(cost, quota.limit))

    def tally(self, quota: Quota) -> Tally:
        return self.tallies[quota.key]

    def address(self, quota: Quota) -> str:
        (address,) = self.redis._store.addresses([quota])  # type: ignore[attr-defined] # noqa: SLF001 - the keys are the claim
        found: str = address
        return found

    def pass_time(self, ticks: int) -> None:
        self.every_key_has_a_time_to_live()
        self.now += ticks
        self.redis._store._now = str(self.now)  # type: ignore[attr-defined] # noqa: SLF001 - what it is there for

        # Redis forgets by a clock of its own, and so do we.
        over = [key for key, until in self.due.items() if until <= self.now]
        for key in over:
            del self.due[key]
        if over:
            self.run(self.client.delete(*over))

    def forget(self, quota: Quota) -> None:
        self.tallies[quota.key] = type(self.tally(quota))(
            quota.limit, microseconds(quota.window)
        )

    def check(self, quota: Quota) -> Decision:
        ours, theirs = self.both(lambda limiter: limiter.decide([quota]))
        self.fits([quota], ours, theirs)
        decision: Decision = ours[0]
        return decision

    def look_at(self, quotas: Sequence[Quota]) -> None:
        for quota in quotas:
            self.check(replace(quota, cost=0))

    def may(self, quota: Quota, found: bool) -> bool:
        """Return whether there is room, going by what was found if either may be."""
        least, most = self.tally(quota).used(self.now)
        if quota.cost == 0 or most + quota.cost <= quota.limit:
            return True
        return found and least + quota.cost <= quota.limit

    def fits(
        self, quotas: list[Quota], ours: list[Decision], theirs: list[Decision]
    ) -> None:
        for quota, one, other in zip(quotas, ours, theirs, strict=True):
            assert one._replace(reset_after=other.reset_after) == other
            # As long as there are holds, what was settled may put off Redis' reset.
            late = (self.tally(quota).latest - self.now) / 1_000_000
            assert other.reset_after in (one.reset_after, late)
        for quota, decision in zip(quotas, ours, strict=True):
            assert decision.allowed == self.may(quota, decision.allowed)
        if all(decision.allowed for decision in ours):
            for quota in quotas:
                self.tally(quota).charge(quota.cost, self.now)
        for quota, decision in zip(quotas, ours, strict=True):
            self.stands(quota, decision)

    def stands(self, quota: Quota, decision: Decision) -> None:
        tally = self.tally(quota)
        least, most = tally.used(self.now)
        assert max(0, quota.limit - most) <= decision.remaining
        assert decision.remaining <= max(0, min(quota.limit, quota.limit - least))
        assert decision.allowed == (decision.retry_after == 0)
        longest = 2 * tally.longest(self.now)
        assert decision.retry_after <= decision.reset_after <= longest / 1_000_000
        if decision.remaining == quota.limit:
            tally.empty()


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One that lets its clients ignore what has expired."""
    with valkey() as running:
        running.ask("CONFIG", "SET", "import-mode", "yes")
        yield running


@pytest.mark.property
@pytest.mark.case("S1", "S10", "S16", "S28", "S32", "R38")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_memory_and_redis_decide_the_same_and_as_the_list_of_charges(
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
