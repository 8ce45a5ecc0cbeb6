"""What is remembered between calls, and for how many origins."""

from random import Random

import pytest

from resilient_http import BreakerConfig, Policy, State
from resilient_http._core.breaker import Breaker, Permit
from resilient_http.state import MOST_ORIGINS
from tests.client.world import Colour, ManualClock, World, breaker_of

FRAGILE = BreakerConfig(failure_threshold=1)


def trip(breaker: Breaker, now: float) -> None:
    permit = breaker.admit(now)
    assert isinstance(permit, Permit)
    breaker.settle(permit, failed=True, now=now)
    breaker.conclude(permit, failed=True, now=now)


def remembered(state: State) -> set[str]:
    return set(state.snapshot()["origins"])


@pytest.mark.case("C26", "R20")
def test_the_memory_is_bounded_and_keeps_the_open_breakers() -> None:
    clock = ManualClock()
    state = State(clock=clock, rng=Random(1))
    trip(breaker_of(state, "http://down:80", FRAGILE), clock.now())
    for number in range(3 * MOST_ORIGINS):
        breaker_of(state, f"http://host-{number}:80", FRAGILE)
    known = remembered(state)
    assert len(known) == MOST_ORIGINS
    assert "http://down:80" in known
    assert f"http://host-{3 * MOST_ORIGINS - 1}:80" in known


@pytest.mark.case("C26")
def test_if_all_are_open_the_memory_is_bounded_all_the_same() -> None:
    clock = ManualClock()
    state = State(clock=clock)
    for number in range(MOST_ORIGINS + 5):
        trip(breaker_of(state, f"http://host-{number}:80", FRAGILE), clock.now())
    assert len(remembered(state)) == MOST_ORIGINS


@pytest.mark.case("R20")
async def test_one_origins_trouble_is_not_anothers(colour: Colour) -> None:
    world = World(503)
    async with world.caller(colour) as caller:
        for _ in range(4):
            await caller.get("http://down/")
        assert breaker_of(world.state, "http://down:80", FRAGILE).state == "open"
        for other in ("http://up/", "http://down:81/", "https://down/"):
            world.script = [200]
            assert (await caller.get(other)).status_code == 200


async def test_counts_tell_calls_from_sends(colour: Colour) -> None:
    world = World(503, 200)
    async with world.caller(colour) as caller:
        await caller.get()
        await caller.get()
        known = caller.client.snapshot()["origins"]  # type: ignore[union-attr]  # ours
    assert known["http://a:80"]["calls"] == 2
    assert known["http://a:80"]["sends"] == 3
    assert known["http://a:80"]["breaker"]["state"] == "closed"


async def test_a_call_that_goes_well_is_counted_and_ends_a_row_of_failures(
    colour: Colour,
) -> None:
    world = World(503, 503, 200, 503, 503, 200)
    policy = Policy(breaker=BreakerConfig(failure_threshold=3), retry=None)
    async with world.caller(colour, policy=policy) as caller:
        for _ in range(6):
            await caller.get()
        known = caller.client.snapshot()["origins"]  # type: ignore[union-attr]  # ours
    breaker = known["http://a:80"]["breaker"]
    assert (breaker["calls"], breaker["failures"]) == (6, 4)
    assert (breaker["state"], breaker["failed_in_row"]) == ("closed", 0)
