"""The same machines for any function: a breaker, and retries, as decorators.

::

    breaker = CircuitBreaker("auth", failure_threshold=5, recovery_timeout=60)

    @breaker                                # or: async with breaker: ...
    @with_retry(max_attempts=5)
    async def verify(token): ...

Functions may be async, on asyncio and on trio, or plain; a plain one may run in many
threads. Generators are refused when decorated: they would have returned, well, before
they did anything.
"""

from resilient_http.patterns.breaker import BreakerStats, CircuitBreaker, Passage
from resilient_http.patterns.retry import combine_circuit_breaker_and_retry, with_retry
from resilient_http.policy import RetryConfig
from resilient_http.problems import CircuitBreakerOpenException

__all__ = [
    "BreakerStats",
    "CircuitBreaker",
    "CircuitBreakerOpenException",
    "Passage",
    "RetryConfig",
    "combine_circuit_breaker_and_retry",
    "with_retry",
]
