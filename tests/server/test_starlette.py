"""Starlette apps: problems come from inside their middlewares, and users' handlers win.

What holds for every framework alike is in `test_problems`.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

import server_kit
from resilient_http.problems import MEDIA_TYPE, NotFoundException
from server_kit import RateLimiter, rate_limit
from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send
from tests.server.apps import SECRET, OutOfStock, ask, ask_wrapped, serve, starlette_app

CORS = Middleware(CORSMiddleware, allow_origins=["*"], expose_headers=["X-Why"])
FROM = {"Origin": "http://elsewhere"}


class Raising:
    """A middleware that raises before it calls the app."""

    def __init__(self, app: ASGIApp, error: Exception) -> None:
        self.app = app
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise self.error


class CatchAll:
    """A middleware that answers whatever it catches, begun or not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception:  # noqa: BLE001 - as such middlewares do
            await PlainTextResponse("Oh", 500)(scope, receive, send)


@pytest.mark.case("S38")
@pytest.mark.parametrize("path", ["/crash", "/problem", "/login", "/nowhere"])
async def test_middlewares_see_problems_as_plain_responses(path: str) -> None:
    limiter = RateLimiter()

    async def limited(request: Request, call_next: RequestResponseEndpoint) -> Response:
        await rate_limit(limit=5, window=60)(request)
        return await call_next(request)

    counted = Middleware(BaseHTTPMiddleware, dispatch=limited)
    app = server_kit.wrap(starlette_app(middleware=[CORS, counted]), limiter=limiter)
    answer = await ask(app, path, headers=FROM)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-expose-headers"] == "X-Why"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-ratelimit-limit"] == "5"
    assert answer.headers["ratelimit"] == '"default";r=4;t=60'
    assert answer.headers.get_list("x-request-id") == [answer.json()["request_id"]]


@pytest.mark.case("S38")
@pytest.mark.parametrize(
    "middleware",
    [
        [CORS],
        [Middleware(GZipMiddleware, minimum_size=10)],
        [Middleware(BaseHTTPMiddleware, dispatch=lambda request, go: go(request))] * 2,
    ],
)
async def test_a_crash_reaches_the_server_through_middlewares(
    middleware: list[Middleware],
) -> None:
    app = server_kit.wrap(starlette_app(middleware=middleware))
    served = await serve(app, "/crash")
    assert served.kinds[0] == "http.response.start"
    assert served.sent[-1].get("more_body", False) is False
    assert isinstance(served.error, RuntimeError)
    assert str(served.error) == SECRET


@pytest.mark.case("S39")
async def test_an_exception_of_a_middleware_is_a_problem_and_no_crash() -> None:
    error = HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    stack = [Middleware(Raising, error=error), CORS]
    for app in (starlette_app(middleware=stack), Starlette(middleware=stack)):
        served = await serve(server_kit.wrap(app), "/ok")
        assert served.sent[0]["status"] == 401
        headers = dict(served.sent[0]["headers"])
        assert headers[b"www-authenticate"] == b"Bearer"
        assert headers[b"content-type"] == MEDIA_TYPE.encode()
        assert served.error is None


@pytest.mark.case("S39")
async def test_a_crash_of_a_middleware_is_a_problem_and_a_crash() -> None:
    stack = [Middleware(Raising, error=ValueError(SECRET))]
    for debug in (False, True):
        app = server_kit.wrap(starlette_app(middleware=stack, debug=debug))
        served = await serve(app, "/ok")
        assert served.sent[0]["status"] == 500
        assert SECRET.encode() not in served.sent[1]["body"]
        assert isinstance(served.error, ValueError)


async def test_what_catches_everything_does_not_answer_again() -> None:
    app = server_kit.wrap(starlette_app(middleware=[Middleware(CatchAll)]))
    served = await serve(app, "/crash")
    assert served.kinds == ["http.response.start", "http.response.body"]
    assert b"internal-server-error" in served.sent[1]["body"]
    assert isinstance(served.error, RuntimeError)


async def test_a_problem_whose_end_a_middleware_loses_is_ended() -> None:
    class Losing:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def lose(message: Message) -> None:
                await send({**message, "more_body": True})

            await self.app(scope, receive, lose)

    app = server_kit.wrap(starlette_app(middleware=[Middleware(Losing)]))
    served = await serve(app, "/crash")
    assert [m.get("more_body", False) for m in served.sent[1:]] == [True, False]
    assert isinstance(served.error, RuntimeError)


def answering(text: str) -> Callable[..., Any]:
    def handler(request: Request, error: Exception) -> Response:
        return PlainTextResponse(text, 418)

    return handler


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (HTTPException, "/login"),
        (401, "/login"),
        (404, "/nowhere"),
        (OutOfStock, "/problem"),
        (Exception, "/crash"),
        (500, "/crash"),
        (RuntimeError, "/crash"),
    ],
)
async def test_a_users_handler_wins(key: Any, path: str) -> None:
    app = starlette_app(exception_handlers={key: answering("mine")})
    answer = await ask_wrapped(app, path)
    assert (answer.status_code, answer.text) == (418, "mine")
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("key", [Exception, 500])
async def test_a_users_handler_of_crashes_gets_nothing_else(key: Any) -> None:
    app = starlette_app(exception_handlers={key: answering("mine")})
    for path in ("/problem", "/login", "/group", "/nowhere"):
        answer = await ask_wrapped(app, path)
        assert answer.headers["content-type"] == MEDIA_TYPE
    assert (await serve(server_kit.wrap(app), "/crash")).error is not None


async def test_a_users_handler_of_what_a_client_raises_wins() -> None:
    class Woven(NotFoundException, httpx.HTTPError):  # type: ignore[misc]  # as clients do
        def __init__(self) -> None:
            self.received = True

    async def endpoint(request: Request) -> Response:
        raise Woven

    routes = [Route("/", endpoint)]
    handlers: Any = {httpx.HTTPError: answering("mine")}
    answer = await ask_wrapped(
        Starlette(routes=routes, exception_handlers=handlers), "/"
    )
    assert answer.text == "mine"
    answer = await ask_wrapped(Starlette(routes=routes), "/")
    assert answer.json()["type"] == "upstream-error"


async def test_handlers_may_be_registered_after_wrapping() -> None:
    app = server_kit.wrap(starlette_app())
    app.add_exception_handler(404, answering("mine"))
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    answer = await ask(app, "/nowhere", headers=FROM)
    assert answer.text == "mine"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_an_app_that_has_served_before_is_wrapped_all_the_same() -> None:
    app = starlette_app()
    assert (await ask(app, "/nowhere")).text == "Not Found"
    assert (await ask_wrapped(app, "/problem")).status_code == 409


async def test_an_app_wrapped_twice_is_changed_once() -> None:
    app = starlette_app(middleware=[CORS])
    for _ in range(3):
        await ask_wrapped(app, "/ok")
    assert len(app.user_middleware) == 3


async def test_without_a_kit_around_an_app_is_as_it_was() -> None:
    app = starlette_app()
    before = [await serve(starlette_app(), path) for path in ("/crash", "/login")]
    await ask_wrapped(app, "/ok")
    after = [await serve(app, path) for path in ("/crash", "/login")]
    assert [served.sent for served in after] == [served.sent for served in before]
    assert isinstance((await serve(app, "/problem")).error, OutOfStock)


class Hidden:
    """A middleware that names what it wraps in its own way."""

    def __init__(self, inner: ASGIApp) -> None:
        self._app = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def closed_over(inner: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    return app


async def partially(inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await inner(scope, receive, send)


AROUND: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "attribute": Hidden,
    "closure": closed_over,
    "method": lambda app: Hidden(app).serve,
    "partial": lambda app: partial(partially, app),
    "middleware": lambda app: CORSMiddleware(Hidden(app), allow_origins=["*"]),
    "mount": lambda app: Starlette(routes=[Mount("/", app)]),
    "mounts": lambda app: Starlette(routes=[Mount("/", routes=[Mount("/", app)])]),
    "host": lambda app: Starlette(routes=[Host("shop", app)]),
    "router": lambda app: Router([Mount("/", app, middleware=[CORS])]),
    "hidden": lambda app: Starlette(routes=[Mount("/", Hidden(app))]),
    "kit": server_kit.wrap,
}


@pytest.mark.parametrize("around", AROUND)
async def test_an_app_is_found_inside_others(around: str) -> None:
    inner = starlette_app(middleware=[CORS])
    app = server_kit.wrap(AROUND[around](inner))
    answer = await ask(app, "/status/418", headers=FROM)
    assert answer.json()["detail"] == "as said"
    crash = await ask(app, "/crash", headers=FROM)
    assert crash.headers["access-control-allow-origin"] == "*"
    assert crash.json()["type"] == "internal-server-error"


async def test_an_app_that_an_endpoint_calls_is_no_part_of_this_one() -> None:
    other = starlette_app()

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse((await ask(other, "/login")).text)

    app = Starlette(routes=[Route("/", endpoint)])
    assert (await ask_wrapped(app, "/")).text == "Unauthorized"
    assert other.user_middleware == []


async def test_apps_that_lead_to_ever_more_apps_are_no_trap() -> None:
    class Endless:
        def __getattr__(self, name: str) -> "Endless":
            return Endless()

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise NotFoundException

    assert (await ask_wrapped(Endless(), "/")).status_code == 404
    around = starlette_app()
    around.mount("/again", around)
    assert (await ask_wrapped(around, "/again/again/problem")).status_code == 409


async def test_a_bare_router_answers_problems() -> None:
    async def endpoint(request: Request) -> Response:
        raise HTTPException(409, "taken")

    app = Router([Route("/taken", endpoint)])
    assert (await ask_wrapped(app, "/taken")).json()["detail"] == "taken"
    nowhere = await ask_wrapped(app, "/nowhere")
    assert nowhere.json()["type"] == "not-found"
    wrong = await ask_wrapped(app, "/taken", "POST")
    assert wrong.json()["title"] == "Method Not Allowed"
    assert "GET" in wrong.headers["allow"]


@pytest.mark.case("S53")
async def test_static_files_answer_problems_and_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("found")
    app = StaticFiles(directory=tmp_path)
    found = await ask_wrapped(app, "/a.txt")
    assert found.text == "found"
    assert found.headers.get_list("x-frame-options") == ["DENY"]
    assert (await ask_wrapped(app, "/nowhere")).json()["status"] == 404


async def test_a_body_that_is_too_large_is_a_problem() -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])], max_body_size=3)
    answer = await ask(server_kit.wrap(app), "/", "POST", content=b"four")
    assert answer.status_code == answer.json()["status"] == 413
    assert answer.json()["title"] == "Content Too Large"


async def test_a_response_cut_off_by_the_body_limit_is_no_crash(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("not read")

    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])], max_body_size=3)
    answer = await ask(server_kit.wrap(app), "/", "POST", content=b"four")
    assert answer.json()["status"] == 413
    assert "server_kit" not in {record.name for record in caplog.records}
