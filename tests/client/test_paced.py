"""Calls in line for a share of what a server announces."""

from typing import Any

import pytest

from resilient_http import Policy, RateLimit
from resilient_http.events import Waiting
from tests.client.world import Colour, World
from tests.family import httpx

ONE_SECOND = {"ratelimit-policy": '"default";q=100;w=1'}


def left(units: int, status: int = 200) -> httpx.Response:
    said = {"ratelimit": f'"default";r={units};t=1', **ONE_SECOND}
    return httpx.Response(status, headers=said)


async def learn(world: World, caller: Any) -> None:
    """Have it told that others took 90 of 100."""
    await caller.get()
    world.clock.advance(2)
    await caller.get()


async def test_calls_wait_for_their_share(colour: Colour) -> None:
    world = World(left(99), left(10))
    seen: list[Any] = []
    async with world.caller(colour, listeners=[seen.append]) as caller:
        await learn(world, caller)
        began = world.clock.now()
        for _ in range(5):
            await caller.get()
    assert 2 < world.clock.now() - began < 6
    assert [e.part for e in seen if isinstance(e, Waiting)] == ["rate_limit"] * 5


async def test_who_has_no_time_for_it_goes_at_once(colour: Colour) -> None:
    world = World(left(99), left(10))
    async with world.caller(colour) as caller:
        await learn(world, caller)
        await caller.get(extensions={"deadline": 0.5})
    assert world.clock.waits == []


async def test_a_share_and_a_limit_of_ones_own_hold_together(colour: Colour) -> None:
    world = World(left(99), left(10))
    policy = Policy(rate_limit=RateLimit(1, 3.0))
    async with world.caller(colour, policy=policy) as caller:
        await learn(world, caller)
        began = world.clock.now()
        await caller.get()
    assert world.clock.now() - began == pytest.approx(3, abs=0.1)


async def test_another_credential_has_a_share_of_its_own(colour: Colour) -> None:
    world = World(left(99), left(10))
    async with world.caller(colour) as caller:
        await learn(world, caller)
        await caller.get(headers={"x-api-key": "another"})
    assert world.clock.waits == []
