"""What is not an error passes through a wrapped app as if it were not there."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

import server_kit
from resilient_http import context
from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send
from tests.server.apps import APPS, SECRET, ask, serve

every_app = pytest.mark.parametrize("name", APPS)


def sending(*messages: Message, then: BaseException | None = None) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    return server_kit.wrap(app, security=None)


def mounted(app: ASGIApp) -> ASGIApp:
    """Return `app` in a framework's, which puts boundaries around it."""
    return Starlette(routes=[Mount("/", app)])


bare_or_mounted = pytest.mark.parametrize("around", [lambda app: app, mounted])


def start(status: int = 200, **more: Any) -> Message:
    headers = [(b"content-type", b"text/plain"), (b"x-request-id", b"its-own")]
    return {"type": "http.response.start", "status": status, "headers": headers} | more


def body(content: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


@pytest.mark.case("S33", "R32")
@pytest.mark.parametrize("kind", ["lifespan", "smoke-signals"])
async def test_what_is_no_request_is_handed_over_untouched(kind: str) -> None:
    got: list[object] = []

    async def app(*given: object) -> None:
        got.extend(given)

    async def receive() -> Message:
        raise NotImplementedError

    async def send(message: Message) -> None:
        raise NotImplementedError

    scope: Scope = {"type": kind}
    await server_kit.wrap(app)(scope, receive, send)
    assert got == [scope, receive, send]
    assert got[0] is scope
    assert scope == {"type": kind}


@pytest.mark.case("S34", "R32")
@pytest.mark.parametrize("status", [200, 404])
@bare_or_mounted
async def test_every_kind_of_message_is_forwarded_in_order(
    around: Any, status: int
) -> None:
    messages: list[Message] = [
        {"type": "http.response.debug", "info": {"template": "t"}},
        {"type": "http.response.early_hint", "links": [b"</a.css>"]},
        {"type": "http.response.push", "path": "/a.css", "headers": []},
        start(status, trailers=True),
        body(b"Not Found"),
        {"type": "http.response.zerocopysend", "file": 3, "more_body": True},
        {"type": "http.response.pathsend", "path": "/srv/files/a"},
        {"type": "http.response.trailers", "headers": [], "more_trailers": False},
        {"type": "http.response.sung", "key": "c"},
    ]
    served = await serve(server_kit.wrap(around(sending(*messages)), security=None))
    assert served.error is None
    assert served.sent == messages


@pytest.mark.case("R32")
@pytest.mark.parametrize("more", [{}, {"headers": None}])
async def test_a_start_without_headers_gets_ours(more: Message) -> None:
    start = {"type": "http.response.start", "status": 200, **more}
    served = await serve(sending(start))
    assert [name for name, _ in served.sent[0]["headers"]] == [b"x-request-id"]


@pytest.mark.case("R32")
@pytest.mark.parametrize("status", [200, 404])
async def test_headers_may_be_anything_that_can_be_gone_through(status: int) -> None:
    headers = iter([[b"x-one", b"1"], [b"x-two", b"2"]])
    served = await serve(sending(start(status, headers=headers), body()))
    assert served.sent[0]["headers"][:2] == [(b"x-one", b"1"), (b"x-two", b"2")]


@pytest.mark.case("S35")
@every_app
async def test_a_streamed_response_starts_once_and_keeps_its_chunks(name: str) -> None:
    served = await serve(server_kit.wrap(APPS[name]()), "/drip")
    assert served.kinds.count("http.response.start") == 1
    chunks = [message["body"] for message in served.sent[1:] if message["body"]]
    assert chunks == [b"a", b"b", b"c"]
    more = [message.get("more_body", False) for message in served.sent[1:]]
    assert more == [True] * (len(more) - 1) + [False]


def alone(error: BaseException | None) -> BaseException | None:
    """Return what a task group, as Litestar streams with, may have wrapped."""
    return alone(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


@pytest.mark.case("S36", "R31")
@every_app
async def test_a_crash_after_the_start_aborts_the_connection(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve(server_kit.wrap(APPS[name]()), "/late")
    assert served.kinds.count("http.response.start") == 1
    assert served.sent[-1]["more_body"] is True  # never ended: the server cuts it
    assert str(alone(served.error)) == SECRET
    late = [r for r in caplog.records if "after its response had begun" in r.message]
    assert len(late) == 1
    assert late[0].exc_info is not None
    assert late[0].exc_info[1] is served.error


@pytest.mark.case("S36")
@every_app
async def test_the_cause_is_not_masked_by_an_error_about_the_error(name: str) -> None:
    served = await serve(server_kit.wrap(APPS[name]()), "/late-http")
    assert isinstance(alone(served.error), HTTPException)
    assert served.kinds.count("http.response.start") == 1


@pytest.mark.case("R31")
@bare_or_mounted
async def test_what_is_no_exception_of_the_app_is_left_alone(around: Any) -> None:
    class Stop(BaseException):
        pass

    for stop in (Stop(), BaseExceptionGroup("", [Stop()])):
        with pytest.raises(type(stop)):
            await serve(server_kit.wrap(around(sending(then=stop))))


@pytest.mark.case("R31")
@bare_or_mounted
async def test_cancelling_a_request_answers_nothing(around: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        cancelled.cancel()
        await anyio.sleep_forever()

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise NotImplementedError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with anyio.CancelScope() as cancelled:
        await server_kit.wrap(around(app))(scope, receive, send)
    assert cancelled.cancelled_caught
    assert sent == []
    assert context.request_id.get() is None


async def test_an_app_that_begins_twice_is_the_servers_to_refuse() -> None:
    served = await serve(sending(start(), start()))
    assert served.kinds == ["http.response.start"] * 2


@pytest.mark.parametrize("header", [b"x", (5, 6)])
async def test_a_start_that_cannot_be_sent_is_no_start(header: Any) -> None:
    served = await serve(sending(start(headers=[header]), body(b"never")))
    assert served.kinds == ["http.response.start", "http.response.body"]
    assert served.sent[0]["status"] == 500
    assert isinstance(served.error, ValueError | AttributeError)


@pytest.mark.case("S36")
async def test_a_response_is_not_over_before_its_trailers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = [start(trailers=True), body(b"all")]
    served = await serve(sending(*begun, then=ValueError(SECRET)))
    assert served.kinds == ["http.response.start", "http.response.body"]
    assert "after its response had begun" in caplog.text
    caplog.clear()
    ended: Message = {"type": "http.response.trailers", "headers": []}
    await serve(sending(*begun, ended, then=ValueError(SECRET)))
    assert caplog.text == ""


async def test_a_path_cannot_end_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await serve(sending(start(), then=ValueError()), "/a\nERROR forged")
    await serve(sending(then=ValueError()), "/a\nERROR forged")
    for record in caplog.records:
        assert "/a%0AERROR%20forged" in record.getMessage()
        assert "\n" not in record.getMessage()


async def test_an_error_that_only_reads_like_a_frameworks_is_itself() -> None:
    error = RuntimeError("Exception caught after response started")
    served = await serve(sending(then=error))
    assert served.error is error


PLAIN = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Allow", b"GET")]


@pytest.mark.parametrize("length", [[], [(b"Content-Length", b"18")]])
async def test_a_body_that_only_repeats_the_status_becomes_a_problem(
    length: list[tuple[bytes, bytes]],
) -> None:
    begin = start(405, headers=[*PLAIN, *length])
    served = await serve(sending(begin, body(b"Method Not Allowed")))
    headers = dict(served.sent[0]["headers"])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"Allow"] == b"GET"
    assert b"Content-Length" not in headers
    assert int(headers[b"content-length"]) == len(served.sent[1]["body"])
    assert b'"detail": "Method Not Allowed"' in served.sent[1]["body"]


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (413, b"Content Too Large"),
        (413, b"Request Entity Too Large"),
        (416, b"Requested Range Not Satisfiable"),
        (422, b"Unprocessable Content"),
        (422, b"Unprocessable Entity"),
        (500, b"Internal Server Error"),
    ],
)
async def test_both_the_old_and_the_new_phrase_repeat_the_status(
    status: int, phrase: bytes
) -> None:
    served = await serve(sending(start(status, headers=PLAIN), body(phrase)))
    assert b'"status": %d' % status in served.sent[1]["body"]


@pytest.mark.case("S35")
@pytest.mark.parametrize(
    "messages",
    [
        [start(404), body(b"No such teapot")],
        [start(404), body(b"Not Found", more=True), body(b"")],
        [start(404), body(b"Not", more=True), body(b" Found")],
        [start(200), body(b"OK")],
        [start(302), body(b"Found")],
        [start(404, headers=[(b"content-type", b"text/html")]), body(b"Not Found")],
        [start(404, headers=[(b"content-encoding", b"br")]), body(b"Not Found")],
        [start(404, headers=[(b"content-length", b"4")]), body(b"Not Found")],
        [start(404), body(b"")],
        [start(404)],
        [start(404), {"type": "http.response.debug", "info": {}}, body(b"Not Found")],
        [start(799), body(b"Odd")],
    ],
)
async def test_any_other_body_is_left_alone(messages: list[Message]) -> None:
    served = await serve(sending(*messages))
    assert [m["type"] for m in messages] == served.kinds
    kept = [(m.get("status"), m.get("body")) for m in served.sent]
    assert kept == [(m.get("status"), m.get("body")) for m in messages]
    theirs = messages[0]["headers"]
    assert served.sent[0]["headers"][: len(theirs)] == theirs


async def test_a_crash_before_the_body_of_an_error_is_a_500() -> None:
    served = await serve(sending(start(404), then=ValueError(SECRET)))
    assert served.kinds == ["http.response.start", "http.response.body"]
    assert served.sent[0]["status"] == 500


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
    app.state.log = ["up"]
    yield {"shared": "from the lifespan"}
    app.state.log.append("down")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


async def state(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.shared)


async def streamed(request: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        for part in ("a", "b", "c"):
            yield part

    return StreamingResponse(chunks())


async def later(request: Request) -> PlainTextResponse:
    def note() -> None:
        request.app.state.log.append(f"noted {context.request_id.get()}")

    return PlainTextResponse("now", background=BackgroundTask(note))


async def file(request: Request) -> FileResponse:
    return FileResponse(Path(__file__))


ROUTES = [
    WebSocketRoute("/echo", echo),
    *(Route(f"/{f.__name__}", f) for f in (state, streamed, later, file)),
]


@pytest.fixture
def app() -> Starlette:
    return server_kit.wrap(Starlette(routes=ROUTES, lifespan=lifespan))


@pytest.mark.case("S33")
def test_starlettes_own_client_finds_all_it_expects(app: Starlette) -> None:
    with TestClient(app) as client:
        assert app.state.log == ["up"]
        assert client.get("/state").text == "from the lifespan"
        assert client.get("/streamed").text == "abc"
        with client.websocket_connect("/echo") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"
        assert client.get("/later", headers={"X-Request-ID": "r-7"}).text == "now"
        assert app.state.log == ["up", "noted r-7"]
        assert client.get("/file").content == Path(__file__).read_bytes()
    assert app.state.log == ["up", "noted r-7", "down"]


@pytest.mark.case("S34")
async def test_a_file_may_be_sent_by_its_path(app: Starlette) -> None:
    served = await serve(app, "/file", extensions={"http.response.pathsend": {}})
    assert served.kinds == ["http.response.start", "http.response.pathsend"]
    assert served.sent[1]["path"] == __file__


@pytest.mark.case("S33")
def test_a_failing_startup_is_heard_of() -> None:
    @contextlib.asynccontextmanager
    async def failing(app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    app = server_kit.wrap(Starlette(lifespan=failing))
    with pytest.raises(RuntimeError, match="no database"), TestClient(app):
        pass


async def test_a_failing_background_task_is_the_servers_to_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise RuntimeError(SECRET)

    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse("now", background=BackgroundTask(fail))

    app = server_kit.wrap(Starlette(routes=[Route("/", endpoint)]))
    served = await serve(app)
    assert served.sent[1]["body"] == b"now"
    assert isinstance(served.error, RuntimeError)
    assert caplog.records == []


async def test_responses_that_are_fine_are_unchanged(app: Starlette) -> None:
    bare = Starlette(routes=ROUTES, lifespan=lifespan)
    plain, wrapped = await ask(bare, "/streamed"), await ask(app, "/streamed")
    assert wrapped.content == plain.content
    theirs = plain.headers.raw
    assert wrapped.headers.raw[: len(theirs)] == theirs
