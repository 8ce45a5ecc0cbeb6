"""One problem class: raised in a real server, caught as the same in each client."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import anyio
import pytest
from fastapi import Depends, FastAPI
from hypothesis import HealthCheck, given, settings
from starlette.responses import JSONResponse, Response

import server_kit
from resilient_http import BreakerConfig, Policy, RetryConfig
from resilient_http.context import request_id
from resilient_http.problems import (
    AppException,
    CircuitBreakerOpenException,
    Contract,
    RateLimitException,
    UpstreamException,
    ValidationException,
)
from tests.drawn import problems
from tests.family import (
    AsyncClient,
    AsyncResilientTransport,
    Client,
    ResilientTransport,
    httpx,
)
from tests.served import served


class OutOfStock(AppException):
    """The shelf is empty."""

    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str
    available: int = 0
    shelves: list[tuple[int, str]] = []  # noqa: RUF012 - copied for each problem


SHOP = Contract(OutOfStock, type_base="https://shop.example/problems/")
PAYMENTS = Contract(OutOfStock)
AT_ONCE = Policy(retry=RetryConfig(base_delay=0))
ONCE = Policy(retry=None)


class Shop:
    """A FastAPI app and what it is told to do next."""

    def __init__(self) -> None:
        self.to_raise: AppException | None = None
        self.statuses: list[int] = []
        self.seen: list[dict[str, str]] = []
        self.app = server_kit.wrap(FastAPI(), contract=SHOP)
        self.app.add_api_route("/raise", self.fail)
        self.app.add_api_route("/flaky", self.flaky)
        self.app.add_api_route("/crash", self.crash)
        self.app.add_api_route("/typed/{number}", self.typed)
        self.app.add_api_route("/limited", self.limited)
        self.app.add_api_route("/upstream", self.upstream)
        self.url = ""

    async def fail(self) -> None:
        if self.to_raise is not None:
            raise self.to_raise

    async def flaky(self) -> Response:
        status = self.statuses.pop(0) if self.statuses else 200
        return JSONResponse({"status": status}, status_code=status)

    async def crash(self) -> None:
        raise ZeroDivisionError("the password is hunter2")

    async def typed(self, number: int) -> int:
        return number

    async def limited(
        self, _: Annotated[None, Depends(server_kit.rate_limit(limit=1, window=60))]
    ) -> str:
        return "fine"

    async def upstream(self) -> None:
        """Call a service that says 409, and let its problem escape."""
        async with AsyncClient(contract=SHOP, base_url=self.url) as client:
            (await client.get("/raise")).raise_for_status()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    made = Shop()
    with served(made.app) as made.url:
        yield made


Fetch = Callable[..., Any]


async def ours(url: str, **options: Any) -> httpx.Response:
    async with AsyncClient(**options) as client:
        return await client.get(url)


async def ours_sync(url: str, **options: Any) -> httpx.Response:
    with Client(**options) as client:
        return client.get(url)


async def under_a_transport(url: str, **options: Any) -> httpx.Response:
    transport = AsyncResilientTransport(**options)
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.get(url)


async def under_a_sync_transport(url: str, **options: Any) -> httpx.Response:
    with httpx.Client(transport=ResilientTransport(**options)) as client:
        return client.get(url)


@pytest.fixture(params=[ours, ours_sync, under_a_transport, under_a_sync_transport])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    found: Fetch = request.param
    return found


async def test_what_the_server_raises_is_what_every_client_catches(
    shop: Shop, fetch: Fetch
) -> None:
    shop.to_raise = OutOfStock(
        "Only 2 left", sku="A1", available=2, shelves=[(4, "top")], extra={"aisle": 9}
    )
    response = await fetch(shop.url + "/raise", contract=SHOP)
    with pytest.raises(OutOfStock) as caught:
        response.raise_for_status()
    assert caught.value == shop.to_raise
    assert caught.value.shelves == [(4, "top")]
    assert isinstance(caught.value, httpx.HTTPStatusError)
    assert caught.value.instance == "/raise"
    assert caught.value.request_id == response.headers["x-request-id"]


@pytest.mark.property
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=problems(most=599))  # uvicorn sends no higher one
def test_any_problem_travels_to_every_client(shop: Shop, sent: AppException) -> None:
    shop.to_raise = sent
    ours: dict[str, Any] = {"contract": Contract(type(sent)), "policy": ONCE}
    # Nothing is encrypted here, and certificates take longer to load than all the rest.
    plain: dict[str, Any] = {"verify": False}
    inner = httpx.AsyncHTTPTransport(**plain)

    async def visit() -> list[httpx.Response]:
        url = shop.url + "/raise"
        async with (
            AsyncClient(**ours, **plain) as client,
            httpx.AsyncClient(transport=AsyncResilientTransport(inner, **ours)) as bare,
        ):
            return [await client.get(url), await bare.get(url)]

    answers = anyio.run(visit)
    with Client(**ours, **plain) as client:
        answers.append(client.get(shop.url + "/raise"))
    for response in answers:
        with pytest.raises(type(sent)) as caught:
            response.raise_for_status()
        assert caught.value == sent
        assert caught.value.request_id == response.headers["x-request-id"]


async def test_a_burst_of_503_is_not_seen(shop: Shop, fetch: Fetch) -> None:
    shop.statuses = [503, 503, 200]
    response = await fetch(shop.url + "/flaky", policy=AT_ONCE)
    assert response.status_code == 200
    assert [attempt.status for attempt in response.attempts] == [503, 503, 200]


@pytest.mark.case("C3")
async def test_retries_need_no_second_connection(shop: Shop) -> None:
    shop.statuses = [503, 503, 200]
    limits = httpx.Limits(max_connections=1)
    async with AsyncClient(limits=limits, policy=AT_ONCE, timeout=2) as client:
        assert (await client.get(shop.url + "/flaky")).status_code == 200


@pytest.mark.case("R21")
async def test_discarded_answers_leave_the_pool_usable(shop: Shop) -> None:
    limits = httpx.Limits(max_connections=1)
    policy = Policy(retry=RetryConfig(base_delay=0, max_delay=0), breaker=None)
    async with AsyncClient(limits=limits, policy=policy, timeout=2) as client:
        for _ in range(20):
            shop.statuses = [503] * 10
            assert (await client.get(shop.url + "/flaky")).status_code == 503
        shop.statuses = []
        assert (await client.get(shop.url + "/flaky")).status_code == 200


async def test_a_broken_service_is_left_alone(shop: Shop, fetch: Fetch) -> None:
    shop.statuses = [503] * 10
    fragile = Policy(retry=None, breaker=BreakerConfig(minimum_calls=1))
    async with AsyncClient(policy=fragile) as client:
        await client.get(shop.url + "/flaky")
        with pytest.raises(CircuitBreakerOpenException) as caught:
            await client.get(shop.url + "/flaky")
    assert isinstance(caught.value, httpx.TransportError)
    assert len(shop.statuses) == 9


@pytest.mark.case("9457-26")
async def test_a_crash_is_a_typed_error_that_tells_nothing(
    shop: Shop, fetch: Fetch
) -> None:
    once = Policy(retry=None)
    response = await fetch(shop.url + "/crash", policy=once)
    with pytest.raises(AppException) as caught:
        response.raise_for_status()
    assert (caught.value.status, caught.value.type) == (500, "internal-server-error")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in response.text


async def test_what_a_framework_refuses_is_typed_too(shop: Shop, fetch: Fetch) -> None:
    response = await fetch(shop.url + "/typed/many")
    with pytest.raises(ValidationException) as caught:
        response.raise_for_status()
    assert caught.value.errors[0].location == "path"
    with pytest.raises(AppException) as missing:
        (await fetch(shop.url + "/nowhere")).raise_for_status()
    assert missing.value.type == "not-found"


async def test_a_used_up_quota_says_when_to_come_back(shop: Shop) -> None:
    once = Policy(retry=None)
    async with AsyncClient(policy=once) as client:
        responses = [await client.get(shop.url + "/limited") for _ in range(2)]
    with pytest.raises(RateLimitException) as caught:
        responses[-1].raise_for_status()
    error = caught.value
    assert (error.limit, error.remaining) == (1, 0)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 60


async def test_a_problem_received_is_not_the_callers_own(shop: Shop) -> None:
    shop.to_raise = OutOfStock("Only 2 left", sku="A1")
    async with AsyncClient(contract=SHOP, policy=Policy(retry=None)) as client:
        response = await client.get(shop.url + "/upstream")
    assert response.status_code == 502
    with pytest.raises(UpstreamException) as caught:
        response.raise_for_status()
    assert (caught.value.upstream_type, caught.value.upstream_status) == (
        "https://shop.example/problems/out-of-stock",
        409,
    )


async def test_a_request_id_goes_on_to_services_of_the_contract(shop: Shop) -> None:
    shop.to_raise = None
    token = request_id.set("r-17")
    try:
        async with AsyncClient(contract=SHOP, base_url=shop.url) as client:
            ours = await client.get("/flaky")
        async with AsyncClient(contract=SHOP) as client:
            others = await client.get(shop.url + "/flaky")
        async with AsyncClient(base_url=shop.url) as client:
            nobodys = await client.get("/flaky")
    finally:
        request_id.reset(token)
    assert ours.headers["x-request-id"] == "r-17"
    assert others.headers["x-request-id"] != "r-17"
    assert "x-request-id" not in nobodys.request.headers
