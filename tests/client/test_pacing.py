"""Calls that begin no faster than they may."""

import anyio
import pytest

from resilient_http import Policy, RateLimit, State
from resilient_http.problems import RateLimitException
from tests.client.world import Colour, World
from tests.family import AsyncClient, httpx


async def test_calls_wait_their_turn(colour: Colour) -> None:
    world = World(200)
    policy = Policy(rate_limit=RateLimit(2, 1.0))
    async with world.caller(colour, policy=policy) as caller:
        for _ in range(6):
            await caller.get()
    assert world.clock.waits == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert world.sends == 6


async def test_another_origin_has_a_line_of_its_own(colour: Colour) -> None:
    world = World(200)
    policy = Policy(rate_limit=RateLimit(1, 10.0))
    async with world.caller(colour, policy=policy) as caller:
        await caller.get("http://a/")
        await caller.get("http://b/")
    assert world.clock.waits == []


async def test_a_call_that_comes_too_soon_may_be_refused(colour: Colour) -> None:
    world = World(200)
    policy = Policy(rate_limit=RateLimit(1, 10.0, mode="reject"))
    async with world.caller(colour, policy=policy) as caller:
        await caller.get("http://a/")
        with pytest.raises(RateLimitException) as caught:
            await caller.get("http://user:pass@a/x?token=secret")
        known = caller.client.snapshot()["origins"]  # type: ignore[union-attr]  # ours
    error = caught.value
    assert isinstance(error, httpx.TransportError)
    assert error.retry_after == pytest.approx(10)
    assert (error.received, error.response, world.sends) == (True, None, 1)
    assert "secret" not in str(error)
    assert known["http://a:80"]["refused"] == 1


async def test_a_redirect_is_no_new_call(colour: Colour) -> None:
    there = httpx.Response(302, headers={"location": "http://a/there"})
    world = World(there, 200)
    policy = Policy(rate_limit=RateLimit(1, 10.0, mode="reject"))
    options = {"policy": policy, "follow_redirects": True}
    async with world.caller(colour, **options) as caller:
        assert (await caller.get()).status_code == 200


@pytest.mark.case("C10", "C43")
async def test_a_cancelled_wait_leaves_its_place_to_the_next() -> None:
    world = World(200)
    state = State()
    policy = Policy(rate_limit=RateLimit(1, 60.0), deadline=None)
    transport = world.transport
    async with AsyncClient(transport=transport, policy=policy, state=state) as client:
        await client.get("http://a/")
        bucket = state.origin("http://a:80", policy).bucket
        assert bucket is not None
        with anyio.move_on_after(0.01):
            await client.get("http://a/")
        assert world.sends == 1
        assert bucket.wait(state.clock.now()) == pytest.approx(60, abs=1)
