"""The public API as a user's type checker sees it. Only ever checked, never run.

A line that must be refused carries both checkers' comments; each checker complains of a
comment that it did not need, so a misuse that goes unnoticed is an error as well.
"""

from typing import Annotated, assert_type

import httpx
import httpx2
from fastapi import Depends, FastAPI, Request
from starlette.requests import HTTPConnection

import resilient_http.httpx2 as fork
import resilient_http.testing.httpx2 as fork_testing
import server_kit
from resilient_http import (
    AppException,
    AsyncClient,
    AsyncResilientTransport,
    Client,
    ConcurrencyLimit,
    Contract,
    Hedge,
    Policy,
    RetryConfig,
    State,
    Throttle,
    wrap,
)
from resilient_http.events import Event
from resilient_http.explain import Explanation
from resilient_http.patterns import (
    CircuitBreaker,
    combine_circuit_breaker_and_retry,
    with_retry,
)
from resilient_http.testing import (
    After,
    Fixed,
    ManualClock,
    ScriptedBody,
    ScriptedServer,
)
from server_kit import Quota, RateLimitMiddleware, TrustedProxies
from server_kit.ratelimit import Refused


class OutOfStock(AppException):
    """The shelf is empty."""

    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str
    available: int = 0


SHOP = Contract(OutOfStock, type_base="https://shop.example/problems/")


def problems() -> None:
    OutOfStock("Only 2 left", sku="A1", available=2)
    OutOfStock(sku="A1", headers={"Allow": "GET"}, extra={"aisle": 4}, retry_after=2)
    OutOfStock("Only 2 left")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    OutOfStock(sku=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    OutOfStock(sku="A1", colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    OutOfStock("Only 2 left", "A1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    error = OutOfStock(sku="A1")
    assert_type(error.sku, str)
    assert_type(error.status, int)
    assert_type(error.retry_after, float | None)
    assert_type(error.response, httpx.Response | None)
    assert_type(error.received, bool)


def fallback(request: httpx.Request, error: Exception) -> httpx.Response | None:
    return None if request.method == "POST" else httpx.Response(200)


async def clients() -> None:
    policy = Policy(deadline=5.0, retry=RetryConfig(max_attempts=2))
    Policy(deadlines=5.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async with AsyncClient(
        base_url="http://shop", policy=policy, contract=SHOP
    ) as ours:
        assert_type(ours, AsyncClient)
        assert_type(await ours.get("/"), httpx.Response)
        assert_type((await ours.get("/")).raise_for_status(), httpx.Response)
    with Client(policy=policy, state=State()) as sync:
        assert_type(sync.get("http://shop/"), httpx.Response)
        assert_type(sync.send(sync.build_request("GET", "/")), httpx.Response)
        assert_type(sync.cookies, httpx.Cookies)
        assert_type(sync.explain(sync.build_request("GET", "/")), Explanation)
    seen: list[Event] = []
    routes = {"/reports": Policy(hedge=Hedge(), concurrency=ConcurrencyLimit(limit=5))}
    AsyncClient(listeners=[seen.append, print], routes=routes)
    AsyncClient(listeners=[fallback])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    Policy(fallback=fallback, throttle=Throttle(k=1.5), max_response_bytes=1_000)
    Policy(fallback="http://other/")
    Policy(fallback=httpx.Response(200))
    Policy(fallback=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    State().force("http://shop", "open")
    State().force("http://shop", "shut")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plain: httpx.AsyncClient = AsyncClient()
    assert_type(wrap(plain), httpx.AsyncClient)
    assert_type(wrap(httpx.Client()), httpx.Client)
    httpx.AsyncClient(transport=AsyncResilientTransport(policy=policy))


async def the_fork() -> None:
    async with fork.AsyncClient(base_url="http://shop", contract=SHOP) as ours:
        plain: httpx2.AsyncClient = ours
        assert_type(await plain.get("/"), httpx2.Response)
    assert_type(fork.wrap(httpx2.Client()), httpx2.Client)
    httpx2.AsyncClient(transport=fork.AsyncResilientTransport())


def servers() -> None:
    app = server_kit.wrap(FastAPI(), contract=SHOP)
    assert_type(app, FastAPI)

    @app.get("/")
    async def order(
        _: Annotated[None, Depends(server_kit.rate_limit(limit=5, window=60))],
    ) -> None: ...

    server_kit.wrap(FastAPI(), contracts=SHOP)  # type: ignore[call-overload, call-arg, unused-ignore]  # pyright: ignore[reportCallIssue]


def limited() -> None:
    def shop(request: Request) -> str:
        return request.headers["x-shop"]

    async def plan(request: HTTPConnection) -> list[Quota] | None:
        return [Quota(shop(Request(request.scope)), limit=5, window=60)]

    async def of_user(request: Request) -> Quota | None:
        return None

    def hear(event: Refused) -> None:
        assert_type(event.route, str | None)

    limiter, app = server_kit.RateLimiter(), FastAPI()
    server_kit.wrap(app, trusted_proxies=TrustedProxies(hops=1))
    TrustedProxies(networks=["10.0.0.0/8"], header="forwarded")
    TrustedProxies(hops=1, header="x-real-ip")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.add_middleware(RateLimitMiddleware, limiter=limiter, key_func=shop)
    RateLimitMiddleware(app, limiter, 5, 60, quotas=plan, listeners=[hear])
    RateLimitMiddleware(app, limiter, quotas={"user": of_user}, per_route=True)
    RateLimitMiddleware(app, limiter, quotas={"user": shop})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    RateLimitMiddleware(app, limiter, exempt=lambda request: request.url.path == "/x")
    server_kit.rate_limit(5, 60, shop, cost=lambda request: 2, quotas=plan)
    server_kit.rate_limit(5, 60, shop, cost="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def observed() -> None:
    def listen(served: server_kit.RequestServed) -> None:
        assert_type(served.route, str | None)

    log = server_kit.AccessLog(slow=1.0, bodies=1_000)
    server_kit.wrap(FastAPI(), access_log=log, listeners=[listen, print])
    server_kit.wrap(FastAPI(), listeners=[str.upper])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def patterns() -> None:
    breaker = CircuitBreaker("ledger", failure_threshold=3)

    @breaker
    def book(amount: int) -> str:
        return str(amount)

    @with_retry(max_attempts=5, base_delay=2.0)
    async def fetch(path: str) -> bytes:
        return path.encode()

    @combine_circuit_breaker_and_retry(breaker, RetryConfig(max_attempts=3))
    async def call() -> int:
        return 1

    assert_type(book(5), str)
    assert_type(await fetch("/"), bytes)
    assert_type(await call(), int)
    book("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def decide(request: httpx.Request) -> int | httpx.Response:
    return 404 if request.url.path == "/" else httpx.Response(200)


async def testing(manual_clock: ManualClock) -> None:
    clock = ManualClock(autojump=False)
    cut = ScriptedBody(b"first", httpx.ReadError("cut"), After(2.0, b"late"))
    server = ScriptedServer(
        *(503, OutOfStock(sku="A1"), httpx.ReadTimeout, After(1.0, 200), decide),
        httpx.Response(200, stream=cut),
        lambda request: 200 if request.method == "GET" else httpx.ReadError,
        seconds=0.5,
        clock=clock,
        contract=SHOP,
    )
    state = State(clock=clock, rng=Fixed(1))
    with Client(transport=server, state=state) as client:
        client.get("http://shop/")
    httpx.AsyncClient(transport=server)
    httpx.Client(transport=server)
    server.script = [503, httpx.ReadTimeout]
    assert_type(server.requests, list[httpx.Request])
    assert_type(server.bodies, list[bytes])
    assert_type(server.open_bodies, list[str])
    assert_type(server.clock, ManualClock)
    await clock.wait_for_waiters(2)
    clock.advance(2)
    ScriptedServer("503")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ScriptedServer(httpx2.Response(200))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ScriptedBody("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    other = fork_testing.ScriptedServer(httpx2.Response(200), 503)
    httpx2.Client(transport=other)
    assert_type(other.requests, list[httpx2.Request])
    httpx.Client(transport=other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
