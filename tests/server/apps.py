"""One small service, in each framework: every path fails in its own way."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import anyio
import fastapi
import httpx
import litestar
from litestar.exceptions import HTTPException as LitestarHTTPException
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

import server_kit
from resilient_http.problems import AppException, CircuitBreakerOpenException, Contract
from server_kit.asgi import Message, Receive, Scope, Send, local_path

AnyApp: TypeAlias = Callable[..., Any]
"""An ASGI app, however its framework types it."""

SECRET: Final = "s3cr3t /srv/app/db.py SELECT * FROM users"


class OutOfStock(AppException):
    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str
    available: int = 0


SHOP: Final = Contract(OutOfStock, type_base="https://shop.example/problems/")


def fail(path: str, error: type[Exception] = HTTPException) -> None:
    """Do what the handler of `path` does; `error` is its framework's exception."""
    name, _, number = path.strip("/").partition("/")
    http: Callable[..., Exception] = error
    if name == "problem":
        raise OutOfStock("Only 2 left", sku="A1", available=2)
    if name == "group":
        raise ExceptionGroup("tasks", [ExceptionGroup("", [OutOfStock(sku="A1")])])
    if name == "groups":
        raise ExceptionGroup("tasks", [OutOfStock(sku="A1"), ValueError(SECRET)])
    if name == "crash":
        raise RuntimeError(SECRET)
    if name == "received":
        refused = CircuitBreakerOpenException(SECRET, retry_after=1.2)
        refused.received = True
        raise refused
    if name == "login":
        raise http(status_code=401, headers={"WWW-Authenticate": "Bearer"})
    if name == "status":
        raise http(status_code=int(number), detail="as said", headers={"X-Why": "so"})


async def drip() -> AsyncIterator[bytes]:
    for part in (b"a", b"b", b"c"):
        yield part


async def drip_and_fail() -> AsyncIterator[bytes]:
    yield b"a"
    raise RuntimeError(SECRET)


async def drip_and_refuse() -> AsyncIterator[bytes]:
    yield b"a"
    raise HTTPException(404)


STREAMS: Final = {"drip": drip, "late": drip_and_fail, "late-http": drip_and_refuse}
FAILURES: Final = (
    *("/problem", "/group", "/groups", "/crash", "/received", "/login"),
    *("/status/{number:int}", "/ok"),
)


async def starlette_endpoint(request: Request) -> PlainTextResponse:
    fail(local_path(request.scope))
    return PlainTextResponse("fine")


async def starlette_stream(request: Request) -> StreamingResponse:
    return StreamingResponse(STREAMS[local_path(request.scope).strip("/")]())


def starlette_app(**options: Any) -> Starlette:
    failing = [Route(path, starlette_endpoint) for path in FAILURES]
    streams = [Route(f"/{name}", starlette_stream) for name in STREAMS]
    return Starlette(routes=[*failing, *streams], **options)


def fastapi_app(**options: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI(**options)
    for path in FAILURES:

        @app.get(path)
        async def endpoint(request: Request) -> PlainTextResponse:
            fail(local_path(request.scope), fastapi.HTTPException)
            return PlainTextResponse("fine")

    for name in STREAMS:
        app.add_api_route(f"/{name}", starlette_stream, response_model=None)
    return app


def litestar_app(**options: Any) -> litestar.Litestar:
    @litestar.get(list(FAILURES), media_type="text/plain")
    async def endpoint(request: litestar.Request[Any, Any, Any]) -> str:
        fail(request.scope["path"], LitestarHTTPException)
        return "fine"

    @litestar.get([f"/{name}" for name in STREAMS])
    async def stream(request: litestar.Request[Any, Any, Any]) -> Any:
        return litestar.response.Stream(STREAMS[request.scope["path"].strip("/")]())

    options = {"logging_config": None, "openapi_config": None} | options
    return litestar.Litestar([endpoint, stream], **options)


async def raw_app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    path = scope["path"]
    name = path.strip("/")
    if name in STREAMS:
        await StreamingResponse(STREAMS[name]())(scope, receive, send)
        return
    fail(path)
    known = name == "ok"
    start = {"type": "http.response.start", "status": 200 if known else 404}
    await send({**start, "headers": [(b"content-type", b"text/plain")]})
    body = b"fine" if known else b"Not Found"
    await send({"type": "http.response.body", "body": body})


APPS: Final[dict[str, Callable[[], AnyApp]]] = {
    "fastapi": fastapi_app,
    "starlette": starlette_app,
    "litestar": litestar_app,
    "raw": lambda: raw_app,
}


class _Whole(httpx.AsyncByteStream):
    """A body that nobody has to read to its end, as a generator must be."""

    def __init__(self, body: bytes) -> None:
        self._parts = [body]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


class _Transport(httpx.ASGITransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if isinstance(request.stream, httpx.ByteStream):
            # Of its own stream httpx leaves the rest to the collector.
            request.stream = _Whole(request.content)
        return await super().handle_async_request(request)


def client_of(app: AnyApp, *, raises: bool = False) -> httpx.AsyncClient:
    """Return a client of `app`; what `app` raises reaches the test if `raises`."""
    transport = _Transport(app, raise_app_exceptions=raises)
    return httpx.AsyncClient(transport=transport, base_url="http://shop")


async def ask(
    app: AnyApp, path: str, method: str = "GET", **options: Any
) -> httpx.Response:
    """Return the answer of an app, wrapped already, to one request."""
    async with client_of(app) as client:
        return await client.request(method, path, **options)


async def ask_wrapped(app: AnyApp, path: str, method: str = "GET") -> httpx.Response:
    """Return the answer of `app` to one request, through a kit that knows SHOP."""
    return await ask(server_kit.wrap(app, contract=SHOP), path, method)


@dataclass
class Served:
    """What a server saw of one request."""

    sent: list[Message]
    error: BaseException | None

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.sent]


async def serve(app: AnyApp, path: str = "/", **scope: Any) -> Served:
    """Serve one request as a server does, and see each message."""
    served = Served([], None)
    asked = {"type": "http", "method": "GET", "path": path, "headers": []}

    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])
    over = anyio.Event()

    async def receive() -> Message:
        for message in messages:
            return message
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        served.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            over.set()

    try:
        await app({"query_string": b"", **asked, **scope}, receive, send)
    except Exception as error:  # noqa: BLE001 - as a server does
        served.error = error
    return served
