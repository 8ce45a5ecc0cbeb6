"""What `wrap` takes, and what it returns."""

import copy
import inspect
import subprocess
import sys
from typing import Any

import fastapi
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount

import server_kit
from resilient_http import context
from resilient_http.problems import Contract
from server_kit import RateLimiter, SecurityHeaders
from server_kit.asgi import Message, Receive, Scope, Send
from server_kit.exchange import exchange_of
from tests.server.apps import AnyApp, ask, fastapi_app, raw_app


@pytest.mark.parametrize("app", [None, 5, "module:app", Starlette, object()])
def test_only_an_asgi_app_can_be_wrapped(app: Any) -> None:
    with pytest.raises(TypeError, match="app must be an ASGI application, got"):
        server_kit.wrap(app)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("contract", "https://shop.example"),
        ("contract", Contract),
        ("debug", 1),
        ("debug", None),
        ("security", True),
        ("security", {}),
        ("limiter", "redis://localhost"),
        ("deadlines", 30.0),
        ("shedding", True),
        ("health", "/readyz"),
        ("access_log", True),
        ("listeners", ["print"]),
        ("idempotency", True),
    ],
)
def test_an_argument_of_the_wrong_type_is_named_and_shown(
    name: str, value: object
) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=f"{name} must be .*, got ") as error:
        server_kit.wrap(raw_app, **options)
    shown = value[0] if isinstance(value, list) else value
    assert repr(shown) in str(error.value)


def test_what_is_not_built_is_not_accepted() -> None:
    accepted = list(inspect.signature(server_kit.wrap).parameters)
    assert accepted == [
        *("app", "contract", "exceptions", "instance", "debug", "security"),
        *("limiter", "trusted_proxies", "deadlines", "shedding", "idempotency"),
        *("health", "access_log", "listeners"),
    ]


async def test_routes_can_be_added_after_wrapping() -> None:
    app = server_kit.wrap(fastapi.FastAPI())

    @app.get("/late")
    async def late() -> str:
        return "found"

    assert (await ask(app, "/late")).json() == "found"


async def test_attributes_are_passed_on_both_ways() -> None:
    inner = fastapi_app()
    app = server_kit.wrap(inner)
    app.state.pool = "open"
    app.title = "Shop"
    app.dependency_overrides[ask] = raw_app
    assert inner.state.pool == "open"
    assert inner.title == "Shop"
    assert inner.dependency_overrides == {ask: raw_app}
    del app.title
    assert not hasattr(inner, "title")
    assert not hasattr(app, "no_such_thing")


def test_a_wrapped_app_shows_what_it_wraps() -> None:
    app = server_kit.wrap(raw_app)
    assert repr(app) == f"wrap({raw_app!r})"
    assert repr(copy.copy(app)) == repr(app)


async def test_an_exchange_tells_what_wrap_was_given() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        assert exchange is scope["server_kit"]
        seen.extend([exchange, context.request_id.get()])
        scope["path"] = "/changed"
        await raw_app(scope, receive, send)

    contract, limiter = Contract(), RateLimiter()
    wrapped = server_kit.wrap(app, contract=contract, limiter=limiter, debug=True)
    await ask(wrapped, "/a/b", headers={"X-Request-ID": "r-5"})
    exchange, known = seen
    assert exchange.contract is contract
    assert exchange.limiter is limiter
    assert exchange.debug is True
    assert (exchange.path, exchange.decisions) == ("/a/b", [])
    assert exchange.request_id == known == "r-5"
    assert context.request_id.get() is None


async def test_every_response_has_the_id_of_its_request_once() -> None:
    app = server_kit.wrap(raw_app)
    for path in ("/ok", "/nowhere", "/crash", "/problem", "/drip"):
        answer = await ask(app, path, headers={"X-Request-ID": "r-9"})
        assert answer.headers.get_list("x-request-id") == ["r-9"]
    first, second = [await ask(app, "/ok") for _ in range(2)]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.case("S49")
async def test_an_id_the_app_has_set_itself_stays_alone() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"X-Request-Id", b"mine")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    answer = await ask(server_kit.wrap(app), "/")
    assert answer.headers.get_list("x-request-id") == ["mine"]


@pytest.mark.case("OW-16")
async def test_every_response_has_the_security_headers() -> None:
    app = server_kit.wrap(raw_app)
    for path in ("/ok", "/nowhere", "/crash", "/problem", "/drip", "/status/304"):
        headers = (await ask(app, path)).headers
        assert headers.get_list("x-frame-options") == ["DENY"]


async def test_security_headers_can_be_chosen_or_left_out() -> None:
    chosen = SecurityHeaders(x_frame_options="SAMEORIGIN")
    answer = await ask(server_kit.wrap(raw_app, security=chosen), "/ok")
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    answer = await ask(server_kit.wrap(raw_app, security=None), "/ok")
    assert "x-frame-options" not in answer.headers
    for debug in (False, True):
        answer = await ask(server_kit.wrap(raw_app, debug=debug), "https://shop/ok")
        assert ("strict-transport-security" in answer.headers) is not debug


async def test_the_documentation_of_an_app_can_load() -> None:
    app = server_kit.wrap(fastapi.FastAPI())
    for path, loads in [("/docs", True), ("/nowhere", False)]:
        policy = (await ask(app, path)).headers["content-security-policy"]
        assert ("cdn.jsdelivr.net" in policy) is loads


def test_frameworks_are_only_imported_by_those_who_use_them() -> None:
    script = """
import sys, anyio, server_kit
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount
async def send(message): assert message["status" if "status" in message else "body"]
scope = {"type": "http", "path": "/", "method": "GET", "headers": []}
anyio.run(server_kit.wrap(Starlette()), scope, None, send)
assert not {"fastapi", "litestar"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_promised_names_are_there() -> None:
    for name in server_kit.__all__:
        assert getattr(server_kit, name) is not None
    assert {"RateLimited", "StrictRateLimit", "UserRateLimit"} <= {*server_kit.__all__}
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = server_kit.Nonsense


async def reads(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)


class Parts:
    """Without end, and no generator, which trio would have closed."""

    def __aiter__(self) -> "Parts":
        return self

    async def __anext__(self) -> bytes:
        return b"part"


async def streams(scope: Scope, receive: Receive, send: Send) -> None:
    await StreamingResponse(Parts())(scope, receive, send)


@pytest.mark.case("S51")
@pytest.mark.parametrize("handler", [reads, streams])
@pytest.mark.parametrize("framework", [True, False])
async def test_a_client_that_leaves_is_no_crash(
    handler: AnyApp, framework: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As servers say it: a disconnect where a body is read, an OSError where sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 2:
            raise OSError("the client has gone")

    app = Starlette(routes=[Mount("/", handler)]) if framework else handler
    asked = {"method": "POST", "path": "/", "headers": [], "query_string": b""}
    scope = {"type": "http", "asgi": {"spec_version": "2.4"}, **asked}
    await server_kit.wrap(app)(scope, receive, send)
    assert sent[0]["status"] == (499 if handler is reads else 200)
    assert caplog.records == []
