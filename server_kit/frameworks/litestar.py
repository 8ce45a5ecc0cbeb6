"""Litestar: one handler for what its users have not registered one for.

Litestar looks for a handler by status, then by the classes of the exception, from the
route outwards. Ours stands at the very end of that, on the app and under `Exception`,
where anything of the user's is found before it.
"""

import re
from typing import Any, Final, TypeAlias

from litestar import Litestar, Request
from litestar.exceptions import (
    HTTPException,
    ValidationException,
    WebSocketException,
)
from litestar.exceptions.responses import (
    create_debug_response,
    create_exception_response,
)
from starlette.exceptions import HTTPException as StarletteHTTPException

from resilient_http.problems import AppException, ValidationError, for_status
from resilient_http.problems import ValidationException as InvalidRequest
from server_kit.asgi import ASGIApp, Receive, Scope, Send
from server_kit.exchange import exchange_of
from server_kit.frameworks.starlette import handles_clients
from server_kit.problems import Answer, answer_of, answer_to, known_problem
from server_kit.translation import problem_of_status
from server_kit.validation import LOCATIONS, from_pydantic, pointer, problem_of

AnyRequest: TypeAlias = Request[Any, Any, Any]

_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
"""One step of a key such as `items[0].name`."""

_MISSING_PARAMETER: Final = re.compile(r"Missing required (\w+) parameter '(.+?)' for ")
_MISSING_FIELD: Final = re.compile(r"Object missing required field `(.+?)`")


def adopt(app: Litestar) -> None:
    """Put our handler into `app`; what is there already stays."""
    # The router holds this very dict: it must be changed in place.
    handlers: dict[Any, Any] = app.exception_handlers
    theirs = handlers.get(StarletteHTTPException)
    if getattr(theirs, "__module__", "").startswith("litestar."):
        handlers[StarletteHTTPException] = _Ours(theirs)
    if not handles_clients(handlers):
        handlers.setdefault(AppException, _Ours())
    handlers.setdefault(Exception, _Ours())
    if _note not in app.after_exception:
        app.after_exception.append(_note)


async def _note(error: Exception, scope: Any) -> None:
    """Note what ends a websocket: Litestar has no handlers for that."""
    exchange = exchange_of(scope)
    is_told = isinstance(error, WebSocketException)  # the code and the reason to give
    if exchange is None or is_told or scope["type"] != "websocket":
        return
    if isinstance(error, HTTPException) and known_problem(error, scope) is None:
        error = _problem(error)
    exchange.raised = error


class _Ours:
    """Answer with a problem where a wrapped app is being served, else as Litestar."""

    def __init__(self, default: Any = None) -> None:
        self._default = _as_litestar if default is None else default

    def __call__(self, request: AnyRequest, error: Exception) -> Any:
        scope: Any = request.scope  # typed by Litestar, key by key
        if exchange_of(scope) is None:
            return self._default(request, error)
        if _is_crash(error, scope):
            # Litestar asks the user's handler of status 500 after that of Exception.
            users = _handlers(request).get(500)
            if users is not None:
                return users(request, error)
        return _Response(_answer(error, scope))


def _is_crash(error: Exception, scope: Scope) -> bool:
    is_litestars = isinstance(error, HTTPException)
    return not is_litestars and known_problem(error, scope) is None


class _Response:
    """An answer, for Litestar, which asks a response for an ASGI app."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def to_asgi_response(self, *_: object, **__: object) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - as ASGI has it
            await self._answer.send(scope, send)

        return app


def _handlers(request: AnyRequest) -> Any:
    handler = request.scope.get("route_handler")
    if handler is None:
        return request.app.exception_handlers
    return handler.resolve_exception_handlers()


def _as_litestar(request: AnyRequest, error: Exception) -> Any:
    if getattr(error, "status_code", 500) == 500 and request.app.debug:  # noqa: PLR2004 - the crash of a handler
        return create_debug_response(request, error)
    return create_exception_response(request, error)


def _answer(error: Exception, scope: Scope) -> Answer:
    if isinstance(error, HTTPException) and known_problem(error, scope) is None:
        return answer_to(_problem(error), scope)
    answer, _ = answer_of(error, scope)
    return answer


def _problem(error: HTTPException) -> AppException:
    if error.status_code == 500:  # noqa: PLR2004 - Litestar, too, keeps to itself why
        return for_status(500, headers=error.headers)
    if isinstance(error, ValidationException) and error.status_code == 400:  # noqa: PLR2004 - what it has unless told otherwise
        return _invalid(error)
    problem = problem_of_status(error.status_code, error.detail, error.headers)
    if error.extra is not None:
        problem.extra = {"details": error.extra}
    return problem


def _invalid(error: ValidationException) -> InvalidRequest:
    parameter = _MISSING_PARAMETER.match(error.detail)
    if parameter is not None:
        return problem_of([_missing_parameter(*parameter.groups())])
    faults = error.extra if isinstance(error.extra, list) else []
    if not faults:
        return InvalidRequest(error.detail, headers=error.headers)
    if any("loc" in fault for fault in faults if isinstance(fault, dict)):
        return from_pydantic(faults, located=False)
    return problem_of([_fault(fault) for fault in faults if isinstance(fault, dict)])


def _missing_parameter(location: str, name: str) -> ValidationError:
    return ValidationError(
        field=name, message="Field required", type="missing", location=location
    )


def _fault(said: dict[str, Any]) -> ValidationError:
    """Return what Litestar's own validation says of one field; it gives no value."""
    source = getattr(said.get("source"), "value", said.get("source"))
    location = source if source in LOCATIONS else "body"
    message = str(said.get("message", "Invalid value"))
    key = str(said.get("key", ""))
    path = [] if key == "data" else _path(key)
    missing = _MISSING_FIELD.match(message)
    if missing is not None:
        path.append(missing[1])
    is_missing = missing is not None or message == "Field required"
    return ValidationError(
        field=".".join(map(str, path)) or location,
        message=message,
        type="missing" if is_missing else "invalid",
        pointer=pointer(path) if location == "body" else None,
        location=location,
    )


def _path(key: str) -> list[str | int]:
    steps = _STEP.findall(key)
    return [int(number) if number else name for number, name in steps]
