"""What a server announces holds for all calls that have the same credential."""

from typing import Any

import pytest

from resilient_http import Policy, RateLimit, RetryConfig
from resilient_http.events import Refused, Waiting
from resilient_http.problems import RateLimitException
from tests.client.world import Colour, World
from tests.family import httpx


def answer(status: int = 200, /, **headers: str) -> httpx.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=fields)


def shed(**headers: str) -> httpx.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    fields["content-type"] = "application/problem+json"
    return httpx.Response(503, headers=fields, content=b'{"type": "overloaded"}')


USED_UP = {"ratelimit": '"default";r=0;t=4'}
ONCE = Policy(retry=None)


@pytest.mark.case("RL-30")
async def test_calls_wait_until_there_is_more(colour: Colour) -> None:
    world = World(answer(**USED_UP), 200)
    async with world.caller(colour) as caller:
        await caller.get()
        await caller.get("http://a/another")
        await caller.get("http://b/")
    assert world.clock.waits == [pytest.approx(4 * 1.1)]


@pytest.mark.case("RL-30")
async def test_what_is_left_may_go_at_once(colour: Colour) -> None:
    world = World(answer(ratelimit='"default";r=2;t=4'), 200)
    async with world.caller(colour) as caller:
        for _ in range(4):
            await caller.get()
    assert world.clock.waits == [pytest.approx(4 * 1.1)]


async def test_another_credential_is_not_slowed_down(colour: Colour) -> None:
    world = World(answer(**USED_UP), 200)
    async with world.caller(colour) as caller:
        await caller.get(headers={"authorization": "Bearer one"})
        await caller.get(headers={"authorization": "Bearer two"})
        await caller.get(headers={"x-api-key": "one"})
        await caller.get()
        assert world.clock.waits == []
        await caller.get(headers={"authorization": "Bearer one"})
    assert world.clock.waits == [pytest.approx(4 * 1.1)]


async def test_a_wait_that_does_not_fit_the_deadline_is_ignored(colour: Colour) -> None:
    world = World(answer(**USED_UP), 200)
    async with world.caller(colour) as caller:
        await caller.get()
        await caller.get(extensions={"deadline": 3.0})
    assert world.clock.waits == []
    assert world.sends == 2


async def test_who_asked_for_a_limit_is_refused_instead(colour: Colour) -> None:
    world = World(answer(**USED_UP), 200)
    seen: list[Any] = []
    limited = Policy(rate_limit=RateLimit(100, 1.0, mode="reject"))
    options = {"policy": limited, "listeners": [seen.append]}
    async with world.caller(colour, **options) as caller:
        await caller.get()
        with pytest.raises(RateLimitException, match="its limit is reached") as caught:
            await caller.get()
    assert caught.value.retry_after == pytest.approx(4)
    assert [e.part for e in seen if isinstance(e, Refused)] == ["server"]
    assert world.sends == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_holds_for_all(colour: Colour, status: int) -> None:
    world = World(answer(status, retry_after="3"), 200)
    seen: list[Any] = []
    options = {"policy": ONCE, "listeners": [seen.append]}
    async with world.caller(colour, **options) as caller:
        assert (await caller.get()).status_code == status
        await caller.get("http://a/another")
    assert world.clock.waits == [pytest.approx(3 * 1.1)]
    assert [e.seconds for e in seen if isinstance(e, Waiting)] == world.clock.waits


async def test_a_refusal_for_want_of_room_holds_nobody_else(colour: Colour) -> None:
    """Held back together they would come back together, and be refused together."""
    world = World(shed(retry_after="3"), 200)
    async with world.caller(colour, policy=ONCE) as caller:
        assert (await caller.get()).status_code == 503
        await caller.get("http://a/another")
    assert world.clock.waits == []


async def test_its_own_retry_waits_all_the_same(colour: Colour) -> None:
    world = World(shed(retry_after="3"), 200)
    async with world.caller(colour) as caller:
        assert (await caller.get()).status_code == 200
    assert world.clock.waits == [pytest.approx(3 * 1.1)]


@pytest.mark.case("RL-27", "R15")
async def test_a_retry_after_goes_before_the_rest(colour: Colour) -> None:
    world = World(answer(429, retry_after="3", ratelimit='"d";r=0;t=20'), 200)
    async with world.caller(colour) as caller:
        assert (await caller.get()).status_code == 200
    assert world.clock.waits == [pytest.approx(3 * 1.1)]


async def test_a_retry_waits_for_what_was_announced(colour: Colour) -> None:
    world = World(answer(429, **USED_UP), 200)
    async with world.caller(colour) as caller:
        assert (await caller.get()).status_code == 200
    assert world.clock.waits == [pytest.approx(4 * 1.1)]


async def test_a_retry_that_would_wait_too_long_is_not_made(colour: Colour) -> None:
    world = World(answer(429, ratelimit='"d";r=0;t=20'))
    policy = Policy(retry=RetryConfig(max_retry_after=10))
    async with world.caller(colour, policy=policy) as caller:
        assert (await caller.get()).status_code == 429
    assert world.sends == 1


@pytest.mark.parametrize(
    ("status", "waits"), [(200, []), (429, [4.4]), (403, [4.4]), (404, [])]
)
async def test_what_nobody_has_defined_is_believed_of_refusals_only(
    colour: Colour, status: int, waits: list[float]
) -> None:
    said = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": "4"}
    world = World(answer(status, **said), 200)
    async with world.caller(colour, policy=ONCE) as caller:
        await caller.get()
        await caller.get()
    assert world.clock.waits == pytest.approx(waits)


@pytest.mark.case("RL-26", "RL-28", "R15")
@pytest.mark.parametrize(
    "headers",
    [
        {"ratelimit": "default;r=0;t=4;;"},
        {"ratelimit": '"default";r=0;t=4', "age": "10"},
        {"ratelimit": "x" * 1_000_000},
        {"retry_after": "soon"},
    ],
)
async def test_what_is_malformed_or_stale_says_nothing(
    colour: Colour, headers: dict[str, str]
) -> None:
    world = World(answer(**headers), 200)
    async with world.caller(colour, policy=ONCE) as caller:
        await caller.get()
        await caller.get()
    assert world.clock.waits == []


async def test_the_credentials_remembered_are_bounded(colour: Colour) -> None:
    world = World(answer(**USED_UP))
    async with world.caller(colour, policy=ONCE) as caller:
        for number in range(100):
            await caller.get(headers={"authorization": f"Bearer {number}"})
        origin = world.state.peek("http://a:80", ONCE)
        assert origin.pacers is not None
        assert len(origin.pacers) == 64
        assert not any(b"Bearer" in partition for partition in origin.pacers)
