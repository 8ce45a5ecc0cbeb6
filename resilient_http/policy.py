"""What a user may decide, as frozen values that are checked when they are made.

Durations are seconds, rates are shares between 0 and 1. Where None is allowed it
switches the part off. A value that makes no sense is refused here, by a `TypeError` or
`ValueError` that names the field and shows the value: never later, inside a call.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from resilient_http._checks import (
    check_choice,
    check_count,
    check_flag,
    check_kind,
    check_number,
    check_rate,
    is_int,
    wrong,
)

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
"""Methods that ask for nothing to be changed (RFC 9110, section 9.2.1; QUERY is of
draft-ietf-httpbis-safe-method-w-body)."""

IDEMPOTENT: Final = SAFE | {"PUT", "DELETE"}
"""Methods a client may repeat on its own (RFC 9110, section 9.2.2)."""

_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LEAST_STATUS: Final = 100
_MOST_STATUS: Final = 999  # three digits: RFC 9110, section 15


class Unchosen(float):
    """A number of seconds that is our default and nobody's choice.

    Equal to the plain number and used like it. What a user sets always holds; what
    nobody chose may give way to what httpx alone would have completed.
    """

    __slots__ = ()


DEFAULT_DEADLINE: Final = Unchosen(30.0)
"""`Policy.deadline` where nobody chose one."""

DEFAULT_ATTEMPT_TIMEOUT: Final = Unchosen(10.0)
"""`Policy.attempt_timeout` where nobody chose one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """When a call is tried again, and how long to wait before.

    The wait before retry n is drawn evenly from 0 to
    ``min(max_delay, base_delay * 2 ** (n - 1))`` ("full jitter").
    """

    max_attempts: int = 3
    """Sends per call, the first included."""

    base_delay: float = 0.05
    """Ceiling of the first wait; it doubles with each retry."""

    max_delay: float = 5.0
    """Ceiling of every wait that we choose ourselves; a `Retry-After` may be longer."""

    jitter: Literal["full"] = "full"
    """How a wait is drawn below its ceiling."""

    statuses: Collection[int] = _STATUSES
    """Statuses that may be different next time; kept as a frozenset."""

    max_retry_after: float | None = 10.0
    """Longest `Retry-After` that is waited for; a longer one ends the call.
    None: the deadline alone decides."""

    retryable_exceptions: tuple[type[Exception], ...] | None = None
    """Exceptions that may not happen next time. None: for a client the timeouts and
    network errors of its family; for a decorated function every `Exception`."""

    def __post_init__(self) -> None:
        check_count(self, "max_attempts")
        check_number(self, "base_delay", least=0)
        check_number(self, "max_delay", least=0)
        if self.jitter != "full":
            raise ValueError(wrong(self, "jitter", "'full'"))
        object.__setattr__(self, "statuses", _statuses(self))
        check_number(self, "max_retry_after", least=0, optional=True)
        if self.retryable_exceptions is not None:
            object.__setattr__(self, "retryable_exceptions", _exceptions(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """When calls to an ailing dependency are refused at once, and for how long.

    Names follow resilience4j and Polly where those agree. A *send* is one try on the
    wire; a *call* is what the caller asked for, all its sends together.
    """

    failure_rate: float = 0.5
    """Share of failed sends in the window at which the breaker opens."""

    minimum_calls: int = 10
    """Sends the window must hold before a share of them means anything."""

    window: float = 30.0
    """How far back sends are counted."""

    failure_threshold: int = 5
    """Failed calls in a row that open the breaker of a quiet dependency: one whose
    window holds fewer than `minimum_calls` sends."""

    slow_call: float | None = None
    """A send that takes longer than this is slow. None: none is."""

    slow_rate: float = 1.0
    """Share of slow sends in the window at which the breaker opens."""

    recovery_timeout: float = 5.0
    """How long the first break lasts; the next ones double."""

    max_recovery_timeout: float = 60.0
    """Longest break; where `recovery_timeout` is longer, every break lasts that."""

    success_threshold: int = 2
    """Probes that must succeed, since the breaker was half-open, to close it."""

    half_open_max_calls: int = 1
    """Probes that may be out at once."""

    probe_lease: float = 10.0
    """How long a probe may hold its place; then the place is free for another call,
    whose answer counts instead. Not less than a healthy answer takes."""

    ramp: float | None = 10.0
    """Time after closing over which the bound on calls in flight grows from 1 until it
    is lifted. None or 0: no bound."""

    metrics_only: bool = False
    """Whether the breaker only counts and tells, and refuses nothing: to see what it
    would do before it does."""

    def __post_init__(self) -> None:
        check_rate(self, "failure_rate")
        check_count(self, "minimum_calls")
        check_number(self, "window", above=0)
        check_count(self, "failure_threshold")
        check_number(self, "slow_call", above=0, optional=True)
        check_rate(self, "slow_rate")
        check_number(self, "recovery_timeout", least=0)
        check_number(self, "max_recovery_timeout", least=0)
        check_count(self, "success_threshold")
        check_count(self, "half_open_max_calls")
        check_number(self, "probe_lease", above=0)
        check_number(self, "ramp", least=0, optional=True)
        check_flag(self, "metrics_only")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """How many retries and hedges an origin is sent while it answers badly.

    Tokens, full at first. A retry or hedge pays when it is scheduled, or is not sent. A
    call that succeeds in the end gets its last payment back; one that succeeds at once
    earns 1. So failures here and there pay for themselves, and an outage ends them.

    What the origin had no room for is also not retried while more calls are refused so
    than succeed: there is none to be found, and each refusal costs the origin as well.
    """

    capacity: float = 500
    """Tokens there are at first and at most. 0: no retries."""

    cost: float = 14
    """Tokens that a retry or hedge pays. 0: nothing."""

    throttled_cost: float = 5
    """Tokens paid instead for a retry of what the server asked to have less of. Not of
    what it had no room for: that server is short of more than patience."""

    def __post_init__(self) -> None:
        check_number(self, "capacity", least=0)
        check_number(self, "cost", least=0)
        check_number(self, "throttled_cost", least=0)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many calls may begin in a span of time.

    In any t seconds, at most ``burst + t * limit / window``.
    """

    limit: int
    """Calls in each `window`, in the long run."""

    window: float
    """Seconds."""

    burst: int | None = field(default=None, kw_only=True)
    """Calls that may begin at once after a pause. None: `limit`; 1: evenly spaced."""

    mode: Literal["wait", "reject"] = field(default="wait", kw_only=True)
    """Whether a call that comes too soon waits for its turn or is refused."""

    def __post_init__(self) -> None:
        check_count(self, "limit")
        check_number(self, "window", above=0)
        check_count(self, "burst", optional=True)
        check_choice(self, "mode", ("wait", "reject"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyLimit:
    """How many calls one origin may be busy with, and how many may wait for that.

    A call counts until its body is closed.
    """

    limit: int = 20
    """Calls in flight; where it adapts, what it starts from."""

    adaptive: Literal["gradient2", "aimd"] | None = None
    """How the limit follows what the origin can bear, between 1 and ten times `limit`:
    by its round-trip times, or by its refusals alone. None: it is fixed."""

    queue: int = 0
    """Calls that may wait for a place. 0: who finds none is refused."""

    def __post_init__(self) -> None:
        check_count(self, "limit")
        check_choice(self, "adaptive", ("gradient2", "aimd", None))
        check_count(self, "queue", least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """When a client holds back calls that would most likely be refused.

    Client-side adaptive throttling (*Site Reliability Engineering*, "Handling
    Overload"): a call is held back with the probability
    ``(requests - k * accepts) / (requests + 1)``, at least 0 and at most `max_reject`.
    """

    k: float = 2.0
    """Calls for each accepted one before any is held back; at least 1."""

    window: float = 10.0
    """How far back calls are counted. A long one keeps a recovered service down."""

    max_reject: float = 0.75
    """Largest share held back: the rest finds out that the service is well again."""

    def __post_init__(self) -> None:
        check_number(self, "k", least=1)
        check_number(self, "window", above=0)
        check_rate(self, "max_reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """When a second send goes out before the first has failed."""

    delay: float | None = None
    """How long the first send has before. None: learned, see `quantile`."""

    quantile: float = 0.95
    """Where `delay` is None: the share of recent sends that were answered in less than
    the delay; between 0 and 1. Until enough were seen, none is hedged."""

    def __post_init__(self) -> None:
        check_number(self, "delay", least=0, optional=True)
        check_number(self, "quantile", above=0)
        if self.quantile >= 1:
            raise ValueError(wrong(self, "quantile", "a number between 0 and 1"))


class Prepared(Protocol):
    """A response made beforehand, of either family."""

    status_code: int


Fallback = str | Callable[[Any, Exception], Any] | Prepared
"""A base URL, a function of the request and the error, or a response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything a call is told, in one value."""

    deadline: float | None = DEFAULT_DEADLINE
    """Time for the whole call: queueing, every attempt, every wait, the body.
    None: no bound of ours."""

    attempt_timeout: float | None = DEFAULT_ATTEMPT_TIMEOUT
    """Time for one send, to the end of its response head. None: no bound of ours."""

    rate_limit: RateLimit | None = None
    """How many calls may begin in a span of time. None: any number, unless the server
    announces otherwise and there is time to wait."""

    throttle: Throttle | None = None
    """When to hold calls back that would most likely be refused. None: never."""

    retry: RetryConfig | None = field(default_factory=RetryConfig)
    """When to try again. None: each call is sent once."""

    hedge: Hedge | None = None
    """When to send a second copy before the first has failed. None: never."""

    budget: RetryBudget | None = field(default_factory=RetryBudget)
    """What retries and hedges cost an origin that answers badly. None: nothing."""

    breaker: BreakerConfig | None = field(default_factory=BreakerConfig)
    """When to refuse without sending. None: the breaker is neither asked nor told."""

    concurrency: ConcurrencyLimit | None = None
    """How many calls may be in flight. None: any number."""

    fallback: Fallback | None = None
    """What to answer with where a call would end badly: a response, a function of the
    request and the error, or the base URL of another origin that has the same to
    offer. See `resilient_http.fallback`. None: the call ends as it does."""

    idempotency_keys: bool = False
    """Whether each POST and PATCH is given an `Idempotency-Key` of its own, the same
    on every send, which makes it safe to repeat where the server honours it."""

    propagate_deadline: bool = True
    """Whether origins that share a contract with us are told what is left of a call,
    in `X-Request-Timeout-Ms`."""

    max_response_bytes: int | None = None
    """Bound on a body that is read for the caller, counted after decompression.
    None: no bound. A streamed body is the caller's to bound."""

    def __post_init__(self) -> None:
        check_number(self, "deadline", above=0, optional=True)
        check_number(self, "attempt_timeout", above=0, optional=True)
        check_kind(self, "rate_limit", RateLimit)
        check_kind(self, "throttle", Throttle)
        check_kind(self, "retry", RetryConfig)
        check_kind(self, "hedge", Hedge)
        check_kind(self, "budget", RetryBudget)
        check_kind(self, "breaker", BreakerConfig)
        check_kind(self, "concurrency", ConcurrencyLimit)
        _check_fallback(self)
        check_flag(self, "idempotency_keys")
        check_flag(self, "propagate_deadline")
        check_count(self, "max_response_bytes", optional=True)


def _statuses(config: RetryConfig) -> frozenset[int]:
    message = f"status codes between {_LEAST_STATUS} and {_MOST_STATUS}"
    given: object = config.statuses
    if not isinstance(given, Iterable) or not all(map(is_int, found := list(given))):
        raise TypeError(wrong(config, "statuses", message))
    if not all(_LEAST_STATUS <= status <= _MOST_STATUS for status in found):
        raise ValueError(wrong(config, "statuses", message))
    return frozenset(found)


def _exceptions(config: RetryConfig) -> tuple[type[Exception], ...]:
    given: object = config.retryable_exceptions
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in found
    ):
        # Not BaseException: a cancelled task or an interrupt is not to be tried again.
        message = "a tuple of Exception classes, or None"
        raise TypeError(wrong(config, "retryable_exceptions", message))
    return found


def _check_fallback(policy: Policy) -> None:
    given = policy.fallback
    if given is None or callable(given) or hasattr(given, "status_code"):
        return
    message = "a response, a function, the base URL of another origin, or None"
    if not isinstance(given, str):
        raise TypeError(wrong(policy, "fallback", message))
    url = urlsplit(given)
    if url.scheme not in ("http", "https") or not url.hostname or url.query:
        raise ValueError(wrong(policy, "fallback", message))
