"""What the other end is told, and what those around us are."""

from typing import Any

import pytest

from resilient_http import BreakerConfig, Contract, Policy, RetryBudget, RetryConfig
from resilient_http.context import is_sending, request_id, traceparent
from tests.client.world import Colour, World
from tests.family import AsyncClient, AsyncResilientTransport, httpx

SHOP = Contract()
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OURS = ("x-request-id", "traceparent", "x-request-attempt", "x-request-timeout-ms")


@pytest.fixture
def served() -> Any:
    """Be serving a request, as `server_kit` says it."""
    tokens = (request_id.set("r-1"), traceparent.set(TRACE))
    yield
    request_id.reset(tokens[0])
    traceparent.reset(tokens[1])


def told(request: httpx.Request) -> list[str | None]:
    return [request.headers.get(name) for name in OURS]


@pytest.mark.usefixtures("served")
async def test_an_origin_of_the_contract_is_told(colour: Colour) -> None:
    world = World(503, 200, seconds=0.25)
    options = {"contract": SHOP, "base_url": "http://a", "policy": Policy(deadline=4.0)}
    async with world.caller(colour, **options) as caller:
        await caller.get("/", headers={"x-mine": "1"})
    first, second = world.requests[0], world.requests[-1]
    assert first.headers["x-mine"] == "1"
    assert told(second) == ["r-1", TRACE, "2", "3700"]


@pytest.mark.case("C37")
@pytest.mark.usefixtures("served")
async def test_each_send_has_its_number_and_what_is_left_then(colour: Colour) -> None:
    seen: list[list[str | None]] = []
    world = World(503, 503, 200, seconds=0.25)
    serve = world.serve

    def note(request: httpx.Request, body: bytes) -> httpx.Response:
        seen.append(told(request))
        return serve(request, body)

    world.serve = note  # type: ignore[method-assign]  # a header is written over
    options = {"contract": SHOP, "base_url": "http://a", "policy": Policy(deadline=4.0)}
    async with world.caller(colour, **options) as caller:
        await caller.get("/")
    assert seen == [
        ["r-1", TRACE, "1", "4000"],
        ["r-1", TRACE, "2", "3700"],
        ["r-1", TRACE, "3", "3350"],
    ]


@pytest.mark.usefixtures("served")
async def test_nobody_else_is_told_anything(colour: Colour) -> None:
    world = World(503, 200)
    async with world.caller(colour) as caller:
        plain = httpx.Client().build_request("GET", "http://a/")
        await caller.get("http://a/")
    names = set(world.requests[-1].headers) - set(plain.headers)
    assert names == set()
    async with world.caller(colour, contract=SHOP, base_url="http://b") as caller:
        await caller.get("http://a/")
    assert told(world.requests[-1]) == [None] * 4


@pytest.mark.usefixtures("served")
async def test_what_was_told_does_not_cross_to_another_origin(colour: Colour) -> None:
    there = httpx.Response(307, headers={"location": "http://b/"})
    world = World(there, 200)
    options = {"contract": SHOP, "base_url": "http://a", "follow_redirects": True}
    async with world.caller(colour, **options) as caller:
        await caller.get("/")
    assert told(world.requests[1]) == [None] * 4


@pytest.mark.usefixtures("served")
async def test_what_the_caller_set_is_left_as_it_is(colour: Colour) -> None:
    world = World(503, 200)
    headers = {"X-Request-ID": "mine", "X-Request-Timeout-Ms": "7"}
    async with world.caller(colour, contract=SHOP, base_url="http://a") as caller:
        await caller.get("/", headers=headers)
    assert told(world.requests[-1]) == ["mine", TRACE, "2", "7"]


@pytest.mark.parametrize(
    "policy", [Policy(propagate_deadline=False), Policy(deadline=None)]
)
async def test_a_deadline_is_told_only_if_there_is_one_to_tell(
    colour: Colour, policy: Policy
) -> None:
    world = World(200)
    options = {"contract": SHOP, "base_url": "http://a", "policy": policy}
    async with world.caller(colour, **options) as caller:
        await caller.get("/")
    assert told(world.requests[-1]) == [None, None, "1", None]


@pytest.mark.case("C37", "R26")
async def test_a_call_within_a_send_does_no_retries_of_its_own() -> None:
    world = World(503)
    inner = AsyncResilientTransport(world.transport, Policy(breaker=None))
    options: Any = {"policy": Policy(breaker=None), "state": world.state}
    async with AsyncClient(transport=inner, **options) as client:
        assert (await client.get("http://a/")).status_code == 503
    assert world.sends == 3


@pytest.mark.case("C37")
async def test_a_call_beside_a_send_does_its_own(colour: Colour) -> None:
    world = World(503)
    async with world.caller(colour) as caller:
        await caller.get()
        assert not is_sending.get()
        await caller.get("http://b/")
    assert world.sends == 6


SHOULD_RETRY = "x-should-retry"


@pytest.mark.case("R26")
async def test_who_retried_in_vain_says_so(colour: Colour) -> None:
    world = World(503)
    async with world.caller(colour) as caller:
        response = await caller.get()
    assert response.headers[SHOULD_RETRY] == "false"


@pytest.mark.parametrize(
    ("method", "policy", "status"),
    [
        ("GET", Policy(retry=None), 503),
        ("GET", Policy(retry=RetryConfig(max_attempts=1)), 503),
        ("POST", Policy(), 503),
        ("GET", Policy(), 404),
        ("GET", Policy(), 200),
    ],
)
async def test_who_did_not_retry_says_nothing(
    colour: Colour, method: str, policy: Policy, status: int
) -> None:
    world = World(status)
    async with world.caller(colour, policy=policy) as caller:
        response = await caller.request(method, "http://a/")
    assert SHOULD_RETRY not in response.headers


@pytest.mark.parametrize(
    "policy",
    [
        Policy(budget=RetryBudget(capacity=0)),
        Policy(breaker=BreakerConfig(minimum_calls=1)),
    ],
)
async def test_who_may_not_retry_says_so(colour: Colour, policy: Policy) -> None:
    world = World(503)
    async with world.caller(colour, policy=policy) as caller:
        response = await caller.get()
    assert world.sends == 1
    assert response.headers[SHOULD_RETRY] == "false"


async def test_a_retry_that_helped_is_not_mentioned(colour: Colour) -> None:
    world = World(503, 200)
    async with world.caller(colour) as caller:
        response = await caller.get()
    assert SHOULD_RETRY not in response.headers


@pytest.mark.case("C37", "R26")
@pytest.mark.parametrize(("count", "sends"), [("0", 3), ("1", 1), ("2", 1)])
async def test_what_an_sdk_sends_again_is_not_sent_again_by_us(
    colour: Colour, count: str, sends: int
) -> None:
    world = World(httpx.ConnectError)
    headers = {"x-stainless-retry-count": count}
    async with world.caller(colour) as caller:
        with pytest.raises(httpx.ConnectError):
            await caller.get(headers=headers)
    assert world.sends == sends
