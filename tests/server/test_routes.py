"""Which route template a request belongs to, in each framework."""

from typing import Any

import fastapi
import litestar
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

import server_kit
from server_kit.asgi import Message, Receive, Scope, Send
from server_kit.exchange import Exchange, exchange_of
from server_kit.frameworks.ahead import endpoint_ahead
from server_kit.ratelimit.keys import UNMATCHED, endpoint_key, route_key
from server_kit.routes import template_of
from tests.server.apps import (
    AnyApp,
    ask,
    fastapi_app,
    litestar_app,
    raw_app,
    starlette_app,
)


async def fine(_: Any) -> PlainTextResponse:
    return PlainTextResponse("fine")


async def taken(app: AnyApp, path: str, method: str = "GET") -> str | None:
    """Return the template that one request through a wrapped app belongs to."""
    seen: list[tuple[Exchange, Scope]] = []

    async def outside(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            exchange = exchange_of(scope)
            assert exchange is not None
            seen.append((exchange, scope))
            await send(message)

        await wrapped(scope, receive, watch)

    wrapped = server_kit.wrap(app)
    await ask(outside, path, method)
    return template_of(*seen[-1])


def asked(path: str, method: str = "GET", **more: Any) -> Scope:
    fixed = {"type": "http", "root_path": "", "headers": [], "query_string": b""}
    return {**fixed, "method": method, "path": path, **more}


def ahead(app: AnyApp, path: str, method: str = "GET") -> str | None:
    """Return the template of the endpoint that the request will be for."""
    endpoint = endpoint_ahead(app, asked(path, method))
    return None if endpoint is None else endpoint.template


def included() -> fastapi.FastAPI:
    inner = fastapi.APIRouter(prefix="/items")
    inner.add_api_route("/{id}", fine, response_model=None)
    inner.add_route("/plain/{id:int}", fine)
    inner.mount("/files", raw_app)
    outer = fastapi.APIRouter(prefix="/v1")
    outer.include_router(inner, prefix="/shops/{shop}")
    sub = fastapi.FastAPI()
    sub.include_router(inner)
    app = fastapi.FastAPI()
    app.include_router(outer, prefix="/api")
    app.include_router(inner, prefix="/main")
    app.mount("/sub", sub)
    app.add_route("/direct/{id}", fine)
    return app


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/v1/shops/7/items/5", "/api/v1/shops/{shop}/items/{id}"),
        ("/api/v1/shops/7/plain/5", "/api/v1/shops/{shop}/plain/{id}"),
        ("/api/v1/shops/7/files/a", "/api/v1/shops/{shop}/files/{path}"),
        ("/main/items/5", "/main/items/{id}"),
        ("/sub/items/5", "/sub/items/{id}"),
        ("/sub/plain/5", "/sub/plain/{id}"),
        ("/sub/docs", "/sub/docs"),
        ("/docs", "/docs"),
        ("/direct/5", "/direct/{id}"),
        ("/nowhere", None),
        ("/api/v1/nowhere", None),
    ],
)
async def test_fastapi(path: str, template: str | None) -> None:
    assert await taken(included(), path) == template
    assert ahead(server_kit.wrap(included()), path) == template


@pytest.mark.parametrize("app", [fastapi_app, starlette_app, litestar_app])
@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/ok", "/ok"),
        ("/status/404", "/status/{number}"),
        ("/crash", "/crash"),
        ("/drip", "/drip"),
        ("/nowhere", None),
    ],
)
async def test_each_framework(app: AnyApp, path: str, template: str | None) -> None:
    assert await taken(app(), path) == template
    assert ahead(app(), path) == template


@pytest.mark.parametrize("app", [fastapi_app, starlette_app])
async def test_a_wrong_method_belongs_to_the_route(app: AnyApp) -> None:
    assert await taken(app(), "/status/1", "POST") == "/status/{number}"


@pytest.mark.case("S24")
@pytest.mark.parametrize("app", [fastapi_app, starlette_app, litestar_app])
@pytest.mark.parametrize("method", ["POST", "BREW", "get", ""])
def test_a_wrong_method_leads_nowhere(app: AnyApp, method: str) -> None:
    assert ahead(app(), "/status/1", method) is None
    assert route_key(app(), asked("/status/1", method)) == UNMATCHED


async def test_an_app_of_no_framework_has_no_routes() -> None:
    assert await taken(raw_app, "/ok") is None
    keys = {
        route_key(server_kit.wrap(raw_app), asked(path, method))
        for path in ("/ok", "/no")
        for method in ("GET", "BREW")
    }
    assert keys == {"http /{path}"}


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/t/5/items/7", "/t/{tenant}/items/{id}"),
        ("/t/5/nowhere", "/t/{tenant}/{path}"),
        ("/sub/status/404", "/sub/status/{number}"),
        ("/kit/status/404", "/kit/status/{number}"),
        ("/fast/direct/5", "/fast/direct/{id}"),
        ("/lit/status/404", "/lit/status/{number}"),
        ("/lit/nowhere", "/lit/{path}"),
        ("/raw/ok", "/raw/{path}"),
        ("/raw/ok/more", "/raw/{path}"),
        ("/plain", "/plain"),
    ],
)
async def test_mounts_are_part_of_the_template(path: str, template: str) -> None:
    app = everything_mounted()
    assert await taken(app, path) == template
    leads = path not in ("/t/5/nowhere", "/lit/nowhere")
    assert ahead(app, path) == (template if leads else None)


def everything_mounted() -> Starlette:
    mounted: AnyApp = litestar_app()
    return Starlette(
        routes=[
            Host("other.example", app=raw_app),
            Mount("/t/{tenant}", routes=[Route("/items/{id:int}", fine)]),
            Mount("/sub", starlette_app()),
            Mount("/kit", server_kit.wrap(starlette_app())),
            Mount("/fast", included()),
            Mount("/lit", mounted),
            Mount("/raw", raw_app),
            Mount("", Router([Route("/plain", fine)])),
        ]
    )


@pytest.mark.case("S22")
async def test_a_mount_may_name_its_parameter_as_a_route_below_does() -> None:
    app = Starlette(routes=[Mount("/{id}", routes=[Route("/x/{id}", fine)])])
    assert await taken(app, "/5/x/7") == "/{id}/x/{id}"
    assert ahead(app, "/5/x/7") == "/{id}/x/{id}"


def test_hosts_have_routes_too() -> None:
    shop = Router([Route("/items/{id}", fine)])
    app = Starlette(routes=[Host("shop.example", app=shop)])
    scope = asked("/items/5", headers=[(b"host", b"shop.example")])
    found = endpoint_ahead(app, scope)
    assert found is not None
    assert found.template == "/items/{id}"
    assert ahead(app, "/items/5") is None


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize(
    ("path", "template"),
    [("/shop/items/5/", "/shop/items/{id}/"), ("/shop/no", "/shop/{path}")],
)
async def test_an_app_mounted_in_litestar(
    path: str, template: str, copies: bool
) -> None:
    inner = Starlette(routes=[Route("/items/{id}/", fine)])
    mount = litestar.asgi("/shop", is_mount=True, copy_scope=copies)
    app = litestar.Litestar([mount(inner)], openapi_config=None, logging_config=None)
    assert await taken(app, path) == template
    assert ahead(app, path) == (template if path != "/shop/no" else None)


@pytest.mark.parametrize("name", ["/items/5", "/plain/5", "/sub/status/5"])
async def test_a_root_path_is_not_part_of_it(name: str) -> None:
    app = fastapi.FastAPI()
    app.add_api_route("/items/{id}", fine, response_model=None)
    app.add_route("/plain/{id}", fine)
    app.mount("/sub", starlette_app())

    async def proxied(scope: Scope, receive: Receive, send: Send) -> None:
        scope["root_path"] = "/api"
        await app(scope, receive, send)

    template = await taken(proxied, f"/api{name}")
    assert template is not None
    assert template.partition("{")[0] == name.removesuffix("5")


async def test_a_middleware_may_copy_the_scope() -> None:
    class Copies:
        def __init__(self, app: AnyApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(dict(scope), receive, send)

    app = starlette_app()
    app.add_middleware(Copies)
    assert await taken(app, "/status/404") == "/status/{number}"
    outer = Starlette(routes=[Mount("/kit", server_kit.wrap(app))])
    assert await taken(Copies(outer), "/kit/status/404") == "/kit/status/{number}"


async def seen_by(middlewares: str, path: str) -> tuple[str, str]:
    """Return the key that a middleware makes, and that of the endpoint it leads to."""
    keys: list[str] = []

    class Sees:
        def __init__(self, app: AnyApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            keys.append(route_key(self.app, scope))
            await self.app(scope, receive, send)

    async def read(request: Any) -> PlainTextResponse:
        keys.append(endpoint_key(request.scope))
        return PlainTextResponse("fine")

    def at(where: str) -> Any:
        return [Middleware(Sees)] if where == middlewares else None

    items = Route("/items/{id}", read, middleware=at("route"))
    mount = Mount("/t/{tenant}", routes=[items], middleware=at("mount"))
    app: Any = Starlette(routes=[mount], middleware=at("app"))
    await ask(Sees(app) if middlewares == "outside" else app, path)
    return keys[0], keys[-1]


@pytest.mark.case("S22")
@pytest.mark.parametrize("where", ["outside", "app", "mount", "route"])
async def test_middlewares_and_endpoints_agree_wherever_they_are(where: str) -> None:
    for path in ("/t/5/items/7", "/t/6/items/8"):
        assert await seen_by(where, path) == ("GET,HEAD /t/{tenant}/items/{id}",) * 2


@pytest.mark.case("S22")
async def test_a_middleware_of_litestar_knows_the_route() -> None:
    keys: list[str] = []

    def sees(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            keys.append(route_key(app, scope))
            await app(scope, receive, send)

        return middleware

    app = litestar_app(middleware=[sees])
    for number in (1, 2):
        await ask(app, f"/status/{number}")
    assert keys == ["GET /status/{number}"] * 2


def test_looking_ahead_leaves_the_request_as_it_is() -> None:
    class Notes(Route):
        def matches(self, scope: Any) -> Any:
            scope["note"] = self
            return super().matches(scope)

    scope = asked("/a")
    endpoint_ahead(Starlette(routes=[Notes("/a", fine)]), scope)
    assert scope == asked("/a")


def test_a_websocket_is_an_endpoint() -> None:
    app = Starlette(routes=[WebSocketRoute("/feed/{id}", fine)])
    scope = asked("/feed/5", type="websocket")
    del scope["method"]
    assert route_key(app, scope) == "websocket /feed/{id}"
    assert route_key(app, asked("/feed/5")) == UNMATCHED
