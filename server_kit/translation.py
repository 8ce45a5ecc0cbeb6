"""Which problem an exception stands for.

Nothing is sent, and no request is known in here.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException

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

_UNAVAILABLE: Final = 503


def problem_for(error: Exception) -> AppException | None:
    """Return the problem that `error` stands for; None if it is a crash.

    A group that holds a single exception counts as that one. A problem that came from
    another service, or from calling it, is not the caller's: see `_upstream`.
    """
    try:
        return _problem_for(error)
    except Exception:  # a status that is none, errors that cannot be listed
        logger.exception("%s stands for no problem", type(error).__name__)
        return None


def _problem_for(error: Exception) -> AppException | None:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, AppException):
        return _upstream(error) if error.received else error
    if isinstance(error, HTTPException):
        return problem_of_status(error.status_code, error.detail, error.headers)
    fastapi = sys.modules.get("fastapi.exceptions")  # raised only where it is imported
    if fastapi is not None and isinstance(error, fastapi.RequestValidationError):
        invalid: Any = error
        return from_pydantic(invalid.errors(), body=getattr(error, "body", None))
    return None


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
