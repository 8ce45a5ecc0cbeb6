"""A websocket, opened as a server does."""

from dataclasses import dataclass
from typing import Any, Final

import anyio

from server_kit.asgi import Message
from tests.server.apps import AnyApp

DENIAL: Final[dict[str, Any]] = {"websocket.http.response": {}}


@dataclass
class Seen:
    """What a server saw of one websocket."""

    sent: list[Message]
    error: BaseException | None


async def connect(
    app: AnyApp, path: str, *received: Message, extensions: Any = None, **scope: Any
) -> Seen:
    """Open a websocket as a server does, and see each message."""
    seen = Seen([], None)
    messages = iter([{"type": "websocket.connect"}, *received])

    async def receive() -> Message:
        for message in messages:
            return message
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        seen.sent.append(message)

    asked = {"type": "websocket", "path": path, "headers": [], "query_string": b""}
    asked |= {"subprotocols": [], "extensions": extensions}
    try:
        await app(asked | scope, receive, send)
    except Exception as error:  # noqa: BLE001 - as a server does
        seen.error = error
    return seen
