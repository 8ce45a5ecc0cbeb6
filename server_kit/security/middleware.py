"""`SecurityHeadersMiddleware`: security headers for apps that are not wrapped."""

from server_kit.asgi import (
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    headers_of,
    local_path,
)
from server_kit.security import nonce
from server_kit.security.profile import DEFAULT, SecurityHeaders
from server_kit.security.responses import STARTS, secured
from server_kit.security.servers import warn_of_disclosure


class SecurityHeadersMiddleware:
    """Give every response of `app` its security headers, refused WebSockets included.

    For apps that are not wrapped: `server_kit.wrap` does the same from outside, where
    it reaches the responses of other middlewares and of crashes as well.
    """

    def __init__(
        self,
        app: ASGIApp,
        security: SecurityHeaders = DEFAULT,
        *,
        debug: bool = False,
    ) -> None:
        self._app = app
        self._security = security
        self._debug = debug
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not self._has_begun:
            warn_of_disclosure(send, self._security)
            self._has_begun = True
        if scope["type"] == "http":
            taker = _Taker(self._security, scope, send, debug=self._debug)
            token = nonce.begin(scope)
            try:
                await self._app(scope, receive, taker.take)
            finally:
                nonce.end(token)
        elif scope["type"] == "websocket":
            taker = _Taker(self._security, scope, send, debug=self._debug)
            await self._app(scope, receive, taker.take_of_websocket)
        else:
            await self._app(scope, receive, send)


class _Taker:
    """Takes what the app sends on one connection, and sends it on."""

    __slots__ = ("_debug", "_is_decided", "_path", "_scope", "_security", "_send")

    def __init__(
        self, security: SecurityHeaders, scope: Scope, send: Send, *, debug: bool
    ) -> None:
        self._security = security
        self._scope = scope
        self._path = local_path(scope)  # now: frameworks change it
        self._send = send
        self._debug = debug
        self._is_decided = False

    async def take(self, message: Message) -> None:
        if message["type"] in STARTS:
            headers = secured(
                headers_of(message),
                message["status"],
                self._security,
                self._scope,
                path=self._path,
                debug=self._debug,
            )
            message = {**message, "headers": headers}
        await self._send(message)

    async def take_of_websocket(self, message: Message) -> None:
        """Take a message, and where it refuses the WebSocket, answer with headers.

        Servers answer a plain close before the handshake with a 403 of their own.
        """
        is_first, self._is_decided = not self._is_decided, True
        answers = "websocket.http.response" in (self._scope.get("extensions") or {})
        if not is_first or not answers or message["type"] != "websocket.close":
            await self.take(message)
            return
        kind = "websocket.http.response"
        headers = [(b"content-length", b"0")]
        await self.take({"type": f"{kind}.start", "status": 403, "headers": headers})
        await self.take({"type": f"{kind}.body", "body": b""})
