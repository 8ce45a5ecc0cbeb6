"""What happens to a response on its way from a wrapped app to the server.

Its headers are completed, an error that is little but a status becomes a problem, and
what the app raised is answered, if there was no answer yet. Everything else passes,
unchanged and in order.
"""

import inspect
import logging
import time
from dataclasses import replace
from typing import Final

from starlette.requests import ClientDisconnect

from resilient_http.problems import (
    AppException,
    NotFoundException,
    for_status,
    with_status,
)
from server_kit import request_id
from server_kit.asgi import (
    ASGIApp,
    Message,
    RawHeaders,
    Receive,
    Scope,
    Send,
    add_missing,
    ends_response,
    headers_of,
    local_path,
    values_of,
)
from server_kit.exchange import Exchange
from server_kit.frameworks.allow import allowed
from server_kit.pages import HEADERS as PAGE_HEADERS
from server_kit.pages import pages_of
from server_kit.problems import NOT_STORED, Answer, answer_failure, answer_to, log
from server_kit.ratelimit.fields import SWITCHING, with_fields
from server_kit.security import SecurityHeaders, secured

# Plain numbers: a member of an enum takes as long to look up as a call.
_OK: Final = 200
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_METHOD_NOT_ALLOWED: Final = 405
_TOO_MANY_REQUESTS: Final = 429
_OF_THE_BODY: Final = frozenset({b"content-type", b"content-length"})
# What Starlette and Litestar put into the scope before they look for a route.
_FRAMEWORKS: Final = frozenset({"app", "litestar_app"})
# What RFC 9110 calls otherwise, and Python before 3.13 does not.
_FORMER: Final = {
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
}
# How Starlette and Litestar report that they had a handler for what was raised too
# late. What was raised is their cause.
_TOO_LATE: Final = (
    "Caught handled exception, but response already started.",
    "Exception caught after response started",
)


class Responder:
    """The response to one request.

    Args:
        app: What answers it.
        exchange: What is known of the request.
        security: Headers to add; None adds none.
        scope: The request.
        send: Takes the response.

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
        self._path = local_path(scope)  # now: frameworks change it, and the root
        self._root = str(scope.get("root_path", ""))
        self._send = send
        self._held: Message | None = None
        self._is_replaced = False
        self._started = False
        self._has_trailers = False
        self._has_left = False
        self._finished = False

    async def serve(self, receive: Receive) -> None:
        """Have the app serve the request; raise what the server must hear of."""
        try:
            await self._app(self._scope, receive, self._take)
            await self._release()
        except Exception as error:  # noqa: BLE001 - whatever an app raises is its answer
            failure = await self._settle(_unmasked(error))
        else:
            # A framework, or a middleware that swallows exceptions, has kept it back.
            failure = self._exchange.crash
        if failure is not None:
            raise failure

    async def _settle(self, error: Exception) -> Exception | None:
        if not self._started:
            is_crash = await answer_failure(error, self._scope, self._pass)
            return error if is_crash else None
        if self._has_left or isinstance(error, ClientDisconnect):
            return None  # the client, and so the need for the rest
        if not self._finished and self._exchange.crash is error:
            # Answered from inside, in full; a middleware has lost the end of it.
            await self._pass({"type": "http.response.body", "body": b""})
        if not self._finished and self._exchange.outer is None:
            what = "failed after its response had begun; the connection is aborted"
            log(logging.ERROR, what, self._scope, error)
        return error

    async def _take(self, message: Message) -> None:
        """Pass one message of the app on, perhaps as something else, perhaps later."""
        if self._finished and self._exchange.crash is not None:
            return  # a middleware answers what has been answered
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            # A list, as they are read more than once.
            message = {**message, "headers": headers_of(message)}
            if self._leads_nowhere(message) and await self._explain(message):
                return
        if self._held is None and may_repeat_status(message):
            self._held = message
        elif self._held is not None and repeats_status(self._held, message):
            await self._convert(message["body"].decode())
        else:
            await self._release()
            await self._pass(message)

    async def _release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            await self._pass(held)

    async def _convert(self, phrase: str) -> None:
        """Send a problem in place of the response whose start is held."""
        held, self._held = self._held or {}, None
        if held["status"] == _NOT_FOUND and await self._explain(held):
            return
        answer = answer_to(for_status(held["status"], phrase), self._scope)
        await self._send_instead(held, answer)

    def _leads_nowhere(self, start: Message) -> bool:
        """Tell whether a framework answers, by us, that it has no route."""
        return (
            start["status"] == _NOT_FOUND
            and self._exchange.problem is not None
            and self._exchange.problem.kind is NotFoundException
            and not _FRAMEWORKS.isdisjoint(self._scope)
        )

    async def _explain(self, start: Message) -> bool:
        """Send the page of a problem type in place of a 404, if this is its path."""
        if self._scope["method"] not in ("GET", "HEAD") or _has_handler(self._scope):
            return False
        pages = pages_of(self._exchange.contract)
        path = self._exchange.path
        # As it came; with what a proxy took off; without what it put before.
        for wanted in (path, self._root + path, self._path):
            if wanted in pages:
                self._is_replaced = True
                self._exchange.answered(None)
                headers = [
                    *PAGE_HEADERS,
                    (b"content-length", b"%d" % len(pages[wanted])),
                ]
                answer = Answer(_OK, headers, pages[wanted])
                await self._send_instead(start, answer)
                return True
        return False

    async def _send_instead(self, start: Message, answer: Answer) -> None:
        """Send `answer` with what others have added to the headers of `start`."""
        given = headers_of(start)
        kept = [pair for pair in given if pair[0].lower() not in _OF_THE_BODY]
        headers = add_missing(kept, answer.headers)
        await replace(answer, headers=headers).send(self._scope, self._pass)

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = self._completed(message)
            self._started = True
            self._has_trailers = bool(message.get("trailers"))
        else:
            last = ends_response(message, trailers=self._has_trailers)
            self._finished = self._finished or last
        try:
            await self._send(message)
        except OSError:  # as ASGI has it where the client has gone
            self._has_left = True
            raise

    def _completed(self, start: Message) -> Message:
        status = start["status"]
        if status == _METHOD_NOT_ALLOWED:
            start = {**start, "headers": self._with_all_methods(headers_of(start))}
        elif status == _TOO_MANY_REQUESTS:
            start = {**start, "headers": add_missing(headers_of(start), NOT_STORED)}
        return completed(
            start,
            self._exchange,
            self._security,
            self._scope,
            self._path,
        )

    def _with_all_methods(self, headers: RawHeaders) -> RawHeaders:
        said = b",".join(values_of(headers, b"allow")).decode("latin-1")
        asked = {name: self._scope[name] for name in ("type", "method", "headers")}
        found = allowed(self._app, {**asked, "path": self._path})
        if not found:
            return headers
        known = {method.strip() for method in said.split(",")} - {""}
        allow = ", ".join(sorted(known | found)).encode("latin-1")
        kept = [pair for pair in headers if pair[0].lower() != b"allow"]
        return [*kept, (b"allow", allow)]


def completed(
    start: Message,
    exchange: Exchange,
    security: SecurityHeaders | None,
    scope: Scope,
    path: str,
) -> Message:
    """Return a response's start, and in it what every response says.

    Args:
        start: Of a response, or of the refusal of a websocket. Headers that the app
            has set win.
        exchange: What the response is part of.
        security: Headers to add; None adds none.
        scope: The request, as it is now that it has been routed.
        path: What was asked for, relative to the app.

    """
    headers = headers_of(start)
    if not values_of(headers, request_id.HEADER):
        headers.append((request_id.HEADER, exchange.request_id.encode()))
    if exchange.decisions:
        status = start["status"]
        headers = with_fields(headers, exchange.decisions, time.time(), status)
    if security is not None:
        status, debug = start["status"], exchange.debug
        headers = secured(headers, status, security, scope, path=path, debug=debug)
    return {**start, "headers": headers}


def limited(accept: Message, exchange: Exchange) -> Message:
    """Return the acceptance of a websocket, and in it what limiters said."""
    if not exchange.decisions:
        return accept
    headers = headers_of(accept)
    charges, status = exchange.decisions, SWITCHING
    return {**accept, "headers": with_fields(headers, charges, time.time(), status)}


def _has_handler(scope: Scope) -> bool:
    """Tell whether a framework has found who is to handle the request."""
    found = scope.get("endpoint")  # for Starlette, a mounted app as well
    is_handler = inspect.isroutine(found) or inspect.isclass(found)
    return is_handler or scope.get("route_handler") is not None


def may_repeat_status(message: Message) -> bool:
    """Tell whether a response begins that may say no more than its own status."""
    if message["type"] != "http.response.start" or message.get("trailers"):
        return False
    if message["status"] < _BAD_REQUEST:
        return False
    headers = headers_of(message)
    kinds = values_of(headers, b"content-type")
    is_plain = all(kind.lower().startswith(b"text/plain") for kind in kinds)
    if not is_plain or values_of(headers, b"content-encoding"):
        return False
    lengths = values_of(headers, b"content-length")
    known = {b"%d" % len(phrase) for phrase in _phrases(message["status"])}
    return not lengths or not known.isdisjoint(lengths)


def repeats_status(start: Message, message: Message) -> bool:
    """Tell whether `message` is the whole body, and the phrase of the status."""
    is_whole = message["type"] == "http.response.body" and not message.get("more_body")
    return is_whole and message.get("body") in _phrases(start["status"])


def _phrases(status: int) -> set[bytes]:
    """Return a status's registered phrase: as it is now, and as it was."""
    title = with_status(AppException(), status).title
    return {title.encode(), _FORMER.get(status, title).encode()}


def _unmasked(error: Exception) -> Exception:
    while _is_too_late(error) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _is_too_late(error: Exception) -> bool:
    # Not str(error): it is the user's, and may raise.
    said = [*error.args, getattr(error, "detail", None)]
    return any(text in _TOO_LATE for text in said if isinstance(text, str))
