"""Which route template a request belongs to, in each framework."""

from typing import Any

import fastapi
import litestar
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router

import server_kit
from server_kit.asgi import Message, Receive, Scope, Send
from server_kit.exchange import Exchange, exchange_of
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


@pytest.mark.parametrize("app", [fastapi_app, starlette_app])
async def test_a_wrong_method_belongs_to_the_route(app: AnyApp) -> None:
    assert await taken(app(), "/status/1", "POST") == "/status/{number}"


async def test_an_app_of_no_framework_has_no_routes() -> None:
    assert await taken(raw_app, "/ok") is None


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
    mounted: AnyApp = litestar_app()
    app = Starlette(
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
    assert await taken(app, path) == template


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
