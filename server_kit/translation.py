"""Which problem an exception stands for.

Nothing is sent, and no request is known in here.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from resilient_http.problems import (
    AppException,
    DeadlineExceededException,
    RateLimitException,
    UpstreamException,
    for_status,
    with_status,
)
from resilient_http.problems.contract import wire_type
from server_kit.validation import from_pydantic

logger: Final = logging.getLogger("server_kit")

Problem: TypeAlias = "type[AppException] | Callable[[Exception], AppException | None]"
Table: TypeAlias = Mapping[type[Exception], Problem]
"""What exceptions that are no problems stand for."""

NO_EXCEPTIONS: Final[Table] = MappingProxyType({})
_CLIENT_LEFT: Final = 499  # as nginx has it
_UNAVAILABLE: Final = 503
_FIRST_OF_SERVER: Final = 500


def checked_table(exceptions: object) -> Table:
    """Return a copy of a table of exceptions.

    Raises:
        TypeError: It is no table, or holds something that no exception can stand for.

    """
    if not isinstance(exceptions, Mapping):
        raise TypeError(f"exceptions must be a mapping, got {exceptions!r}")
    for raised, problem in exceptions.items():
        _check_entry(raised, problem)
    return dict(exceptions)


def _check_entry(raised: Any, problem: Any) -> None:
    where = f"exceptions[{getattr(raised, '__name__', raised)}]"
    if not (isinstance(raised, type) and issubclass(raised, Exception)):
        raise TypeError(f"exceptions must map exception classes, got {raised!r}")
    if issubclass(raised, AppException | ExceptionGroup):
        raise TypeError(f"{where}: problems and groups of exceptions are never mapped")
    if not isinstance(problem, type):
        if not callable(problem):
            raise TypeError(f"{where} must be a problem class, got {problem!r}")
        return
    if not issubclass(problem, AppException):
        raise TypeError(f"{where} must be a problem class, got {problem!r}")
    try:
        problem()
    except TypeError as error:
        raise TypeError(
            f"{where} cannot be raised without arguments: {error}"
        ) from None


def problem_for(error: Exception, table: Table = NO_EXCEPTIONS) -> AppException | None:
    """Return the problem that `error` stands for; None if it is a crash.

    A group counts as the most urgent of its exceptions, if all of them stand for
    problems (RFC 9457, section 3): the first for which the server is to blame, else
    the first. A problem that came from another service, or from calling it, is not the
    caller's: see `_upstream`.

    Args:
        error: What was raised.
        table: What other libraries' exceptions stand for.

    """
    try:
        return _problem_for(error, table)
    except Exception:  # a status that is none, errors that cannot be listed
        logger.exception("%s stands for no problem", type(error).__name__)
        return None


def _problem_for(error: Exception, table: Table) -> AppException | None:
    if isinstance(error, ExceptionGroup):
        return _most_urgent([_problem_for(inner, table) for inner in error.exceptions])
    if isinstance(error, AppException):
        return _upstream(error) if error.received else error
    for cls in type(error).__mro__:
        if cls in table:
            return _mapped(table[cls], error)
        known = _of_framework(cls, error)
        if known is not None:
            return known
    return None


def _of_framework(cls: type, error: Any) -> AppException | None:
    """Return what `error` stands for as a `cls`, if that is a framework's own."""
    if cls is HTTPException:
        return problem_of_status(error.status_code, error.detail, error.headers)
    if cls is ClientDisconnect:  # nobody is there to read it; logs call it so
        return for_status(_CLIENT_LEFT, "The client left before it was answered")
    if cls in _invalid_requests():
        return from_pydantic(error.errors(), body=getattr(error, "body", None))
    return None


def _most_urgent(problems: Sequence[AppException | None]) -> AppException | None:
    found = [problem for problem in problems if problem is not None]
    if len(found) < len(problems):
        return None
    ours = [problem for problem in found if problem.status >= _FIRST_OF_SERVER]
    return (ours or found)[0]


def _mapped(problem: Problem, error: Exception) -> AppException | None:
    found: Any = problem() if isinstance(problem, type) else problem(error)
    if found is None:
        return None
    if not isinstance(found, AppException):
        name = type(error).__name__
        raise TypeError(f"exceptions[{name}] must return a problem, got {found!r}")
    if found.__cause__ is None:
        found.__cause__ = error
    return found


def _invalid_requests() -> tuple[Any, ...]:
    """Return FastAPI's classes for what callers get wrong, if it is imported."""
    fastapi = sys.modules.get("fastapi.exceptions")
    if fastapi is None:
        return ()
    return fastapi.RequestValidationError, fastapi.WebSocketRequestValidationError


def problem_of_status(
    status: int, detail: object, headers: object = None
) -> AppException:
    """Return the problem for a framework's exception that is little but a status.

    Args:
        status: Any, though below 400 the answer will have no body.
        detail: Text; anything else becomes the extension member `details`.
        headers: A mapping; values that are no text are written as text.

    """
    text = detail if isinstance(detail, str) else None
    extra = None if text is not None or detail is None else {"details": detail}
    fields = headers if isinstance(headers, Mapping) else {}
    named = {plain(name): plain(value) for name, value in fields.items()}
    return for_status(int(status), text, headers=named, extra=extra)


def _upstream(error: AppException) -> UpstreamException:
    """Return what the caller is told of a problem that is another service's, or ours.

    Neither its status, which says nothing about the caller's request, nor its detail,
    which was not meant for them. That is its cause, for the log.
    """
    status = _upstream_status(error)
    answered = None if error.response is None else error.status
    problem = UpstreamException(
        "A service that this one depends on could not be used",
        upstream_type=wire_type(error),
        upstream_status=answered,
        retry_after=error.retry_after if status == _UNAVAILABLE else None,
    )
    problem.__cause__ = error
    return with_status(problem, status)


def _upstream_status(error: AppException) -> int:
    if isinstance(error, DeadlineExceededException):
        return 504
    is_own_limit = isinstance(error, RateLimitException) and error.response is None
    # An open breaker's and a full bulkhead's status are 503 as well.
    is_unavailable = is_own_limit or error.status == _UNAVAILABLE
    return _UNAVAILABLE if is_unavailable else 502


def plain(value: object) -> str:
    """Return a header's name or value as text."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
