"""Which exceptions are meant by a class that a user has written down."""

from typing import Final

from resilient_http.problems import (
    CircuitBreakerOpenException,
    ConcurrencyLimitException,
    DeadlineExceededException,
    RateLimitException,
)

Kinds = tuple[type[Exception], ...]

REFUSALS: Final[Kinds] = (
    CircuitBreakerOpenException,
    ConcurrencyLimitException,
    RateLimitException,
)
"""What refuses work on purpose: it tells nothing of the health of the dependency."""

NOT_RETRIED: Final[Kinds] = (*REFUSALS, DeadlineExceededException)
"""What is not cured by trying at once again."""


def is_one(error: BaseException, kinds: Kinds, *, unless_named: Kinds) -> bool:
    """Say whether `error` is of `kinds`.

    One of `unless_named` is only if its own class was written down: `Exception` does
    not mean it. A group is, if one of its members is.
    """
    if isinstance(error, BaseExceptionGroup):
        inner = error.exceptions
        return any(is_one(one, kinds, unless_named=unless_named) for one in inner)
    if isinstance(error, unless_named):
        kinds = tuple(kind for kind in kinds if issubclass(kind, unless_named))
    return isinstance(error, kinds)
