"""A call that would end badly is answered with its fallback."""

from typing import Any

import anyio
import pytest

from resilient_http import BreakerConfig, Policy
from resilient_http.events import FellBack
from resilient_http.problems import ServiceUnavailableException
from tests.client.world import Colour, Recorded, World
from tests.family import httpx

CACHED = httpx.Response(200, headers={"x-from": "cache"}, content=b"cached")


@pytest.mark.parametrize("ending", [httpx.ConnectError, 503, 500, 429])
async def test_a_prepared_answer_is_given_instead(colour: Colour, ending: Any) -> None:
    world = World(ending)
    seen: list[Any] = []
    policy = Policy(fallback=CACHED)
    async with world.caller(colour, policy=policy, listeners=[seen.append]) as caller:
        first = await caller.get()
        second = await caller.get()
    assert first.content == second.content == b"cached"
    assert first is not second
    assert first.headers["x-from"] == "cache"
    assert first.request.url == "http://a/"
    assert len(vars(first)["attempts"]) == 3 if ending != 429 else True
    assert len([event for event in seen if isinstance(event, FellBack)]) == 2


@pytest.mark.parametrize("status", [200, 404, 304])
async def test_what_did_not_end_badly_is_left_alone(
    colour: Colour, status: int
) -> None:
    world = World(status)
    async with world.caller(colour, policy=Policy(fallback=CACHED)) as caller:
        assert (await caller.get()).status_code == status


async def test_the_answer_it_replaces_is_closed(colour: Colour) -> None:
    body = Recorded(b"busy")
    world = World(httpx.Response(503, stream=body))
    policy = Policy(fallback=CACHED, retry=None)
    async with world.caller(colour, policy=policy) as caller:
        response = await caller.open()
        assert response.status_code == 200
        assert body.closed
        assert await caller.read(response) == b"cached"


async def test_a_function_is_told_the_request_and_the_error(colour: Colour) -> None:
    told: list[tuple[httpx.Request, Exception]] = []

    def decide(request: httpx.Request, error: Exception) -> httpx.Response | None:
        told.append((request, error))
        return httpx.Response(203) if request.url.path == "/yes" else None

    world = World(503)
    once = Policy(fallback=decide, retry=None, breaker=None)
    async with world.caller(colour, policy=once) as caller:
        assert (await caller.get("http://a/yes")).status_code == 203
        assert (await caller.get("http://a/no")).status_code == 503
        world.script = [httpx.ReadTimeout]
        with pytest.raises(httpx.ReadTimeout):
            await caller.get("http://a/no")
    assert [str(request.url) for request, _ in told] == [
        "http://a/yes",
        "http://a/no",
        "http://a/no",
    ]
    assert isinstance(told[0][1], ServiceUnavailableException)
    assert isinstance(told[2][1], httpx.ReadTimeout)


async def test_a_function_may_be_async_where_the_client_is() -> None:
    async def decide(request: httpx.Request, error: Exception) -> httpx.Response:
        return httpx.Response(203)

    world = World(503)
    async with world.caller("async", policy=Policy(fallback=decide)) as caller:
        assert (await caller.get()).status_code == 203


async def test_another_origin_is_asked_instead(colour: Colour) -> None:
    world = World(503, 503, 503, 200)
    policy = Policy(fallback="https://b.example/v2/")
    async with world.caller(colour, policy=policy) as caller:
        response = await caller.get("http://a/items?page=2", headers={"x-mine": "1"})
    assert response.status_code == 200
    last = world.requests[-1]
    assert str(last.url) == "https://b.example/v2/items?page=2"
    assert last.headers["host"] == "b.example"
    assert last.headers["x-mine"] == "1"
    assert set(caller.client.snapshot()["origins"]) == {  # type: ignore[union-attr]  # ours
        "http://a:80",
        "https://b.example:443",
    }


async def test_what_may_have_happened_does_not_happen_elsewhere(colour: Colour) -> None:
    world = World(503)
    policy = Policy(fallback="http://b/", breaker=None)
    async with world.caller(colour, policy=policy) as caller:
        response = await caller.request("POST", "http://a/orders", json={})
    assert response.status_code == 503
    assert world.sends == 1


async def test_what_was_refused_here_is_sent_elsewhere(colour: Colour) -> None:
    world = World(httpx.ReadTimeout)
    fragile = BreakerConfig(failure_threshold=1)
    async with world.caller(colour) as caller:
        alone = Policy(breaker=fragile, retry=None)
        with pytest.raises(httpx.ReadTimeout):
            await caller.get(extensions={"policy": alone})
        world.script = [201]
        both = Policy(breaker=fragile, fallback="http://b/")
        response = await caller.request(
            "POST", "http://a/orders", json={"sku": 1}, extensions={"policy": both}
        )
    assert response.status_code == 201
    assert world.requests[-1].url.host == "b"
    assert world.bodies[-1] == world.requests[-1].content != b""


async def test_a_mistake_of_the_caller_is_raised_all_the_same(colour: Colour) -> None:
    world = World(httpx.UnsupportedProtocol)
    async with world.caller(colour, policy=Policy(fallback=CACHED)) as caller:
        with pytest.raises(httpx.UnsupportedProtocol):
            await caller.get()


async def test_anything_else_is_no_answer(colour: Colour) -> None:
    world = World(503)
    policy = Policy(fallback=lambda _request, _error: "cached")
    async with world.caller(colour, policy=policy) as caller:
        with pytest.raises(TypeError, match="Response or None, got 'cached'"):
            await caller.get()


@pytest.mark.parametrize(
    "given", [3, "b.example", "ftp://b/", "http://", "http://b/?x=1", b"http://b/"]
)
def test_a_fallback_that_is_none_is_refused_by_name(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"Policy\.fallback must be"):
        Policy(fallback=given)


@pytest.mark.parametrize("ending", [LookupError, KeyboardInterrupt])
async def test_a_fallback_that_fails_leaves_nothing_open(
    colour: Colour, ending: type[BaseException]
) -> None:
    def fail(request: httpx.Request, error: Exception) -> httpx.Response:
        raise ending

    world = World(503)
    policy = Policy(fallback=fail, retry=None)
    async with world.caller(colour, policy=policy) as caller:
        with pytest.raises(ending):
            await caller.open()
        known = caller.client.snapshot()["origins"]["http://a:80"]  # type: ignore[union-attr]  # ours
    world.assert_closed()
    assert known["breaker"]["in_flight"] == 0


async def test_a_fallback_that_is_cancelled_leaves_nothing_open() -> None:
    async def hang(request: httpx.Request, error: Exception) -> httpx.Response:
        scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError

    world = World(503)
    policy = Policy(fallback=hang, retry=None)
    async with world.caller("async", policy=policy) as caller:
        with anyio.CancelScope() as scope:
            await caller.open()
    world.assert_closed()
