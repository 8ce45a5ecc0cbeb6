"""A request on its way through: how long it took, how much was sent, who left.

A `Watch` stands between the server and the kit, and hands everything on as it came.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeAlias

import anyio

from server_kit.access_log.bodies import Kept
from server_kit.access_log.records import trace_id
from server_kit.access_log.served import CLIENT_LEFT, Ended, RequestServed
from server_kit.asgi import (
    Message,
    RawHeaders,
    Receive,
    Scope,
    Send,
    ends_response,
    has_body,
    headers_of,
)
from server_kit.exchange import Exchange
from server_kit.proxies import client_of
from server_kit.routes import template_of

logger: Final = logging.getLogger("server_kit")

_FIRST_ERROR: Final = 400
_LOOKS_AFTER: Final = 0.1
"""Seconds after which it is looked whether the client is still there. A look costs a
turn of the event loop, and who has waited for less has hardly left."""
_OF_THE_BODY: Final = frozenset(
    {"http.response.body", "http.response.zerocopysend", "http.response.pathsend"}
)
_ATTEMPT: Final = re.compile(rb"[1-9][0-9]{0,3}")

Report: TypeAlias = Callable[[RequestServed, "Watch"], object]
"""Takes a request that was served, and what was kept of it."""


class Observer:
    """Who is told of every request, and what must be kept of it for them.

    Args:
        reports: Each called once a request, when its answer is out or will not be.
            What they raise is logged the first time, and changes nothing.
        bodies: How many bytes of each body to keep.
        clock: Monotonic, in seconds.

    """

    __slots__ = ("_failed", "_reports", "bodies", "clock")

    def __init__(
        self,
        reports: Iterable[Report],
        *,
        bodies: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reports = tuple(reports)
        self._failed = set[Callable[..., object]]()
        self.bodies = bodies
        self.clock = clock

    def tell(self, watch: "Watch") -> None:
        """Tell everybody of one request."""
        try:
            served = watch.served()
        except Exception as error:  # noqa: BLE001 - it reads what frameworks have left
            self._complain(Watch.served, error)
            return
        for report in self._reports:
            try:
                report(served, watch)
            except Exception as error:  # noqa: BLE001 - a listener, a logging handler
                self._complain(report, error)

    def _complain(self, failed: Callable[..., object], error: Exception) -> None:
        if failed in self._failed:
            return
        self._failed.add(failed)
        with suppress(Exception):  # by the same handler, perhaps
            what = "%r failed; this is not logged again"
            logger.error(what, failed, exc_info=error)


class Watch:
    """One request, as the server sees it. It stands between the server and the kit.

    Args:
        observer: Who is told of it.
        exchange: What the kit knows of it.
        scope: The request.
        receive: The server's.
        send: The server's.

    """

    __slots__ = (
        "_began",
        "_clock",
        "_exchange",
        "_first_byte",
        "_is_left",
        "_is_over",
        "_is_receiving",
        "_is_told",
        "_looked",
        "_method",
        "_observer",
        "_peeked",
        "_receive",
        "_received_all",
        "_receiving",
        "_send",
        "_sending",
        "_status",
        "_trailers",
        "request_body",
        "response_body",
        "response_headers",
        "scope",
    )

    def __init__(
        self,
        observer: Observer,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self.scope = scope
        self.request_body = Kept(observer.bodies)
        self.response_body = Kept(observer.bodies)
        self.response_headers: RawHeaders = []
        self._observer = observer
        self._exchange = exchange
        self._method = str(scope.get("method", ""))  # now: it may be changed
        self._receive = receive
        self._send = send
        self._clock = observer.clock
        self._began = self._looked = self._clock()
        self._receiving = self._sending = 0.0
        self._received_all = self._is_receiving = False
        self._peeked: Message | None = None
        self._status: int | None = None
        self._first_byte: float | None = None
        self._trailers = False
        self._is_left = self._is_over = self._is_told = False

    async def receive(self) -> Message:
        """Hand on a message from the client."""
        if self._peeked is not None:
            message, self._peeked = self._peeked, None
            return message
        began = self._clock()
        self._is_receiving = True
        try:
            message = await self._receive()
        finally:
            self._is_receiving = False
        if not self._received_all:
            self._receiving += self._clock() - began
        self._heard(message)
        return message

    async def send(self, message: Message) -> None:
        """Hand on a message to the client."""
        is_last = ends_response(message, trailers=self._trailers)
        if is_last or message["type"] == "http.response.start":
            await self._look()
        began = self._clock()
        self._said(message, began)
        try:
            await self._send(message)
        except OSError:  # what servers raise when the client has left
            self._is_left = True
            raise
        finally:
            self._sending += self._clock() - began
        if is_last:
            self._is_over = True
            self.over()

    def _heard(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._is_left = True
        elif message["type"] == "http.request":
            self.request_body.add(message.get("body", b""))
            self._received_all = not message.get("more_body", False)

    def _said(self, message: Message, now: float) -> None:
        if message["type"] == "http.response.start":
            if not self._is_left:
                self._status = message["status"]
            self.response_headers = headers_of(message)
            self._trailers = bool(message.get("trailers"))
        elif self._first_byte is None and message["type"] in _OF_THE_BODY:
            self._first_byte = now - self._began
        if message["type"] == "http.response.body":
            self.response_body.add(message.get("body", b""))

    async def _look(self) -> None:
        """See whether the client has left, where nobody else in the app listens.

        Not while a body is to come: asking for it is the app's decision.
        """
        now = self._clock()
        if now - self._looked < _LOOKS_AFTER or self._is_left or self._is_receiving:
            return
        self._looked = now
        if self._peeked is None and (self._received_all or not has_body(self.scope)):
            with anyio.move_on_after(0):
                self._peeked = await self._receive()
                self._heard(self._peeked)

    def over(self) -> None:
        """Tell of the request, if its answer was never whole."""
        if not self._is_told:
            self._is_told = True
            self._observer.tell(self)

    def served(self) -> RequestServed:
        """Return what is known of the request by now."""
        exchange = self._exchange
        duration = self._clock() - self._began
        waited = exchange.queued + self._receiving + self._sending
        return RequestServed(
            method=self._method,
            path=exchange.path,
            route=template_of(exchange, self.scope),
            status=self._final_status(),
            ended=self._ending(),
            duration=duration,
            first_byte=self._first_byte,
            queued=exchange.queued,
            receiving=self._receiving,
            sending=self._sending,
            handling=max(0.0, duration - waited),
            request_bytes=self.request_body.size,
            response_bytes=self.response_body.size,
            request_id=exchange.request_id,
            trace_id=trace_id(),
            problem_type=self._problem_type(),
            attempt=_attempt(self.scope),
            client=client_of(self.scope),
        )

    def _ending(self) -> Ended:
        if self._is_left:
            return "client left"
        return "complete" if self._is_over else "aborted"

    def _final_status(self) -> int:
        if self._status is not None:
            return self._status
        # Servers answer so for an app that did not.
        return CLIENT_LEFT if self._is_left else 500

    def _problem_type(self) -> str | None:
        problem = self._exchange.problem
        is_error = self._status is not None and self._status >= _FIRST_ERROR
        return problem.type if problem is not None and is_error else None


def _attempt(scope: Scope) -> int | None:
    for name, value in scope.get("headers") or ():
        if name == b"x-request-attempt" and _ATTEMPT.fullmatch(value):
            return int(value)
    return None
