"""A clock, and calls through a breaker that end as they are told."""

import pytest

from resilient_http.patterns import (
    CircuitBreaker,
)


class Clock:
    """Seconds that only move by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(OSError, match="down"), breaker:
            raise OSError("down")


def succeed(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with breaker:
            pass


def counts(breaker: CircuitBreaker) -> tuple[str, int, int]:
    stats = breaker.get_stats()
    return stats["state"], stats["failure_count"], stats["success_count"]
