"""Problems on websockets, by where the connection stands; and what is none passes."""

import json
import math
from collections.abc import Callable
from typing import Any, Final

import anyio
import fastapi
import httpx
import litestar
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import HTTPException as LitestarHTTPException
from litestar.exceptions import WebSocketException as LitestarWebSocketException
from litestar.params import FromPath
from starlette.applications import Starlette
from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

import server_kit
from resilient_http import context
from resilient_http.problems import MEDIA_TYPE, AppException
from server_kit.asgi import Message, Receive, Scope, Send
from server_kit.denial import reason_of
from tests.served import served
from tests.server.apps import SECRET, SHOP, AnyApp, fail
from tests.server.sockets import DENIAL, connect

ACCEPT: Final = {"type": "websocket.accept"}
CLOSE: Final[dict[str, Any]] = {"type": "websocket.close"}


async def handle(accept: Any, path: str, error: type[Exception]) -> None:
    """Fail as `path` says: `/late/...` after the connection was accepted."""
    if path.startswith("/late"):
        await accept()
    fail(path.removeprefix("/late"), error)


async def starlette_socket(websocket: WebSocket) -> None:
    path = f"/{websocket.path_params['path']}"
    await handle(websocket.accept, path, HTTPException)


def starlette_app(**options: Any) -> Starlette:
    app = Starlette(**options)
    app.router.add_websocket_route("/{path:path}", starlette_socket)
    return app


def fastapi_app(**options: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI(**options)
    app.add_api_websocket_route("/{path:path}", starlette_socket)
    return app


def litestar_app(**options: Any) -> litestar.Litestar:
    @litestar.websocket("/{path:path}")
    async def socket(
        socket: litestar.WebSocket[Any, Any, Any], path: FromPath[str]
    ) -> None:
        await handle(socket.accept, path, LitestarHTTPException)

    return litestar.Litestar(
        [socket], openapi_config=None, logging_config=None, **options
    )


async def raw_app(scope: Scope, receive: Receive, send: Send) -> None:
    async def accept() -> None:
        await receive()
        await send(ACCEPT)

    await handle(accept, scope["path"], HTTPException)


APPS: Final[dict[str, Callable[..., AnyApp]]] = {
    "fastapi": fastapi_app,
    "starlette": starlette_app,
    "litestar": litestar_app,
    "raw": lambda: raw_app,
}
every_app = pytest.mark.parametrize("name", APPS)
CASES: Final = [
    ("/problem", 409, "Out of stock"),
    ("/group", 409, "Out of stock"),
    ("/status/404", 404, "Not Found"),
    ("/login", 401, "Unauthorized"),
    ("/received", 503, "Upstream Error"),
    ("/crash", 500, "Internal Server Error"),
    ("/groups", 500, "Internal Server Error"),
]


@pytest.mark.parametrize(("path", "status", "title"), CASES)
@every_app
async def test_before_it_is_accepted_a_problem_refuses_it(
    name: str, path: str, status: int, title: str
) -> None:
    app = server_kit.wrap(APPS[name](), contract=SHOP)
    seen = await connect(app, path, extensions=DENIAL)
    assert [message["type"] for message in seen.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    body = json.loads(seen.sent[1]["body"])
    headers = dict(seen.sent[0]["headers"])
    assert seen.sent[0]["status"] == body["status"] == status
    assert headers[b"content-type"] == MEDIA_TYPE.encode()
    assert (body["title"], body["instance"]) == (title, path)
    assert body["request_id"].encode() == headers[b"x-request-id"]
    assert (b"www-authenticate" in headers) is (path == "/login")
    assert SECRET.encode() not in seen.sent[1]["body"]
    assert (seen.error is None) is (status != 500)


@pytest.mark.parametrize("late", ["", "/late"])
@pytest.mark.parametrize(("path", "status", "title"), CASES)
@every_app
async def test_without_a_refusal_to_send_a_problem_closes_it(
    name: str, path: str, status: int, title: str, late: str
) -> None:
    app = server_kit.wrap(APPS[name](), contract=SHOP)
    extensions = DENIAL if late else None
    seen = await connect(app, late + path, extensions=extensions)
    *before, close = seen.sent
    assert [message["type"] for message in before] == ["websocket.accept"] * bool(late)
    code = 1011 if status >= 500 else 1008
    assert close == {"type": "websocket.close", "code": code, "reason": title}
    assert (seen.error is None) is (status != 500)


@pytest.mark.parametrize("path", ["/crash", "/late/crash"])
@every_app
async def test_a_crash_is_logged_and_raised_as_it_was(
    name: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = server_kit.wrap(APPS[name]())
    seen = await connect(app, path, headers=[(b"x-request-id", b"r-7")])
    assert isinstance(seen.error, RuntimeError)
    said = [r.getMessage() for r in caplog.records if r.name == "server_kit"]
    assert said == [f"r-7 websocket {path} crashed: RuntimeError"]


@pytest.mark.case("OW-16")
@every_app
async def test_a_refusal_has_the_headers_of_every_response(name: str) -> None:
    app = server_kit.wrap(APPS[name]())
    seen = await connect(app, "/crash", extensions=DENIAL)
    names = [name for name, _ in seen.sent[0]["headers"]]
    assert names.count(b"x-frame-options") == 1
    bare = server_kit.wrap(APPS[name](), security=None)
    seen = await connect(bare, "/crash", extensions=DENIAL)
    assert b"x-frame-options" not in dict(seen.sent[0]["headers"])


@pytest.mark.case("S54")
async def test_two_kits_refuse_once(caplog: pytest.LogCaptureFixture) -> None:
    inner = server_kit.wrap(starlette_app(), contract=SHOP)
    app = server_kit.wrap(Starlette(routes=[Mount("/in", inner)]))
    seen = await connect(app, "/in/problem", extensions=DENIAL)
    assert json.loads(seen.sent[1]["body"])["instance"] == "/in/problem"
    assert len(seen.sent) == 2
    names = [name for name, _ in seen.sent[0]["headers"]]
    assert len(names) == len(set(names))
    crash = await connect(app, "/in/late/crash")
    assert [m["type"] for m in crash.sent] == ["websocket.accept", "websocket.close"]
    assert isinstance(crash.error, RuntimeError)
    said = [r.getMessage() for r in caplog.records if r.name == "server_kit"]
    assert len(said) == 1


async def test_what_is_invalid_in_a_handshake_names_its_fields() -> None:
    app = server_kit.wrap(fastapi.FastAPI())

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, number: int) -> None: ...

    asked = {"query_string": b"number=many", "extensions": DENIAL}
    seen = await connect(app, "/socket", **asked)
    body = json.loads(seen.sent[1]["body"])
    assert (body["type"], body["errors"][0]["field"]) == ("validation-error", "number")
    seen = await connect(app, "/socket", query_string=b"number=many")
    (close,) = seen.sent
    assert (close["code"], close["reason"]) == (1008, "Validation Error")


def starlettes_close() -> AnyApp:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        raise WebSocketException(4001, "too slow")

    app = Starlette()
    app.router.add_websocket_route("/", endpoint)
    return app


def litestars_close() -> AnyApp:
    @litestar.websocket("/")
    async def socket(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        raise LitestarWebSocketException(detail="too slow", code=4001)

    return litestar.Litestar([socket], openapi_config=None, logging_config=None)


@pytest.mark.parametrize("make", [starlettes_close, litestars_close])
async def test_a_close_of_the_apps_own_is_kept(make: Any) -> None:
    seen = await connect(server_kit.wrap(make()), "/")
    assert seen.sent[1] == CLOSE | {"code": 4001, "reason": "too slow"}
    assert seen.error is None


@every_app
async def test_in_debug_a_refusal_tells_the_crash_and_a_close_does_not(
    name: str,
) -> None:
    app = server_kit.wrap(APPS[name](), debug=True)
    seen = await connect(app, "/crash", extensions=DENIAL)
    assert SECRET in json.loads(seen.sent[1]["body"])["detail"]
    seen = await connect(app, "/late/crash")
    assert seen.sent[-1]["reason"] == "Internal Server Error"


@pytest.mark.parametrize("make", [starlette_app, fastapi_app, litestar_app])
async def test_the_debug_mode_of_a_framework_tells_nothing(make: Any) -> None:
    seen = await connect(server_kit.wrap(make(debug=True)), "/late/crash")
    assert SECRET not in str(seen.sent)


GONE: Final[Message] = {"type": "websocket.disconnect", "code": 1001}


async def test_a_client_that_has_gone_is_sent_nothing() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    app = Starlette()
    app.router.add_websocket_route("/", endpoint)
    seen = await connect(server_kit.wrap(app), "/", GONE)
    assert [message["type"] for message in seen.sent] == ["websocket.accept"]
    assert isinstance(seen.error, WebSocketDisconnect)


async def test_a_crash_when_the_client_has_gone_closes_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        raise RuntimeError(SECRET)

    seen = await connect(server_kit.wrap(app), "/", GONE)
    assert seen.sent == [ACCEPT]
    assert isinstance(seen.error, RuntimeError)


@pytest.mark.parametrize("gone", [ConnectionResetError(), WebSocketDisconnect()])
async def test_a_close_that_reaches_nobody_hides_no_crash(gone: Exception) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        raise gone if isinstance(gone, WebSocketDisconnect) else RuntimeError(SECRET)

    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.close":
            raise gone

    async def receive() -> Message:
        raise NotImplementedError

    is_crash = not isinstance(gone, WebSocketDisconnect)
    with pytest.raises(RuntimeError if is_crash else WebSocketDisconnect):
        await server_kit.wrap(app)({"type": "websocket", "path": "/"}, receive, send)
    assert len(sent) == 1 + is_crash


PART: Final[dict[str, Any]] = {"type": "websocket.http.response.body", "body": b"a"}


@pytest.mark.parametrize(
    "messages",
    [
        [CLOSE],
        [ACCEPT, CLOSE],
        [{"type": "websocket.http.response.start", "status": 403}, PART],
        [
            {"type": "websocket.http.response.start", "status": 403},
            {**PART, "more_body": True},
        ],
    ],
)
async def test_a_crash_after_the_apps_answer_is_logged_and_adds_nothing(
    messages: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise RuntimeError(SECRET)

    seen = await connect(server_kit.wrap(app), "/", extensions=DENIAL)
    assert [m["type"] for m in seen.sent] == [m["type"] for m in messages]
    assert isinstance(seen.error, RuntimeError)
    assert SECRET in caplog.text


async def test_the_id_of_a_handshake_is_known_while_it_is_served() -> None:
    known: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        known.extend([context.request_id.get(), context.time_left()])

    named = (b"x-request-id", b"r-8")
    timed = (b"x-request-timeout-ms", b"1")
    await connect(server_kit.wrap(app), "/", headers=[named, timed])
    # Not the deadline of the handshake: the conversation outlives it.
    assert known == ["r-8", math.inf]
    assert context.request_id.get() is None


EVENTS: Final = st.sampled_from(
    [
        *("websocket.accept", "websocket.send", "websocket.close"),
        *("websocket.http.response.start", "websocket.http.response.body", "other"),
    ]
)
MESSAGES: Final = st.lists(
    st.builds(
        lambda kind, more: {**more, "type": kind},
        EVENTS,
        st.fixed_dictionaries(
            {},
            optional={
                "text": st.text(),
                "bytes": st.binary(),
                "code": st.integers(1000, 4999),
                "reason": st.text(),
                "more_body": st.booleans(),
            },
        ),
    )
)


@pytest.mark.case("S34", "R32")
@pytest.mark.property
@given(sent=MESSAGES, received=MESSAGES)
def test_every_message_of_a_websocket_passes_in_order(
    sent: list[Message], received: list[Message]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert [await receive() for _ in received] == received
        for message in sent:
            await send(message)

    async def visit() -> list[Message]:
        passed: list[Message] = []
        waiting = iter(received)

        async def receive() -> Message:
            return next(waiting)

        async def send(message: Message) -> None:
            passed.append(message)

        mounted = CORSMiddleware(Starlette(routes=[Mount("/", app)]))
        kit = server_kit.wrap(mounted, security=None)
        await kit({"type": "websocket", "path": "/", "headers": []}, receive, send)
        return passed

    passed = anyio.run(visit)
    for message in passed:
        if message["type"] == "websocket.http.response.start":
            ((name, _),) = message.pop("headers")
            assert name == b"x-request-id"
    assert passed == sent


@given(title=st.text(st.characters(codec=None)))
def test_a_reason_fits_into_a_close_in_whole_characters(title: str) -> None:
    written = reason_of(title).encode()
    assert len(written) <= 123
    safe = title.encode("utf-8", "replace")
    assert safe.startswith(written)
    assert len(written) >= min(len(safe), 120)
    assert reason_of(None) == ""


def test_a_title_of_any_length_can_be_told() -> None:
    class Wordy(AppException):
        type = "wordy"
        title = "\u20ac" * 100
        status = 409

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Wordy

    client = TestClient(server_kit.wrap(app), raise_server_exceptions=False)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass


HANDSHAKE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_a_real_server_sends_the_refusal() -> None:
    with served(server_kit.wrap(fastapi_app(), contract=SHOP)) as url:
        answer = httpx.get(f"{url}/problem", headers=HANDSHAKE)
    assert (answer.status_code, answer.json()["sku"]) == (409, "A1")
    assert answer.headers["content-type"] == MEDIA_TYPE
