"""Calls between services that survive a bad day: httpx clients that hold."""

from resilient_http.client import AsyncClient, Client, wrap
from resilient_http.context import deadline
from resilient_http.patterns import (
    CircuitBreaker,
    combine_circuit_breaker_and_retry,
    with_retry,
)
from resilient_http.policy import (
    BreakerConfig,
    ConcurrencyLimit,
    Hedge,
    Policy,
    RateLimit,
    RetryBudget,
    RetryConfig,
    Throttle,
)
from resilient_http.problems import (
    AppException,
    CircuitBreakerOpenException,
    ConcurrencyLimitException,
    Contract,
    DeadlineExceededException,
    ProblemDetail,
    RateLimitException,
)
from resilient_http.response import Response
from resilient_http.state import State
from resilient_http.transport import AsyncResilientTransport, ResilientTransport

__all__ = [
    "AppException",
    "AsyncClient",
    "AsyncResilientTransport",
    "BreakerConfig",
    "CircuitBreaker",
    "CircuitBreakerOpenException",
    "Client",
    "ConcurrencyLimit",
    "ConcurrencyLimitException",
    "Contract",
    "DeadlineExceededException",
    "Hedge",
    "Policy",
    "ProblemDetail",
    "RateLimit",
    "RateLimitException",
    "ResilientTransport",
    "Response",
    "RetryBudget",
    "RetryConfig",
    "State",
    "Throttle",
    "combine_circuit_breaker_and_retry",
    "deadline",
    "with_retry",
    "wrap",
]
