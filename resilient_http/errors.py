"""What the client raises, inside httpx's own family.

Code that degrades on `httpx.HTTPError` must keep degrading on the day a breaker opens,
and code that reads `error.response` on the day a service names its problems. So what is
raised is the contract's class **and** one of httpx's: the broadest that fits, never a
leaf such as `ConnectError`, which retry rules look for and which did not happen.

    HTTPError
        HTTPStatusError        any problem that came as an answer
        TransportError         CircuitBreakerOpenException, RateLimitException,
                               ConcurrencyLimitException: nothing was sent;
                               UpstreamException: a body that is too large
            TimeoutException   DeadlineExceededException
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar, cast

from resilient_http._core.attempt import Attempt
from resilient_http._core.lane import HeldBack, TooSoon
from resilient_http._core.steps import NoPlace, Refused
from resilient_http._core.verdict import Fault
from resilient_http._hands.http2 import was_not_processed, was_provoked
from resilient_http.family import Family, Kinds
from resilient_http.problems import (
    AppException,
    CircuitBreakerOpenException,
    ConcurrencyLimitException,
    DeadlineExceededException,
    RateLimitException,
    UpstreamException,
)

_NEVER_MADE: Final = ("ClientConnectorError", "ConnectionTimeoutError")
"""What aiohttp raises while it connects."""

_Problem = TypeVar("_Problem", bound=AppException)


def fault_of(error: Exception, retryable: Kinds | None, family: Family) -> Fault:
    """Say what an exception in place of an answer means.

    Args:
        error: What the transport raised.
        retryable: What may not happen next time; None for what is passing in
            the family.
        family: Of the client.

    """
    provoked = was_provoked(error, family)
    # What is ours was raised on this side: a refusal of a transport inside, a bound.
    ours = isinstance(error, (*family.own_faults, AppException))
    own = ours and not provoked
    passing = provoked or (isinstance(error, family.passing) and not own)
    return Fault(
        retryable=passing if retryable is None else isinstance(error, retryable),
        nothing_sent=isinstance(error, family.nothing_sent) and not _was_made(error),
        not_processed=was_not_processed(error, family),
        callers_own=own,
    )


def _was_made(error: Exception) -> bool:
    """Whether the connection was made, after all, that is said not to have been.

    httpx-aiohttp raises `ConnectTimeout` for connections that break at any time.
    """
    cause = type(error.__cause__)
    never_made = any(kind.__name__ in _NEVER_MADE for kind in cause.__mro__)
    return cause.__module__.startswith("aiohttp.") and not never_made


def answered(
    problem: AppException, response: Any, attempts: tuple[Attempt, ...], family: Family
) -> AppException:
    """Return `problem`, as an `HTTPStatusError` too."""
    return _as(
        problem,
        family.http.HTTPStatusError,
        response=response,
        request=response.request,
        attempts=attempts,
        received=True,
    )


def refused(by: Refused, origin: str, request: Any, family: Family) -> AppException:
    """Return the refusal to send, as a `TransportError` too."""
    problem = _refusal(by, origin)
    return _as(problem, family.http.TransportError, request=request, received=True)


def _refusal(by: Refused, origin: str) -> AppException:
    if isinstance(by, TooSoon):
        whose = "our own limit" if by.is_ours else "its limit"
        text = f"{origin}: {whose} is reached; ask again in {by.retry_after:.3g} s"
        return RateLimitException(text, retry_after=by.retry_after)
    if isinstance(by, HeldBack):
        text = f"{origin} turns most calls away; {by.share:.0%} are held back here"
        return RateLimitException(text)
    if isinstance(by, NoPlace):
        return ConcurrencyLimitException(f"{origin}: too many calls are in flight")
    if by.retry_after == math.inf:
        return CircuitBreakerOpenException(f"{origin} is held open by hand")
    wait = by.retry_after
    until = f"ask again in {wait:.1f} s" if wait > 0 else "others are trying it"
    return CircuitBreakerOpenException(
        f"{origin} has been failing; {until}", retry_after=wait
    )


def too_large(most: int, request: Any, family: Family) -> UpstreamException:
    """Return what ends a body that is larger than allowed, as a `TransportError`."""
    problem = UpstreamException(f"the answer has more than {most} bytes")
    return _as(problem, family.http.TransportError, request=request, received=True)


def deadline_exceeded(
    seconds: float, request: Any, attempts: tuple[Attempt, ...], family: Family
) -> DeadlineExceededException:
    """Return the end of a call's time, as a `TimeoutException` too."""
    problem = DeadlineExceededException(f"not done within {seconds:.3g} s")
    return _as(
        problem,
        family.http.TimeoutException,
        request=request,
        attempts=attempts,
        received=True,
    )


def _as(problem: _Problem, base: type[Exception], **attributes: Any) -> _Problem:
    """Return `problem` as a new object that is a `base` as well."""
    kinds: Any = (type(problem), base)  # mypy takes no class for hashable
    cls = _woven(*kinds)
    # Past __init__: httpx's asks for a message, ours for members; both are here.
    woven = cls.__new__(cls, *problem.args)
    state: Mapping[str, Any] = vars(problem)
    vars(woven).update(state, **attributes)
    return cast("_Problem", woven)


@cache
def _woven(cls: Any, base: Any) -> type[AppException]:
    body = {"_woven": True, "__module__": cls.__module__, "__doc__": cls.__doc__}
    return cast("type[AppException]", type(cls.__name__, (cls, base), body))
