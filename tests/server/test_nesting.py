"""Wrapped apps inside wrapped apps."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount

import server_kit
from resilient_http.problems import Contract
from server_kit import RateLimiter, RateLimitMiddleware, SecurityHeaders
from server_kit.asgi import ASGIApp, Receive, Scope, Send
from server_kit.exchange import exchange_of
from tests.server.apps import (
    SECRET,
    SHOP,
    AnyApp,
    OutOfStock,
    ask,
    fastapi_app,
    litestar_app,
    raw_app,
    serve,
    starlette_app,
)

OTHER = Contract(OutOfStock, type_base="https://other.example/")

INNER: dict[str, Callable[[], AnyApp]] = {
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "litestar": litestar_app,
    "raw": lambda: stripped,
}


async def stripped(scope: Scope, receive: Receive, send: Send) -> None:
    await raw_app({**scope, "path": scope["path"].removeprefix("/shop")}, receive, send)


def nested(inner: AnyApp, **options: Any) -> AnyApp:
    outer = starlette_app()
    outer.mount("/shop", server_kit.wrap(inner, **options))
    return server_kit.wrap(outer, contract=OTHER)


every_inner = pytest.mark.parametrize("name", INNER)


@pytest.mark.case("S54")
@pytest.mark.parametrize("path", ["/ok", "/problem", "/crash", "/nowhere"])
@every_inner
async def test_nothing_is_added_twice(name: str, path: str) -> None:
    answer = await ask(nested(INNER[name]()), f"/shop{path}")
    names = [key.lower() for key, _ in answer.headers.raw]
    assert len(names) == len(set(names))
    assert {b"x-request-id", b"x-frame-options"} <= set(names)
    if path != "/ok":
        assert answer.json()["instance"] == f"/shop{path}"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.case("S54")
async def test_an_instance_is_the_path_that_was_requested() -> None:
    inner = server_kit.wrap(raw_app)

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/shop")
        await inner({**scope, "path": path}, receive, send)

    answer = await ask(server_kit.wrap(outer), "/shop/problem")
    assert answer.json()["instance"] == "/shop/problem"


@pytest.mark.case("S54")
@every_inner
async def test_a_problem_is_written_by_the_contract_nearest_to_it(name: str) -> None:
    app = nested(INNER[name](), contract=SHOP)
    inner = await ask(app, "/shop/problem")
    assert inner.json()["type"] == "https://shop.example/problems/out-of-stock"
    outer = await ask(app, "/problem")
    assert outer.json()["type"] == "https://other.example/out-of-stock"
    inherited = await ask(nested(INNER[name]()), "/shop/problem")
    assert inherited.json()["type"] == "https://other.example/out-of-stock"


@pytest.mark.case("S54")
@every_inner
async def test_a_crash_is_answered_logged_and_raised_once(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve(nested(INNER[name]()), "/shop/crash")
    assert served.kinds == ["http.response.start", "http.response.body"]
    assert str(served.error) == SECRET
    ours = [record for record in caplog.records if record.name == "server_kit"]
    assert len(ours) == 1


@pytest.mark.case("S54")
async def test_a_late_crash_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    served = await serve(nested(starlette_app()), "/shop/late")
    assert isinstance(served.error, RuntimeError)
    assert len(caplog.records) == 1


@pytest.mark.case("S54")
async def test_a_middleware_of_the_outer_app_does_not_answer_again() -> None:
    class CatchAll:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await self.app(scope, receive, send)
            except RuntimeError:
                await send({"type": "http.response.start", "status": 200})

    mounted = Mount("/shop", server_kit.wrap(starlette_app()))
    outer = Starlette(routes=[mounted], middleware=[Middleware(CatchAll)])
    served = await serve(server_kit.wrap(outer), "/shop/crash")
    assert served.kinds == ["http.response.start", "http.response.body"]
    assert isinstance(served.error, RuntimeError)


async def test_what_the_inner_app_asks_for_holds_for_its_responses() -> None:
    strict = SecurityHeaders(x_frame_options="SAMEORIGIN")
    app = nested(starlette_app(), security=strict, debug=True)
    inner = await ask(app, "/shop/crash")
    assert inner.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert "traceback" in inner.json()
    outer = await ask(app, "/crash")
    assert outer.headers.get_list("x-frame-options") == ["DENY"]
    assert "traceback" not in outer.json()


@pytest.mark.case("S54")
async def test_a_request_is_one_request_all_the_way() -> None:
    seen: list[Any] = []

    class Seeing:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            before = exchange_of(scope)
            await self.app(scope, receive, send)
            seen.extend([before, exchange_of(scope)])

    mounted = Mount("/shop", server_kit.wrap(starlette_app()))
    outer = Starlette(routes=[mounted], middleware=[Middleware(Seeing)])
    answer = await ask(server_kit.wrap(outer), "/shop/ok")
    before, after = seen
    assert before is after
    assert before.outer is None
    assert answer.headers["x-request-id"] == before.request_id


@pytest.mark.case("S54")
@pytest.mark.parametrize(("first", "then"), [(5, 50), (50, 5)])
async def test_the_tightest_of_all_limits_is_told(first: int, then: int) -> None:
    limiter = RateLimiter()
    inner = starlette_app()
    outer = Starlette(routes=[Mount("/shop", server_kit.wrap(inner))])
    for app, limit in ((outer, first), (inner, then)):
        app.add_middleware(RateLimitMiddleware, limiter=limiter, default_limit=limit)
    answer = await ask(server_kit.wrap(outer), "/shop/ok")
    assert answer.headers.get_list("x-ratelimit-remaining") == ["4"]
    assert answer.headers.get_list("x-ratelimit-limit") == ["5"]


@pytest.mark.case("S54")
async def test_the_dependencies_of_the_inner_app_ask_the_nearest_limiter() -> None:
    ours, theirs = RateLimiter(), RateLimiter()
    asked: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        assert exchange is not None
        asked.append(exchange.limiter)
        await raw_app({**scope, "path": "/ok"}, receive, send)

    for inner in (server_kit.wrap(app, limiter=theirs), server_kit.wrap(app)):
        outer = Starlette(routes=[Mount("/shop", inner)])
        await ask(server_kit.wrap(outer, limiter=ours), "/shop/ok")
    assert asked == [theirs, ours]


async def test_an_app_wrapped_in_itself_is_as_if_wrapped_once() -> None:
    app = server_kit.wrap(server_kit.wrap(starlette_app()), contract=SHOP)
    answer = await ask(app, "/problem")
    assert answer.json()["type"] == "https://shop.example/problems/out-of-stock"
    assert isinstance((await serve(app, "/crash")).error, RuntimeError)


async def test_an_app_mounted_unwrapped_answers_by_the_outer_one() -> None:
    inner = starlette_app()
    inner.add_middleware(CORSMiddleware, allow_origins=["*"])
    outer = server_kit.wrap(Starlette(routes=[Mount("/shop", inner)]), contract=SHOP)
    answer = await ask(outer, "/shop/crash", headers={"Origin": "http://elsewhere"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json()["type"] == "internal-server-error"
