"""Clients that exist already, and transports under clients that are not ours."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from resilient_http import Policy, RetryConfig, State
from resilient_http.problems import AppException, DeadlineExceededException
from tests.client.world import Caller, Colour, Recorded, World
from tests.family import (
    AsyncClient,
    AsyncResilientTransport,
    Client,
    ResilientTransport,
    httpx,
    wrap,
)

PLAIN: dict[str, Any] = {"async": httpx.AsyncClient, "sync": httpx.Client}
OURS: dict[str, Any] = {"async": AsyncClient, "sync": Client}


def plain(colour: Colour, **options: Any) -> Any:
    return PLAIN[colour](**options)


@pytest.mark.case("C46")
async def test_a_wrapped_client_keeps_what_it_was_given(colour: Colour) -> None:
    default, mounted = World(503, 503, 200), World(200)
    seen: list[str] = []

    def note(request: httpx.Request) -> None:
        seen.append(str(request.url))

    async def anote(request: httpx.Request) -> None:
        note(request)

    client = plain(
        colour,
        transport=default.transport,
        mounts={"http://mounted": mounted.transport},
        headers={"X-Kept": "1"},
        auth=("user", "pass"),
        timeout=7,
        event_hooks={"request": [anote if colour == "async" else note]},
    )
    before = dict(vars(client))
    assert wrap(client, state=default.state) is client
    assert type(client) is OURS[colour]
    after = dict(vars(client))
    del after["_settings"]
    assert after == before
    caller = Caller(client)
    assert (await caller.get("http://a/")).status_code == 200
    assert (await caller.get("http://mounted/")).status_code == 200
    assert (default.sends, mounted.sends) == (3, 1)
    assert default.requests[0].headers["X-Kept"] == "1"
    assert default.requests[0].headers["Authorization"].startswith("Basic ")
    assert seen == ["http://a/", "http://mounted/"]


@pytest.mark.case("C46")
async def test_pools_proxies_and_protocols_stay_as_they_were(colour: Colour) -> None:
    options: dict[str, Any] = {
        "http2": True,
        "proxy": "http://127.0.0.1:9",
        "limits": httpx.Limits(max_connections=3),
    }
    client = plain(colour, **options)
    pools = [vars(transport).get("_pool") for transport in routes(client)]
    wrap(client)
    assert [vars(transport).get("_pool") for transport in routes(client)] == pools
    assert vars(pools[1])["_http2"]
    assert vars(pools[0])["_max_connections"] == 3


@pytest.mark.case("C46")
def test_a_client_of_ours_drops_none_of_the_familys_options(colour: Colour) -> None:
    options: dict[str, Any] = {
        "http1": False,
        "http2": True,
        "verify": False,
        "trust_env": False,
        "proxy": "http://127.0.0.1:9",
        "limits": httpx.Limits(max_connections=3, keepalive_expiry=7),
    }
    ours, theirs = OURS[colour](**options), plain(colour, **options)
    made = [vars(transport)["_pool"] for transport in routes(ours)]
    asked = [vars(transport)["_pool"] for transport in routes(theirs)]
    for name in ("_http1", "_http2", "_max_connections", "_keepalive_expiry"):
        assert [vars(p)[name] for p in made] == [vars(p)[name] for p in asked]
    assert [type(pool) for pool in made] == [type(pool) for pool in asked]
    assert vars(made[0])["_ssl_context"].verify_mode is ssl.CERT_NONE
    assert ours.trust_env is False
    with pytest.raises(TypeError, match="no_such_option"):
        OURS[colour](no_such_option=1)


def routes(client: Any) -> list[Any]:
    return [client._transport, *client._mounts.values()]  # noqa: SLF001 - not shown


def test_wrapping_twice_changes_nothing(colour: Colour) -> None:
    client = wrap(plain(colour), Policy(retry=None))
    before, cls = dict(vars(client)), type(client)
    assert wrap(client, Policy(breaker=None)) is client
    assert (vars(client), type(client)) == (before, cls)
    ours = OURS[colour]()
    assert wrap(ours) is ours


@pytest.mark.case("C46")
def test_a_subclass_stays_one(colour: Colour) -> None:
    mine = type("Mine", (PLAIN[colour],), {"greet": lambda self: "hello"})
    client = wrap(mine())
    assert isinstance(client, mine)
    assert isinstance(client, OURS[colour])
    assert client.greet() == "hello"
    assert type(wrap(mine())) is type(client)


@pytest.mark.case("C46")
@pytest.mark.parametrize("wrong", [None, "client", httpx.AsyncClient, object()])
def test_what_is_no_client_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"wrap\(\) takes an httpx2? client, got"):
        wrap(wrong)


def resilient(colour: Colour, inner: Any = None, *args: Any, **options: Any) -> Any:
    kinds: dict[str, Callable[..., Any]] = {
        "async": AsyncResilientTransport,
        "sync": ResilientTransport,
    }
    return kinds[colour](inner, *args, **options)


async def through(
    world: World, colour: Colour, policy: Policy | None = None
) -> httpx.Response:
    transport = resilient(colour, world.transport, policy, state=world.state)
    caller = Caller(plain(colour, transport=transport))
    response = await caller.get()
    await caller.read(response)
    return response


async def test_a_transport_makes_the_calls_of_a_plain_client_resilient(
    colour: Colour,
) -> None:
    world = World(503, httpx.ConnectError, 404)
    response = await through(world, colour)
    assert (response.status_code, world.sends) == (404, 3)
    with pytest.raises(AppException) as caught:
        response.raise_for_status()
    assert len(caught.value.attempts) == 3


async def test_under_a_transport_a_body_is_the_callers(colour: Colour) -> None:
    body = Recorded(b"ha", httpx.ReadError("cut"))
    world = World(httpx.Response(200, stream=body), 200)
    with pytest.raises(httpx.ReadError):
        await through(world, colour)
    assert (world.sends, body.closed > 0) == (1, True)


@pytest.mark.case("C45")
async def test_under_a_transport_a_chosen_deadline_holds_for_the_body() -> None:
    world = World(200)

    def late() -> bytes:
        world.clock.time += 3
        return b"x"

    body = Recorded(*[late] * 10)
    world.script = [httpx.Response(200, stream=body)]
    with pytest.raises(DeadlineExceededException):
        await through(world, "sync", Policy(deadline=5.0))
    assert body.closed


@pytest.mark.parametrize("inner", ["x", object(), httpx.AsyncClient])
def test_a_transport_around_no_transport_is_refused(colour: Colour, inner: Any) -> None:
    with pytest.raises(TypeError, match=r"inner must be .*Transport or None, got"):
        resilient(colour, inner)


def test_a_transport_of_the_other_colour_is_refused() -> None:
    wrong: Any = httpx.HTTPTransport()
    with pytest.raises(TypeError, match="inner must be AsyncBaseTransport"):
        AsyncResilientTransport(wrong)
    wrong = httpx.AsyncHTTPTransport()
    with pytest.raises(TypeError, match="inner must be BaseTransport"):
        ResilientTransport(wrong)


async def test_a_shared_state_is_one_memory(colour: Colour) -> None:
    world = World(503)
    state = State(clock=world.clock)
    policy = Policy(retry=RetryConfig(max_attempts=1))
    for _ in range(5):
        async with world.caller(colour, state=state, policy=policy) as caller:
            await caller.get()
    known = state.snapshot()["origins"]["http://a:80"]
    assert (known["calls"], known["sends"]) == (5, 5)
    assert known["breaker"]["state"] == "open"


async def test_a_transport_heeds_a_request_that_has_nothing_but_its_policy() -> None:
    world = World(503)
    transport = AsyncResilientTransport(world.transport, state=world.state)
    once = {"policy": Policy(retry=None)}
    request = httpx.Request("GET", "http://a/", extensions=once)
    response = await transport.handle_async_request(request)
    await response.aclose()
    assert world.sends == 1
