"""Which responses get security headers: all of them, and each header once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from fastapi import FastAPI, HTTPException
from fastapi.responses import RedirectResponse, Response
from litestar import Litestar
from litestar.static_files import create_static_files_router
from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

import server_kit
from server_kit import SecurityHeaders, SecurityHeadersMiddleware
from server_kit.asgi import Message, Receive, Scope, Send
from tests.served import served
from tests.server.apps import AnyApp, ask, litestar_app, starlette_app

OWASP = SecurityHeaders.owasp()
ALWAYS = {
    *("content-security-policy", "x-frame-options", "x-content-type-options"),
    *("referrer-policy", "permissions-policy", "x-permitted-cross-domain-policies"),
    *("cross-origin-opener-policy", "cross-origin-embedder-policy"),
    *("cross-origin-resource-policy", "x-dns-prefetch-control", "cache-control"),
    "strict-transport-security",
}


def shop(files: Path) -> FastAPI:
    app = FastAPI()
    app.mount("/files", StaticFiles(directory=files))

    @app.api_route("/ok", methods=["GET", "HEAD"])
    async def ok() -> str:
        return "fine"

    @app.get("/items/{number}")
    async def item(number: int) -> None: ...

    @app.get("/away")
    async def away() -> RedirectResponse:
        return RedirectResponse("/ok")

    @app.get("/kept")
    async def kept() -> Response:
        return Response(status_code=304)

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418)

    return app


ASKED = [
    *(("GET", "/ok", 200), ("HEAD", "/ok", 200), ("GET", "/nowhere", 404)),
    *(("POST", "/ok", 405), ("GET", "/items/x", 422), ("GET", "/crash", 500)),
    *(("GET", "/away", 307), ("GET", "/kept", 304), ("GET", "/teapot", 418)),
    *(("GET", "/ok/", 307), ("GET", "/files/a.css", 200), ("GET", "/files/b", 404)),
    *(("HEAD", "/files/a.css", 200), ("GET", "/docs", 200)),
]
OFF_DOCS = {"cross-origin-opener-policy", "cross-origin-embedder-policy"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.css").write_text("a {}")
    return tmp_path


def mounted(app: AnyApp) -> AnyApp:
    outer = Starlette(routes=[Mount("", server_kit.wrap(app, security=OWASP))])
    return server_kit.wrap(outer, security=OWASP)


AROUND: dict[str, Callable[[AnyApp], AnyApp]] = {
    "wrap": lambda app: server_kit.wrap(app, security=OWASP),
    "middleware": lambda app: SecurityHeadersMiddleware(app, OWASP),
    "mounted": mounted,
    "both": lambda app: server_kit.wrap(
        SecurityHeadersMiddleware(app, OWASP), security=OWASP
    ),
}


@pytest.mark.case("OW-16", "OW-4", "OW-17", "S53", "S54")
@pytest.mark.parametrize(("method", "path", "status"), ASKED)
@pytest.mark.parametrize("around", AROUND)
async def test_every_response_has_each_header_once(
    files: Path, around: str, method: str, path: str, status: int
) -> None:
    answer = await ask(AROUND[around](shop(files)), f"https://shop{path}", method)
    assert answer.status_code == status
    expected = ALWAYS - OFF_DOCS if path == "/docs" else ALWAYS
    names = [name.decode().lower() for name, _ in answer.headers.raw]
    assert expected <= set(names)
    assert len(names) == len(set(names))


async def test_a_middleware_inside_secures_what_it_reaches(files: Path) -> None:
    app = shop(files)
    app.add_middleware(SecurityHeadersMiddleware, security=OWASP)
    for path, status in [("/docs", 200), ("/files/a.css", 200), ("/nowhere", 404)]:
        answer = await ask(app, f"https://shop{path}")
        assert (answer.status_code, answer.headers["x-frame-options"]) == (
            status,
            "deny",
        )
        relaxed = "jsdelivr" in answer.headers["content-security-policy"]
        assert relaxed == (path == "/docs")


@pytest.mark.case("OW-23")
@pytest.mark.parametrize("challenge", [None, "Bearer"])
async def test_a_challenge_is_the_handlers_and_names_no_realm_of_ours(
    challenge: str | None,
) -> None:
    app = server_kit.wrap(FastAPI(), security=OWASP)

    @app.get("/mine")
    async def mine() -> None:
        given = None if challenge is None else {"WWW-Authenticate": challenge}
        raise HTTPException(401, headers=given)

    answer = await ask(app, "/mine")
    assert answer.headers.get("www-authenticate") == challenge


# The documentation of frameworks.


def custom() -> FastAPI:
    return FastAPI(docs_url="/help", redoc_url="/guide", title="Shop")


def below(inner: AnyApp) -> AnyApp:
    return Starlette(routes=[Mount("/v1", inner), Mount("/v2", inner)])


@pytest.mark.case("OW-19")
@pytest.mark.parametrize("around", ["wrap", "middleware"])
@pytest.mark.parametrize(
    ("app", "path"),
    [
        (FastAPI, "/docs"),
        (FastAPI, "/redoc"),
        (FastAPI, "/docs/oauth2-redirect"),
        (custom, "/help"),
        (custom, "/guide"),
        (lambda: below(FastAPI()), "/v1/docs"),
        (lambda: below(custom()), "/v2/guide"),
        (Litestar, "/schema"),
        (Litestar, "/schema/swagger"),
        (Litestar, "/schema/redoc"),
        (Litestar, "/schema/rapidoc"),
        (Litestar, "/schema/elements"),
        (lambda: below(Litestar()), "/v1/schema/redoc"),
    ],
)
async def test_the_documentation_is_found_wherever_it_is(
    around: str, app: Callable[[], AnyApp], path: str
) -> None:
    answer = await ask(AROUND[around](app()), path)
    assert answer.status_code == 200
    assert "jsdelivr" in answer.headers["content-security-policy"]
    assert not OFF_DOCS & answer.headers.keys()


@pytest.mark.case("OW-19")
@pytest.mark.parametrize("path", ["/docs", "/api/docs"])
async def test_the_documentation_is_found_behind_a_prefix(path: str) -> None:
    transport = httpx.ASGITransport(server_kit.wrap(FastAPI()), root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        answer = await client.get(path)
    assert "jsdelivr" in answer.headers["content-security-policy"]


def own_docs() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/docs")
    async def docs() -> Response:
        return Response("<h1>Our own</h1>", media_type="text/html")

    return app


@pytest.mark.case("OW-19")
@pytest.mark.parametrize("around", ["wrap", "middleware"])
async def test_pages_among_a_frameworks_static_files_are_no_documentation(
    around: str, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<h1>Uploaded</h1>")
    litestar = Litestar([create_static_files_router("/", [tmp_path], html_mode=True)])
    fastapi = FastAPI()
    fastapi.mount("/", StaticFiles(directory=tmp_path, html=True))
    for app in (litestar, fastapi):
        answer = await ask(AROUND[around](app), "/index.html")
        assert answer.text == "<h1>Uploaded</h1>"
        expected = OWASP.content_security_policy
        assert answer.headers["content-security-policy"] == expected


@pytest.mark.parametrize("around", ["wrap", "middleware"])
async def test_an_exception_is_made_for_the_path_below_the_root(around: str) -> None:
    security = SecurityHeaders(x_frame_options=None, https="always")
    security = security.at("/ok", x_frame_options="SAMEORIGIN", https="scheme")
    app: AnyApp = SecurityHeadersMiddleware(starlette_app(), security)
    if around == "wrap":
        app = server_kit.wrap(starlette_app(), security=security)
    transport = httpx.ASGITransport(app, root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        answer = await client.get("/api/ok")
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert "strict-transport-security" not in answer.headers
        answer = await client.get("/api/nowhere")
        assert "x-frame-options" not in answer.headers
        assert "strict-transport-security" in answer.headers


@pytest.mark.case("OW-19")
@pytest.mark.parametrize(
    ("app", "path"),
    [
        (FastAPI, "/openapi.json"),
        (FastAPI, "/docs/x"),
        (custom, "/docs"),
        (own_docs, "/docs"),
        (litestar_app, "/ok"),
        (Litestar, "/schema/openapi.json"),
        (Litestar, "/docs"),
    ],
)
async def test_nothing_else_inherits_its_policy(
    app: Callable[[], AnyApp], path: str
) -> None:
    answer = await ask(server_kit.wrap(app()), path)
    expected = SecurityHeaders().content_security_policy
    assert answer.headers["content-security-policy"] == expected


async def test_documentation_of_ones_own_is_named() -> None:
    security = SecurityHeaders(docs_paths=frozenset({"/docs"}))
    answer = await ask(server_kit.wrap(own_docs(), security=security), "/docs")
    assert "jsdelivr" in answer.headers["content-security-policy"]


# WebSockets that are refused.


async def refusing(socket: WebSocket) -> None:
    await socket.close()


async def denying(socket: WebSocket) -> None:
    headers = {"X-Powered-By": "x", "X-Frame-Options": "SAMEORIGIN"}
    await socket.send_denial_response(Response(status_code=404, headers=headers))


async def accepting(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


async def leaving(socket: WebSocket) -> None:
    await socket.accept()
    try:
        await socket.receive_text()
    except WebSocketDisconnect:
        return


def talking() -> AnyApp:
    routes = [
        WebSocketRoute(f"/{endpoint.__name__}", endpoint)
        for endpoint in (refusing, denying, accepting, leaving)
    ]
    return SecurityHeadersMiddleware(Starlette(routes=routes), OWASP)


async def talk(app: AnyApp, path: str, *, answers: bool) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        if sent:
            return {"type": "websocket.disconnect", "code": 1001}
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "websocket", "scheme": "wss", "path": path, "headers": []}
    if answers:
        scope["extensions"] = {"websocket.http.response": {}}
    await app(scope, receive, send)
    return sent


@pytest.mark.case("OW-16")
@pytest.mark.parametrize(
    ("path", "status"), [("/refusing", 403), ("/denying", 404), ("/nowhere", 403)]
)
async def test_a_refused_websocket_is_told_with_all_headers(
    path: str, status: int
) -> None:
    start, body = await talk(talking(), path, answers=True)
    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == status
    names = [name.decode().lower() for name, _ in start["headers"]]
    assert set(names) >= ALWAYS
    assert "x-powered-by" not in names
    assert len(names) == len(set(names))
    assert body["type"] == "websocket.http.response.body"


@pytest.mark.case("R32")
async def test_where_a_server_takes_no_answer_the_socket_is_closed() -> None:
    (closed,) = await talk(talking(), "/refusing", answers=False)
    assert closed["type"] == "websocket.close"


async def test_a_refusal_is_known_to_have_no_body() -> None:
    start, body = await talk(talking(), "/refusing", answers=True)
    assert (b"content-length", b"0") in start["headers"]
    assert not body.get("body")
    assert not body.get("more_body")


@pytest.mark.case("S33", "R32")
async def test_a_websocket_that_is_accepted_is_left_alone() -> None:
    sent = await talk(talking(), "/accepting", answers=True)
    kinds = [message["type"] for message in sent]
    assert kinds == ["websocket.accept", "websocket.send", "websocket.close"]
    sent = await talk(talking(), "/leaving", answers=True)
    assert [message["type"] for message in sent] == ["websocket.accept"]


@pytest.mark.case("OW-16")
@pytest.mark.parametrize(("path", "status"), [("refusing", 403), ("denying", 404)])
def test_uvicorn_sends_the_headers_with_its_refusal(path: str, status: int) -> None:
    async def connect(url: str) -> httpx.Headers:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{url}/{path}")
        assert refused.value.response.status_code == status
        return httpx.Headers(list(refused.value.response.headers.raw_items()))

    with served(talking()) as url:
        headers = asyncio.run(connect(url.replace("http:", "ws:")))
    assert headers.get_list("x-content-type-options") == ["nosniff"]
    assert headers.keys() >= ALWAYS - {"strict-transport-security"}


# The server's own header.


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "Server" in r.getMessage()]


@pytest.mark.case("OW-22", "S53")
@pytest.mark.parametrize("lifespan", ["on", "off"])
@pytest.mark.parametrize("around", ["wrap", "middleware"])
def test_a_server_header_of_uvicorns_is_reported_once(
    around: str, lifespan: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = AROUND[around](Starlette(routes=[Route("/", lambda _: Response())]))
    with served(app, lifespan=lifespan) as url:
        early = len(reports(caplog))
        for _ in range(2):
            assert httpx.get(url).headers["server"] == "uvicorn"
    assert early == (1 if lifespan == "on" else 0)
    (said,) = reports(caplog)
    assert "--no-server-header" in said


@pytest.mark.case("OW-22")
@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_a_silent_server_is_not_reported(
    lifespan: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = AROUND["wrap"](Starlette(routes=[Route("/", lambda _: Response())]))
    with served(app, lifespan=lifespan, server_header=False) as url:
        assert "server" not in httpx.get(url).headers
    assert reports(caplog) == []


@pytest.mark.parametrize("security", [None, SecurityHeaders(remove=frozenset({"a"}))])
def test_a_server_header_may_stay_where_it_is_not_taken_off(
    security: SecurityHeaders | None, caplog: pytest.LogCaptureFixture
) -> None:
    with served(server_kit.wrap(shop(Path()), security=security)) as url:
        httpx.get(url)
    assert reports(caplog) == []


async def test_other_servers_are_not_taken_for_uvicorn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Other:
        default_headers = [(b"server", b"other")]  # noqa: RUF012 - as uvicorn has it

        async def send(self, message: Message) -> None: ...

    async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

    kit: Any = server_kit.wrap(app)
    await kit({"type": "lifespan"}, None, Other().send)
    assert reports(caplog) == []
