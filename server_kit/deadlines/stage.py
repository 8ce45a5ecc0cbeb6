"""Ending what nobody waits for any longer: the stage around all that serves a request.

arrives with no time left       504 deadline-exceeded, nothing was begun
out of time in our queue        the same
out of time in its own body     408
out of time in its handler      504 gateway-timeout: it may have done something
out of time in its response     the connection is cut
"""

import math
import time
from typing import Final

import anyio

from resilient_http import context
from resilient_http.problems import (
    AppException,
    DeadlineExceededException,
    GatewayTimeoutException,
    for_status,
)
from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send, ends_body
from server_kit.deadlines.arrivals import Arrivals
from server_kit.deadlines.cutting import Cut, cut_after, now
from server_kit.deadlines.settings import Deadlines, asked_for
from server_kit.exchange import Exchange, exchange_of

_GONE: Final = "http.disconnect"


def remaining() -> float:
    """Return the seconds that are left for the request being served, at least 0.

    Infinity where nothing bounds it: outside a request, where neither the caller nor
    `Deadlines.maximum` does, and once the response has been sent.
    """
    return max(0.0, context.time_left())


class DeadlineStage:
    """Serve each request within the time that its caller has.

    Args:
        app: What serves it.
        settings: How long that may be.

    """

    def __init__(self, app: ASGIApp, settings: Deadlines) -> None:
        self._app = app
        self._settings = settings
        self._arrivals = Arrivals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        exchange = exchange_of(scope)
        if scope["type"] != "http" or exchange is None or _is_bounded(exchange.outer):
            await self._app(scope, receive, send)
            return
        arrived = now()
        asked = asked_for(scope.get("headers") or ())
        is_late = asked is not None and asked < self._settings.least_useful
        if self._arrivals.refuses(arrived, is_late=is_late):
            raise DeadlineExceededException("The time for this was over on arrival")
        if is_late:  # not believed, among so many
            asked = None
        seconds = self._settings.bound(asked)
        exchange.ends = math.inf if seconds is None else arrived + seconds
        if seconds is None and not self._settings.cancel_on_disconnect:
            await self._app(scope, receive, send)
            return
        served = _Served(exchange, seconds, receive, send, is_asked=asked is not None)
        await served.by(self._app, scope, watched=self._settings.cancel_on_disconnect)


def _is_bounded(exchange: Exchange | None) -> bool:
    """Tell whether a wrapped app around this one has seen to it."""
    while exchange is not None:
        if exchange.ends is not None:
            return True
        exchange = exchange.outer
    return False


class _Served:
    """One request that may be cut short."""

    __slots__ = (
        *("_bound", "_cut", "_exchange", "_has_begun", "_has_ended", "_has_gone"),
        *("_is_asked", "_is_awaiting", "_receive", "_seconds", "_send"),
    )
    _cut: Cut

    def __init__(
        self,
        exchange: Exchange,
        seconds: float | None,
        receive: Receive,
        send: Send,
        *,
        is_asked: bool,
    ) -> None:
        self._exchange = exchange
        self._seconds = math.inf if seconds is None else seconds
        self._receive = receive
        self._send = send
        self._is_asked = is_asked
        self._is_awaiting = self._has_begun = self._has_ended = self._has_gone = False

    async def by(self, app: ASGIApp, scope: Scope, *, watched: bool) -> None:
        self._bound = context.Bound(time.monotonic() + self._seconds)
        token = context.bound.set(self._bound)
        self._cut = cut_after(self._seconds)
        try:
            with self._cut:
                if watched:
                    await self._watched(app, scope)
                else:
                    await app(scope, self._take, self._pass)
        finally:
            context.bound.reset(token)
        if self._cut.happened and not self._has_gone:
            raise self._reason(scope)

    async def _take(self) -> Message:
        self._is_awaiting = True
        message = await self._receive()
        self._is_awaiting = False
        return message

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            if not self._is_asked:  # a stream may last: nobody asked for less
                self._lift()
        is_last = ends_body(message)
        self._has_ended = self._has_ended or is_last
        await self._send(message)
        if is_last:
            self._lift()

    def _lift(self) -> None:
        self._cut.lift()
        self._bound.lift()

    def _reason(self, scope: Scope) -> AppException:
        if self._exchange.is_waiting:
            return DeadlineExceededException("The time was over before the work began")
        if self._is_awaiting and not self._has_begun:
            return _body_too_slow(scope)
        return GatewayTimeoutException("The time for this ran out")

    async def _watched(self, app: ASGIApp, scope: Scope) -> None:
        """Run `app`, and cut it if the caller goes away."""
        failure: Exception | None = None
        # One message is read ahead, or none would be where the app reads no body.
        ahead, taken = anyio.create_memory_object_stream[Message](1)
        receive = self._receive

        async def take() -> Message:
            if not self._has_gone:
                try:
                    return await taken.receive()
                except anyio.EndOfStream:
                    pass
            return {"type": _GONE}

        async def watch() -> None:
            while (message := await receive())["type"] != _GONE:
                await ahead.send(message)
            ahead.close()
            # Servers say so at the end of every response, too.
            if not self._has_ended:
                self._has_gone = True
                self._cut.now()

        self._receive = take
        with ahead, taken:
            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                try:
                    await app(scope, self._take, self._pass)
                except Exception as error:  # noqa: BLE001 - raised below, in no group
                    failure = error
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure


def _body_too_slow(scope: Scope) -> AppException:
    # RFC 9110, section 15.5.9: close the connection, or the rest would keep it busy.
    is_first = str(scope.get("http_version", "")).startswith("1")
    headers = {"Connection": "close"} if is_first else None
    return for_status(408, "The request's body did not arrive in time", headers=headers)
