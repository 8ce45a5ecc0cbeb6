"""The id of a request and its trace, wherever code of the app asks for them."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fastapi
import httpx
import litestar
import pytest
from litestar.background_tasks import BackgroundTask as LitestarTask
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import resilient_http
import server_kit
from resilient_http import context
from resilient_http.problems import Contract
from server_kit import AccessLog, RequestIdFilter, add_request_id
from server_kit.asgi import Receive, Scope, Send
from tests.served import served
from tests.server.apps import SECRET, AnyApp, ask

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"

Seen = list[tuple[str, str | None]]


def note(seen: Seen, where: str) -> None:
    seen.append((where, context.request_id.get()))


class Below(BaseHTTPMiddleware):
    """Starlette's own kind of middleware, which runs the app in a task of its own."""

    seen: Seen

    async def dispatch(
        self, request: Request, call_next: RequestResponseEndpoint
    ) -> Response:
        note(self.seen, "middleware")
        response = await call_next(request)
        note(self.seen, "middleware after")
        return response


def below(seen: Seen) -> type[Below]:
    return type("Below", (Below,), {"seen": seen})


def handled(seen: Seen) -> Callable[[Any, Exception], Any]:
    async def handler(request: Any, error: Exception) -> Response:
        note(seen, "exception handler")
        return PlainTextResponse("handled", 418)

    return handler


def starlette_or_fastapi(cls: type[Starlette], seen: Seen) -> AnyApp:
    async def endpoint(request: Request) -> Response:
        note(seen, "endpoint")
        return PlainTextResponse("fine", background=BackgroundTask(note, seen, "task"))

    def sync(request: Request) -> Response:
        note(seen, "sync endpoint")
        return PlainTextResponse("fine")

    async def fails(request: Request) -> Response:
        raise ZeroDivisionError

    routes = [Route("/a", endpoint), Route("/s", sync), Route("/f", fails)]
    return cls(
        routes=routes,
        exception_handlers={ZeroDivisionError: handled(seen)},
        middleware=[Middleware(below(seen))],
    )


def fastapi_routes(seen: Seen) -> AnyApp:
    """Return an app with FastAPI's own endpoints, dependencies and tasks."""
    app = fastapi.FastAPI(exception_handlers={ZeroDivisionError: handled(seen)})
    app.add_middleware(below(seen))

    def depends() -> None:
        note(seen, "dependency")

    @app.get("/a", dependencies=[fastapi.Depends(depends)])
    async def endpoint(tasks: fastapi.BackgroundTasks) -> str:
        tasks.add_task(note, seen, "task")
        note(seen, "endpoint")
        return "fine"

    @app.get("/s")
    def sync() -> str:
        note(seen, "sync endpoint")
        return "fine"

    @app.get("/f")
    async def fails() -> None:
        raise ZeroDivisionError

    return app


def litestar_app(seen: Seen) -> AnyApp:
    @litestar.get("/a")
    async def endpoint() -> litestar.Response[str]:
        note(seen, "endpoint")
        return litestar.Response("fine", background=LitestarTask(note, seen, "task"))

    @litestar.get("/s", sync_to_thread=True)
    def sync() -> str:
        note(seen, "sync endpoint")
        return "fine"

    @litestar.get("/f")
    async def fails() -> None:
        raise ZeroDivisionError

    def handler(request: Any, error: Exception) -> Any:
        note(seen, "exception handler")
        return litestar.Response("handled", status_code=418)

    return litestar.Litestar(
        [endpoint, sync, fails],
        exception_handlers={ZeroDivisionError: handler},
        logging_config=None,
        openapi_config=None,
    )


APPS: dict[str, Callable[[Seen], AnyApp]] = {
    "starlette": lambda seen: starlette_or_fastapi(Starlette, seen),
    "fastapi": fastapi_routes,
    "litestar": litestar_app,
}
EXPECTED = {
    "/a": {"endpoint", "task"},
    "/s": {"sync endpoint"},
    "/f": {"exception handler"},
}


@pytest.mark.case("S48")
@pytest.mark.parametrize("path", EXPECTED)
@pytest.mark.parametrize("name", APPS)
async def test_the_id_is_known_wherever_the_app_runs(name: str, path: str) -> None:
    seen: Seen = []
    app = server_kit.wrap(APPS[name](seen))
    await ask(app, path, headers={"X-Request-ID": "r-1"})
    assert {known for _, known in seen} == {"r-1"}
    assert EXPECTED[path] <= {where for where, _ in seen}
    if name != "litestar":
        assert {"middleware", "middleware after"} <= {where for where, _ in seen}
    assert context.request_id.get() is None


@pytest.mark.case("S48")
@pytest.mark.parametrize("name", APPS)
async def test_the_id_is_known_under_a_middleware_around_the_kit(name: str) -> None:
    seen: Seen = []
    inside: Seen = []
    app = below(seen)(server_kit.wrap(APPS[name](inside)))
    await ask(app, "/a", headers={"X-Request-ID": "r-1"})
    assert {known for _, known in inside} == {"r-1"}
    assert {known for _, known in seen} == {None}  # nothing leaks out


@pytest.mark.case("S48", "S49")
@pytest.mark.parametrize("name", APPS)
def test_no_id_leaks_into_the_next_request_of_a_connection(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: Seen = []
    app = server_kit.wrap(APPS[name](seen), access_log=AccessLog())
    caplog.set_level(logging.INFO, "server_kit.access")
    with served(app) as url, httpx.Client(base_url=url) as client:
        answers = [
            client.get(path, headers={"X-Request-ID": given})
            for given in ("one", "x" * 200, "two")
            for path in EXPECTED
        ]
        streams = [answer.extensions["network_stream"] for answer in answers]
        ports = {stream.get_extra_info("client_addr") for stream in streams}
    assert len(ports) == 1  # they all went over one connection
    told = [answer.headers["x-request-id"] for answer in answers]
    assert [*told[:3], *told[6:]] == ["one"] * 3 + ["two"] * 3
    made = told[3:6]
    assert len({*made}) == 3
    lines = [line for line in caplog.records if line.name == "server_kit.access"]
    assert [vars(line)["request_id"] for line in lines] == told
    order = list(dict.fromkeys(known for _, known in seen))
    assert order == ["one", *made, "two"]


@pytest.fixture
def upstream() -> tuple[list[httpx.Request], httpx.MockTransport]:
    """Another service of ours, which keeps what it was sent."""
    got: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        got.append(request)
        return httpx.Response(200)

    return got, httpx.MockTransport(answer)


@pytest.mark.case("S48")
async def test_calls_to_others_carry_the_id_from_everywhere(
    upstream: tuple[list[httpx.Request], httpx.MockTransport],
) -> None:
    got, transport = upstream
    options: Any = {"base_url": "http://other", "contract": Contract()}
    app = fastapi.FastAPI()

    async def call(path: str) -> None:
        async with resilient_http.AsyncClient(transport=transport, **options) as client:
            await client.get(path)

    def call_sync(path: str) -> None:
        with resilient_http.Client(transport=transport, **options) as client:
            client.get(path)

    @app.get("/async")
    async def endpoint(tasks: fastapi.BackgroundTasks) -> None:
        tasks.add_task(call, "/task")
        tasks.add_task(call_sync, "/sync-task")
        await call("/async")

    @app.get("/sync")
    def sync() -> None:
        call_sync("/sync")

    wrapped = server_kit.wrap(app)
    known = {"X-Request-ID": "r-7", "traceparent": TRACE}
    await ask(wrapped, "/async", headers=known)
    await ask(wrapped, "/sync", headers=known)
    assert {request.url.path for request in got} == {
        *("/async", "/task", "/sync-task", "/sync")
    }
    for request in got:
        assert request.headers["x-request-id"] == "r-7"
        assert request.headers["traceparent"] == TRACE
    await call("/outside")
    assert "x-request-id" not in got[-1].headers


def record() -> Any:
    return logging.LogRecord("app", logging.INFO, __file__, 1, "said", (), None)


@pytest.mark.case("S48")
async def test_records_of_the_app_have_the_id() -> None:
    records: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        records.append(record())
        assert RequestIdFilter().filter(records[0])
        records.append(add_request_id(None, "info", {"event": "said"}))
        await PlainTextResponse(SECRET)(scope, receive, send)

    known = {"X-Request-ID": "r-7", "traceparent": TRACE}
    await ask(server_kit.wrap(app), "/", headers=known)
    assert (records[0].request_id, records[0].trace_id) == ("r-7", "a" * 32)
    event = {"event": "said", "request_id": "r-7", "trace_id": "a" * 32}
    assert records[1] == event


def test_outside_a_request_there_is_no_id() -> None:
    outside = record()
    assert RequestIdFilter().filter(outside)
    assert (outside.request_id, outside.trace_id) == (None, None)
    assert logging.Formatter("%(request_id)s %(message)s").format(outside)
    assert add_request_id(None, "info", {"event": "said"}) == {"event": "said"}


def test_an_id_that_is_there_stays() -> None:
    token = context.request_id.set("mine")
    try:
        theirs = record()
        theirs.request_id = "theirs"
        RequestIdFilter().filter(theirs)
        event = add_request_id(None, "info", {"request_id": "theirs"})
    finally:
        context.request_id.reset(token)
    assert theirs.request_id == event["request_id"] == "theirs"


async def test_a_websocket_has_an_id_too() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((context.request_id.get(), context.traceparent.get()))

    headers = [(b"x-request-id", b"r-8"), (b"traceparent", TRACE.encode())]
    scope = {"type": "websocket", "path": "/", "headers": headers}
    nothing: Any = None
    await server_kit.wrap(app)(scope, nothing, nothing)
    assert seen == [("r-8", TRACE)]
    assert context.request_id.get() is None


def test_threads_of_ones_own_have_no_id() -> None:
    """What `docs/server/logging.md` says of them."""
    token = context.request_id.set("mine")
    seen: list[str | None] = []
    try:
        thread = threading.Thread(target=lambda: seen.append(context.request_id.get()))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(context.request_id.get).result())
    finally:
        context.request_id.reset(token)
    assert seen == [None, None]
