"""The same names on httpx2, the maintained fork of httpx.

What they do is written once, for both families; see `resilient_http`. Policies,
contracts, problems and state are the same objects, so that one `State` may be shared by
clients of both.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

import httpcore2
import httpx2

from resilient_http.client import AsyncCalls, SyncCalls, rewrap
from resilient_http.context import deadline
from resilient_http.events import Listener
from resilient_http.family import Family
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
from resilient_http.state import State
from resilient_http.transport import AsyncTransport, SyncTransport

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
    "RetryBudget",
    "RetryConfig",
    "State",
    "Throttle",
    "combine_circuit_breaker_and_retry",
    "deadline",
    "with_retry",
    "wrap",
]

HTTPX2: Final = Family(httpx2, httpcore2)

_Client = TypeVar("_Client", httpx2.AsyncClient, httpx2.Client)


class AsyncClient(AsyncCalls, httpx2.AsyncClient):
    """An `httpx2.AsyncClient` whose calls survive a bad day.

    See `resilient_http.AsyncClient`.
    """

    _family = HTTPX2


class Client(SyncCalls, httpx2.Client):
    """An `httpx2.Client` whose calls survive a bad day.

    See `resilient_http.AsyncClient`.
    """

    _family = HTTPX2


class AsyncResilientTransport(AsyncTransport, httpx2.AsyncBaseTransport):
    """Send through `inner` under a policy; for clients that are not ours.

    See `resilient_http.AsyncResilientTransport`.
    """

    _family = HTTPX2


class ResilientTransport(SyncTransport, httpx2.BaseTransport):
    """Send through `inner` under a policy; for clients that are not ours.

    See `resilient_http.AsyncResilientTransport`.
    """

    _family = HTTPX2


def wrap(  # noqa: PLR0913 - what a client may be told, each by its name
    client: _Client,
    policy: Policy | None = None,
    contract: Contract | None = None,
    state: State | None = None,
    *,
    listeners: Iterable[Listener] = (),
    routes: Mapping[str, Policy] | None = None,
) -> _Client:
    """Make an existing httpx2 client resilient, in place, and return it.

    See `resilient_http.wrap`.

    Raises:
        TypeError: It is not an httpx2 client.

    """
    wrapped: _Client = rewrap(
        client,
        (AsyncClient, Client),
        policy=policy,
        contract=contract,
        state=state,
        listeners=listeners,
        routes=routes,
    )
    return wrapped
