"""Exceptions out, problem documents on the wire.

One way for all of them, whoever asks (`wrap`, a middleware, a registered handler)::

    exception -> problem_for() -> AppException -> answer_to() -> Answer -> send()
                     None: a crash -> crash_of() --^

Nothing in here raises for what it is given: an error response is the wrong place for a
second error.
"""

import logging
import math
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import pydantic
from starlette.requests import HTTPConnection
from starlette.responses import Response

from resilient_http import context
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    Contract,
    IdempotencyKeyInProgressException,
    InternalServerException,
    UpstreamException,
    ValidationException,
    encode,
)
from resilient_http.problems.exception import contract_class
from server_kit import request_id
from server_kit.asgi import RawHeaders, Scope, Send, headers_of, values_of
from server_kit.exchange import Told, exchange_of
from server_kit.translation import NO_EXCEPTIONS, plain, problem_for
from server_kit.validation import from_pydantic

logger: Final = logging.getLogger("server_kit")

BUILT_INS: Final = Contract()
"""How problems are written where nothing else was asked for."""

NOT_STORED: Final[RawHeaders] = [(b"cache-control", b"no-store")]
"""On every 429, of problems and others (RFC 6585, section 4)."""

# RFC 9110, section 8.6: neither a body nor a length of one.
_SILENT: Final = frozenset({*range(100, 200), 204, 304})
_FIRST_ERROR: Final = 400
_TOO_MANY: Final = 429
_FIRST_OF_SERVER: Final = 500
_UNAVAILABLE: Final = 503
_LAST_RESORT: Final = encode(
    {"type": "internal-server-error", "title": "Internal Server Error", "status": 500}
)
# RFC 9110, section 5.1 and 5.5. What else a name or value holds could end the header.
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_OURS: Final = frozenset({b"content-type", b"content-length", b"transfer-encoding"})
_IN_PATH: Final = "/:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, ready to be sent."""

    status: int
    headers: RawHeaders
    body: bytes

    def body_for(self, scope: Scope) -> bytes:
        """Return what follows the headers: nothing, for HEAD."""
        return b"" if scope.get("method") == "HEAD" else self.body

    async def send(self, scope: Scope, send: Send) -> None:
        """Send all of it."""
        start = {"type": "http.response.start", "status": self.status}
        await send({**start, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.body_for(scope)})


async def send_problem(error: AppException, scope: Scope, send: Send) -> None:
    """Answer the request of `scope` with `error`, inside a wrapped app or without one.

    Headers of the error that HTTP does not allow (line breaks, characters outside
    Latin-1, names that are no tokens) are left out, and logged.
    """
    await answer_to(error, scope).send(scope, send)


def crash_of(error: Exception, scope: Scope) -> AppException:
    """Return the problem for an error nobody expected. In debug it tells which."""
    exchange = exchange_of(scope)
    if exchange is None or not exchange.debug:
        return InternalServerException("The server failed to answer this request")
    lines = traceback.format_exception(error)
    return InternalServerException(_said_by(error), extra={"traceback": lines})


async def answer_failure(error: Exception, scope: Scope, send: Send) -> bool:
    """Answer the request of `scope`, whose handler raised `error`.

    Returns:
        Whether it was a crash, which the server must still hear of.

    """
    answer, is_crash = answer_of(error, scope)
    await answer.send(scope, send)
    return is_crash


def answer_of(error: Exception, scope: Scope) -> tuple[Answer, bool]:
    """Return the answer to `error`, and whether it was a crash. See `told`."""
    problem, is_crash = told(error, scope)
    answer = answer_to(problem, scope)
    if is_crash and str(scope.get("http_version", "")).startswith("1"):
        # Servers drop the connection when they are told of the crash. A client that is
        # not told would send its next request into it.
        answer = replace(answer, headers=[*answer.headers, (b"connection", b"close")])
    return answer, is_crash


def told(error: Exception, scope: Scope) -> tuple[AppException, bool]:
    """Return what the caller is told of `error`, and whether it was a crash.

    A crash is noted in the exchange. What is logged here is what they are not told.
    """
    problem = known_problem(error, scope)
    if problem is not None:
        _log_cause(problem, error, scope)
        return problem, False
    exchange = exchange_of(scope)
    if exchange is not None:
        exchange.crashed(error)
    # Not the traceback: the server logs it. This line ties it to the request's id.
    log(logging.ERROR, f"crashed: {type(error).__name__}", scope)
    return crash_of(error, scope), True


def known_problem(error: Exception, scope: Scope) -> AppException | None:
    """Return the problem that `error` stands for here; None if it is a crash."""
    exchange = exchange_of(scope)
    table = NO_EXCEPTIONS if exchange is None else exchange.exceptions
    return problem_for(error, table)


def _log_cause(problem: AppException, error: Exception, scope: Scope) -> None:
    cause = problem.__cause__
    if isinstance(problem, UpstreamException) and cause is not None:
        log(logging.WARNING, f"failed upstream: {_said_by(cause)}", scope)
    elif cause is error and problem.status >= _FIRST_OF_SERVER:
        log(logging.WARNING, f"answered {problem.status}", scope, error)


def _said_by(error: BaseException) -> str:
    # Not str(error), which is the user's and may raise.
    return traceback.format_exception_only(error)[-1].strip()


def log(
    level: int, what: str, scope: Scope, error: BaseException | None = None
) -> None:
    """Log what became of the request of `scope`, with the traceback of `error`."""
    known = _request_id(scope)
    said = (known, scope.get("method", scope["type"]), _instance(scope), what)
    extra = {"request_id": known}
    logger.log(level, "%s %s %s %s", *said, exc_info=error, extra=extra)


def answer_to(error: AppException, scope: Scope) -> Answer:
    """Return the answer to the request of `scope` that carries `error`."""
    try:
        return _answer(error, scope)
    except Exception:  # members are users' objects, and may raise anything when read
        logger.exception("a problem of %s could not be written", type(error).__name__)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(_LAST_RESORT)),
        ]
        return Answer(500, headers, _LAST_RESORT)


def _answer(error: AppException, scope: Scope) -> Answer:
    headers = _legal(error.headers or {})
    if error.status < _FIRST_ERROR:
        length = [] if error.status in _SILENT else [(b"content-length", b"0")]
        return Answer(error.status, length + headers, b"")
    exchange = exchange_of(scope)
    contract = BUILT_INS if exchange is None else exchange.contract
    document = contract.document(
        error, instance=_occurrence(scope), request_id=_request_id(scope)
    )
    if isinstance(error, ValidationException):
        document["errors"] = [_without_none(fault) for fault in document["errors"]]
    if exchange is not None:
        kind = contract_class(type(error))
        exchange.answered(Told(kind, str(document["type"]), error.status))
    body = encode(document)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    return Answer(error.status, headers + _implied(error, headers), body)


def _without_none(fault: Any) -> Any:
    if not isinstance(fault, dict):  # what could not be written as one
        return fault
    return {name: value for name, value in fault.items() if value is not None}


def _implied(error: AppException, headers: RawHeaders) -> RawHeaders:
    """Return what a problem of this kind says in headers, where `headers` do not."""
    implied: RawHeaders = []
    may_wait = error.status in (_TOO_MANY, _UNAVAILABLE)
    if isinstance(error, IdempotencyKeyInProgressException):
        may_wait = True
    if may_wait and error.retry_after is not None:
        # RFC 9110, section 10.2.3. Whole seconds, and none too few.
        wait = max(1, math.ceil(error.retry_after))
        implied.append((b"retry-after", b"%d" % wait))
    if error.status == _TOO_MANY:
        implied += NOT_STORED
    return [pair for pair in implied if not values_of(headers, pair[0])]


def _legal(headers: Mapping[str, Any]) -> RawHeaders:
    legal = []
    for name, value in headers.items():
        try:
            pair = name.lower().encode("ascii"), plain(value).encode("latin-1").strip()
        except UnicodeEncodeError:
            pair = b"", b""
        if pair[0] in _OURS:
            continue
        if _NAME.fullmatch(pair[0]) and _VALUE.fullmatch(pair[1]):
            legal.append(pair)
        else:
            logger.warning("left out a header that HTTP does not allow: %r", name)
    return legal


def _occurrence(scope: Scope) -> str:
    exchange = exchange_of(scope)
    if exchange is not None and exchange.instance == "urn":
        return uuid4().urn
    return _instance(scope)


def _instance(scope: Scope) -> str:
    exchange = exchange_of(scope)
    path = str(scope.get("path", "")) if exchange is None else exchange.path
    return quote(path, safe=_IN_PATH, errors="replace")


def _request_id(scope: Scope) -> str | None:
    exchange = exchange_of(scope)
    if exchange is not None:
        return exchange.request_id
    known = context.request_id.get()
    headers = headers_of(scope)
    if known is not None or not values_of(headers, request_id.HEADER):
        return known
    return request_id.choose(headers)


class ProblemResponse(Response):
    """An answer, for frameworks that want a Starlette response."""

    def __init__(self, answer: Answer, scope: Scope) -> None:
        super().__init__(answer.body_for(scope), answer.status)
        self.raw_headers = list(answer.headers)


async def app_exception_handler(request: HTTPConnection, exc: Exception) -> Response:
    """Answer an `AppException`; register it with `app.add_exception_handler`.

    In a wrapped app there is no need to.
    """
    return _respond(request, exc)


async def validation_exception_handler(
    request: HTTPConnection, exc: Exception
) -> Response:
    """Answer FastAPI's `RequestValidationError` with a 422 that names the fields."""
    return _respond(request, exc)


async def pydantic_validation_exception_handler(
    request: HTTPConnection, exc: Exception
) -> Response:
    """Answer a pydantic `ValidationError` that a handler lets escape with a 422.

    For apps that validate what the caller sent by themselves. Not done by `wrap`: the
    invalid data may as well be our own, which is a crash.
    """
    if not isinstance(exc, pydantic.ValidationError):
        return _respond(request, exc)
    errors = exc.errors(include_url=False, include_context=False)
    return _respond(request, from_pydantic(errors, located=False))


async def generic_exception_handler(
    request: HTTPConnection, exc: Exception
) -> Response:
    """Answer anything: a crash with a 500 that says nothing about it.

    Registered for `Exception`, Starlette raises the exception again after the answer,
    and the server logs it.
    """
    return _respond(request, exc)


def _respond(request: HTTPConnection, exc: Exception) -> Response:
    answer, _ = answer_of(exc, request.scope)
    return ProblemResponse(answer, request.scope)
