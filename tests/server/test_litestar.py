"""Litestar apps: its own exceptions are problems, and users' handlers win.

What holds for every framework alike is in `test_problems`.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import litestar
import pytest
from litestar import Litestar, Request, Response, asgi, get, post
from litestar.config.cors import CORSConfig
from litestar.exceptions import (
    HTTPException,
    ImproperlyConfiguredException,
    NotAuthorizedException,
    ValidationException,
)
from litestar.middleware import ASGIMiddleware
from litestar.params import FromQuery, HeaderParameter, JSONBody
from litestar.testing import TestClient
from litestar.types import ASGIApp as LitestarApp
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route

import server_kit
from resilient_http.problems import MEDIA_TYPE
from tests.server.apps import (
    SECRET,
    OutOfStock,
    ask,
    ask_wrapped,
    litestar_app,
    serve,
)


@dataclass
class Line:
    sku: str
    count: int


@dataclass
class Order:
    email: str
    lines: list[Line]


class Model(BaseModel):
    email: str
    counts: list[int]


@post("/orders")
async def orders(data: JSONBody[Order]) -> None: ...


@post("/models")
async def models(data: JSONBody[Model]) -> None: ...


@get("/pages")
async def pages(
    page: FromQuery[int],
    count: Annotated[int, HeaderParameter(name="x-count")],
    size: FromQuery[int] = 1,
) -> None: ...


@get("/said")
async def said(how: FromQuery[str]) -> None:
    if how == "bare":
        raise ValidationException("The end is before the start")
    if how == "pydantic":
        raise ValidationException(extra=[{"loc": ("a", 0), "msg": "no", "type": "t"}])
    if how == "status":
        raise ValidationException("Gone by now", status_code=410, extra={"since": 5})
    raise ImproperlyConfiguredException(SECRET)


app = server_kit.wrap(
    Litestar(
        [orders, models, pages, said],
        logging_config=None,
        cors_config=CORSConfig(allow_origins=["*"]),
    )
)


async def faults_of(path: str, method: str = "POST", **request: Any) -> list[Any]:
    answer = await ask(app, path, method, **request)
    body = answer.json()
    assert answer.status_code == body["status"] == 422
    assert body["type"] == "validation-error"
    assert body["instance"] == path.partition("?")[0]
    assert "value" not in answer.text
    return [
        (e["field"], e.get("pointer"), e["location"], e["type"]) for e in body["errors"]
    ]


@pytest.mark.case("9457-20")
@pytest.mark.parametrize(
    ("path", "sent", "faults"),
    [
        ("/orders", {"email": 5}, [("email", "#/email", "body", "invalid")]),
        ("/orders", {}, [("email", "#/email", "body", "missing")]),
        (
            "/orders",
            {"email": "x", "lines": [{"sku": "A1", "count": "x"}]},
            [("lines.0.count", "#/lines/0/count", "body", "invalid")],
        ),
        (
            "/orders",
            {"email": "x", "lines": [{"sku": "A1"}]},
            [("lines.0.count", "#/lines/0/count", "body", "missing")],
        ),
        ("/orders", [], [("body", "#", "body", "invalid")]),
        (
            "/models",
            {"counts": ["x"]},
            [
                ("email", "#/email", "body", "missing"),
                ("counts.0", "#/counts/0", "body", "invalid"),
            ],
        ),
    ],
)
async def test_invalid_fields_are_named(path: str, sent: Any, faults: Any) -> None:
    assert await faults_of(path, json=sent) == faults


@pytest.mark.case("S45", "9457-22")
async def test_missing_and_invalid_parameters_are_named() -> None:
    found = await faults_of("/pages?page=s3cr3t", "GET")
    assert found == [("x-count", None, "header", "missing")]
    headers = {"x-count": "few"}
    found = await faults_of("/pages?page=two", "GET", headers=headers)
    assert ("page", None, "query", "invalid") in found
    assert ("count", None, "header", "invalid") in found
    answer = await ask(app, "/pages?size=s3cr3t", headers={"x-count": "1"})
    assert answer.status_code == 422
    assert "s3cr3t" not in answer.text


async def test_a_malformed_body_is_a_bad_request() -> None:
    headers = {"content-type": "application/json"}
    answer = await ask(app, "/orders", "POST", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "bad-request")


async def test_what_a_handler_says_is_invalid_keeps_its_words() -> None:
    body = (await ask(app, "/said?how=bare")).json()
    assert (body["status"], body["detail"]) == (422, "The end is before the start")
    assert body["errors"] == []
    body = (await ask(app, "/said?how=pydantic")).json()
    assert body["errors"][0]["pointer"] == "#/a/0"
    body = (await ask(app, "/said?how=status")).json()
    assert (body["status"], body["detail"]) == (410, "Gone by now")
    assert body["details"] == {"since": 5}


@pytest.mark.case("9457-26")
async def test_a_500_of_litestars_own_tells_nothing() -> None:
    answer = await ask(app, "/said?how=wrong")
    assert answer.status_code == answer.json()["status"] == 500
    assert SECRET not in answer.text


async def test_what_litestar_cannot_route_is_a_problem() -> None:
    for path, method, status in [
        ("/nowhere", "GET", 404),
        ("/orders", "GET", 405),
    ]:
        answer = await ask(app, path, method)
        assert answer.status_code == answer.json()["status"] == status
        assert answer.headers["content-type"] == MEDIA_TYPE
    assert (await ask(app, "/orders")).headers["allow"] == "POST, OPTIONS"


@pytest.mark.case("S38")
async def test_a_crash_has_the_headers_of_litestars_middlewares() -> None:
    class Tagging(ASGIMiddleware):
        async def handle(
            self, scope: Any, receive: Any, send: Any, next_app: LitestarApp
        ) -> None:
            async def tag(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-tag", b"t")]
                await send(message)

            await next_app(scope, receive, tag)

    inner = litestar_app(
        middleware=[Tagging()], cors_config=CORSConfig(allow_origins=["*"])
    )
    wrapped = server_kit.wrap(inner)
    answer = await ask(wrapped, "/crash", headers={"Origin": "http://elsewhere"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-tag"] == "t"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.json()["status"] == 500
    assert isinstance((await serve(wrapped, "/crash")).error, RuntimeError)


@pytest.mark.case("S39")
async def test_an_exception_of_a_middleware_is_a_problem() -> None:
    class Refusing(ASGIMiddleware):
        async def handle(
            self, scope: Any, receive: Any, send: Any, next_app: LitestarApp
        ) -> None:
            raise NotAuthorizedException(headers={"WWW-Authenticate": "Bearer"})

    answer = await ask_wrapped(litestar_app(middleware=[Refusing()]), "/ok")
    assert answer.status_code == answer.json()["status"] == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def mine(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    return Response("mine", status_code=418, media_type="text/plain")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (HTTPException, "/login"),
        (401, "/login"),
        (404, "/nowhere"),
        (Exception, "/login"),
        (Exception, "/crash"),
        (500, "/crash"),
        (RuntimeError, "/crash"),
        (OutOfStock, "/problem"),
    ],
)
async def test_a_users_handler_wins(key: Any, path: str) -> None:
    answer = await ask_wrapped(litestar_app(exception_handlers={key: mine}), path)
    assert (answer.status_code, answer.text) == (418, "mine")


@pytest.mark.parametrize("key", [Exception, 500])
async def test_a_users_handler_of_crashes_does_not_get_problems(key: Any) -> None:
    answer = await ask_wrapped(litestar_app(exception_handlers={key: mine}), "/problem")
    assert answer.json()["sku"] == "A1"


async def test_a_handler_of_a_single_route_wins() -> None:
    @get("/", exception_handlers={500: mine})
    async def failing() -> None:
        raise RuntimeError(SECRET)

    wrapped = server_kit.wrap(Litestar([failing], logging_config=None))
    assert (await ask(wrapped, "/")).text == "mine"
    assert (await ask(wrapped, "/nowhere")).json()["status"] == 404


async def test_starlettes_exceptions_are_problems_too() -> None:
    @get("/")
    async def failing() -> None:
        raise StarletteHTTPException(409, "taken")

    inner = Litestar([failing], logging_config=None)
    before = (await ask(inner, "/")).json()
    answer = await ask_wrapped(inner, "/")
    assert (answer.json()["type"], answer.json()["detail"]) == ("conflict", "taken")
    assert (await ask(inner, "/")).json() == before


@pytest.mark.parametrize("path", ["/crash", "/login", "/nowhere"])
@pytest.mark.parametrize("debug", [True, False])
async def test_without_a_kit_around_an_app_is_as_it_was(path: str, debug: bool) -> None:
    inner = litestar_app(debug=debug)
    before = await ask(litestar_app(debug=debug), path)
    await ask_wrapped(inner, "/ok")
    after = await ask(inner, path)
    assert after.status_code == before.status_code
    assert after.text[:60] == before.text[:60]
    assert after.headers == before.headers or debug


async def test_an_app_wrapped_twice_is_changed_once() -> None:
    inner = litestar_app()
    await ask_wrapped(inner, "/ok")
    handlers = dict(inner.exception_handlers)
    await ask_wrapped(inner, "/ok")
    assert inner.exception_handlers == handlers


async def test_an_app_mounted_in_litestar_is_found() -> None:
    async def refuse(_: StarletteRequest) -> StarletteResponse:
        raise StarletteHTTPException(409, "taken")

    mounted: Any = Starlette(routes=[Route("/taken/", refuse)])
    shop = asgi("/shop", is_mount=True, copy_scope=True)(mounted)
    answer = await ask_wrapped(Litestar([shop], logging_config=None), "/shop/taken")
    assert answer.json()["detail"] == "taken"


def test_litestars_own_client_finds_all_it_expects() -> None:
    begun: list[str] = []

    @litestar.websocket("/echo")
    async def echo(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    inner = Litestar([echo], on_startup=[lambda: begun.append("up")])
    wrapped = server_kit.wrap(inner)
    with TestClient(wrapped) as client:
        assert begun == ["up"]
        with client.websocket_connect("/echo") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"
