"""What happens to a websocket on its way between a wrapped app and the server.

Messages pass unchanged and in order, but for the headers of a refusal, and the rate
limit fields of an acceptance. What the app raised is answered by where the connection
stands::

    connecting  a problem, or a close: see `denial`
    accepted    a close
    over        nothing
"""

import logging
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from starlette.websockets import WebSocketDisconnect

from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send, local_path
from server_kit.denial import DENIAL, close_of, denial_of
from server_kit.exchange import Exchange
from server_kit.problems import log, told
from server_kit.responder import completed, limited
from server_kit.security import SecurityHeaders

_State: TypeAlias = Literal["connecting", "accepted", "denying", "over"]
_AFTER: Final[dict[str, _State]] = {
    f"{DENIAL}.start": "denying",
    f"{DENIAL}.body": "over",
    "websocket.accept": "accepted",
    "websocket.close": "over",
}
"""Where the connection stands once a message was sent."""


class SocketResponder:
    """One websocket.

    Args:
        app: What serves it.
        exchange: What is known of it.
        security: Headers to add to a refusal; None adds none.
        scope: The connection.
        send: Takes what the app sends.

    """

    def __init__(
        self,
        app: ASGIApp,
        exchange: Exchange,
        security: SecurityHeaders | None,
        scope: Scope,
        send: Send,
    ) -> None:
        self._app = app
        self._exchange = exchange
        self._security = security
        self._scope = scope
        self._path = local_path(scope)  # now: frameworks change it
        self._send = send
        self._stands: _State = "connecting"

    async def serve(self, receive: Receive) -> None:
        """Have the app serve the connection; raise what the server must hear of."""

        async def watch() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self._stands = "over"
            return message

        try:
            await self._app(self._scope, watch, self._take)
        except Exception as error:  # noqa: BLE001 - whatever an app raises is its answer
            failure = await self._settle(error)
        else:
            failure = self._exchange.crash
        if failure is not None:
            raise failure

    async def _take(self, message: Message) -> None:
        raised = self._exchange.raised
        if raised is not None and message["type"] == "websocket.close":
            # A framework is about to tell it in its own words.
            await self._settle(raised)
        else:
            await self._pass(message)

    async def _pass(self, message: Message) -> None:
        kind = message["type"]
        if kind == f"{DENIAL}.start":
            message = completed(
                message, self._exchange, self._security, self._scope, self._path
            )
        elif kind == "websocket.accept":
            message = limited(message, self._exchange)
        is_part = kind == f"{DENIAL}.body" and message.get("more_body", False)
        if not is_part:
            self._stands = _AFTER.get(kind, self._stands)
        await self._send(message)

    async def _settle(self, error: Exception) -> Exception | None:
        if isinstance(error, WebSocketDisconnect):  # the client left: no failure
            return error
        if self._stands in ("denying", "over"):
            if self._exchange.crash is not error:  # else told of by a kit inside
                what = "failed after it was answered"
                log(logging.ERROR, what, self._scope, error)
            return error
        problem, is_crash = told(error, self._scope)
        if self._stands == "connecting":
            for message in denial_of(problem, self._scope):
                await self._pass(message)
        else:
            with suppress(OSError):  # the client is gone, which is how servers say so
                await self._pass(close_of(problem))
        return error if is_crash else None
