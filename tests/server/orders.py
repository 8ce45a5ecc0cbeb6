"""A shop whose orders are counted, and what is asked of it with a key."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx

import server_kit
from server_kit import Idempotency
from server_kit.asgi import Message, RawHeaders, Receive, Scope, Send
from server_kit.idempotency import Stage
from server_kit.idempotency.stores import Store
from tests.server.apps import AnyApp, ask

Handler: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


@dataclass
class Orders:
    """An ASGI app that places an order for each request, and says which it was."""

    status: int = 201
    headers: RawHeaders = field(default_factory=list)
    before: Callable[[], Awaitable[None]] | None = None
    """Awaited once the order is placed, and before there is an answer."""
    placed: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        self.placed.append(await body_of(receive))
        number = len(self.placed)
        if self.before is not None:
            await self.before()
        start = {"type": "http.response.start", "status": self.status}
        own = [(b"content-type", b"text/plain"), (b"location", b"/orders/%d" % number)]
        await send({**start, "headers": [*own, *self.headers]})
        await send({"type": "http.response.body", "body": b"order %d" % number})


async def body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message: Message = await receive()
        assert message["type"] == "http.request"
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def shop(app: AnyApp, *, kept_in: Store | None = None, **given: Any) -> AnyApp:
    """Return `app`, wrapped, with idempotency as given, and perhaps a given store."""
    settings = Idempotency(**given)
    if kept_in is None:
        return server_kit.wrap(app, idempotency=settings)
    return server_kit.wrap(Stage(app, settings, kept_in))


async def post(
    app: AnyApp, path: str = "/orders", *, key: str | None = KEY, **options: Any
) -> httpx.Response:
    """Send one POST with a key, or without one."""
    headers = [*dict(options.pop("headers", {})).items()]
    if key is not None:
        headers.append(("Idempotency-Key", key))
    method = options.pop("method", "POST")
    options.setdefault("content", b"one of A1")
    return await ask(app, path, method, headers=headers, **options)


async def give(
    app: AnyApp,
    *messages: Message,
    headers: RawHeaders | None = None,
    fails: bool = False,
) -> list[Message]:
    """Give `app` the messages of one POST with a key, and leave.

    Args:
        app: What is asked.
        messages: What it receives before it hears that the client is gone.
        headers: Besides the key.
        fails: Whether sending to a client that is gone raises.

    Returns:
        What it sent.

    """
    left, sent = list(messages), list[Message]()

    async def receive() -> Message:
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if fails:
            raise OSError("the client is gone")
        sent.append(message)

    fields = [(b"idempotency-key", KEY.encode()), *(headers or [])]
    asked = {"type": "http", "method": "POST", "path": "/orders", "query_string": b""}
    await app({**asked, "headers": fields, "client": ("127.0.0.1", 1)}, receive, send)
    return sent


def part(body: bytes, *, more: bool = False) -> Message:
    """Return one message of a request."""
    return {"type": "http.request", "body": body, "more_body": more}


async def shut_down(app: AnyApp) -> None:
    """Let the life of `app` begin and end, as a server does."""

    async def nothing(*_: Any) -> Any:
        """Neither ask nor tell."""

    await app({"type": "lifespan"}, nothing, nothing)


def is_replay(answer: httpx.Response) -> bool:
    return "idempotent-replayed" in answer.headers
