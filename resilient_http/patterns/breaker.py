"""The circuit breaker, around anything that can be called."""

import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypedDict, TypeVar

from resilient_http._core.breaker import Breaker, BreakerState, Permit, Refusal
from resilient_http._core.verdict import Outcome
from resilient_http.patterns.decorate import decorate
from resilient_http.patterns.kinds import REFUSALS, Kinds, is_one
from resilient_http.policy import BreakerConfig
from resilient_http.problems import CircuitBreakerOpenException

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LEAST_LEASE: Final = 60.0
"""How long a probe may hold its place at least. Any function is called through here, so
it is long; without an end, one call that hangs would keep the breaker half-open."""


class BreakerStats(TypedDict):
    """What `CircuitBreaker.get_stats` returns."""

    name: str
    state: str
    failure_count: int
    success_count: int
    failure_threshold: int
    recovery_timeout: float


class Passage:
    """Leave to make one call, as a context manager around it."""

    def __init__(
        self,
        breaker: "CircuitBreaker",
        settle: Callable[[BaseException | None], None],
        stands: Callable[[], bool],
    ) -> None:
        self.breaker = breaker
        """Which gave it."""
        self.stands = stands
        """Whether the breaker has not moved since it let this call in."""
        self.is_over = False
        """Whether the call has ended."""
        self._settle = settle

    def __enter__(self) -> Self:
        _under_way.set((*_under_way.get(), self))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_over = True
        _under_way.set(tuple(one for one in _under_way.get() if one is not self))
        self._settle(exc)


_under_way: ContextVar[tuple[Passage, ...]] = ContextVar("_under_way", default=())
"""The calls that the code at hand is part of, the outermost first."""


class CircuitBreaker:
    """Refuses calls to what has been failing, and looks again after a while.

    A decorator for functions, and a context manager, sync and async, which may be
    entered many times at once; leave it in the task that entered it. After
    `failure_threshold` failures in a row calls are refused for `recovery_timeout`
    seconds, then `half_open_max_calls` at a time are let through; `success_threshold`
    that succeed close it, one that fails opens it again.

    Cancellation, interrupts, exceptions other than those expected, and our own refusals
    say nothing of the dependency and count neither way. A call made through the breaker
    inside another one through the same breaker is part of that one: it is let in with
    it, and they count once, as the outer one ends.

    Args:
        name: Tells it from others in errors and stats.
        failure_threshold: Failures in a row that open it.
        recovery_timeout: Seconds of refusal, exactly.
        success_threshold: Successes that close it.
        half_open_max_calls: Calls let through at once while half-open.
        expected_exception: What counts as a failure: an exception class, or several.
        clock: Seconds, monotonic.

    Raises:
        CircuitBreakerOpenException: From a call that was not made. `retry_after` is
            what is left of the break; 0 while half-open.

    """

    def __init__(  # noqa: PLR0913, PLR0917 - the brief's knobs, in its order
        self,
        name: str,
        failure_threshold: int = 5,
        recovery_timeout: float = 60,
        success_threshold: int = 2,
        half_open_max_calls: int = 1,
        expected_exception: type[Exception] | Kinds = Exception,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"CircuitBreaker.name must be a str, got {name!r}")
        self.name = name
        self._config = BreakerConfig(
            minimum_calls=sys.maxsize,  # never enough for a rate: only the row counts
            failure_threshold=failure_threshold,
            recovery_timeout=recovery_timeout,
            max_recovery_timeout=recovery_timeout,
            success_threshold=success_threshold,
            half_open_max_calls=half_open_max_calls,
            probe_lease=max(_LEAST_LEASE, recovery_timeout),
            ramp=None,
        )
        self._expected = _expected(expected_exception)
        self._clock = clock
        rng = Random()  # noqa: S311 - draws nothing: the spread is 0
        self._machine = Breaker(self._config, rng, spread=0.0)
        self._failures = 0
        self._successes = 0
        # Held for a step of the machine, and never while the function runs.
        self._lock = threading.Lock()

    @property
    def state(self) -> BreakerState:
        """The state as of the last call: open until a call asks, not by the clock."""
        return self._machine.state

    def get_stats(self) -> BreakerStats:
        """Return plain data about the breaker.

        `failure_count` is failures in a row, up to now; `success_count` successes since
        the state last changed, so that while half-open it counts towards
        `success_threshold`.
        """
        with self._lock:
            return BreakerStats(
                name=self.name,
                state=self._machine.state.value,
                failure_count=self._failures,
                success_count=self._successes,
                failure_threshold=self._config.failure_threshold,
                recovery_timeout=self._config.recovery_timeout,
            )

    def admit(self) -> Passage:
        """Ask leave for one call: a context manager around it, or a refusal raised."""
        outer = self._innermost()
        if outer is not None:
            # Or a failure would count twice, and a probe be refused by its own place.
            return Passage(self, _count_nothing, outer.stands)
        with self._lock:
            answer = self._machine.admit(self._clock())
            state = self._machine.state
        if isinstance(answer, Refusal):
            detail = f"Circuit breaker {self.name!r} is {state.value.replace('_', '-')}"
            raise CircuitBreakerOpenException(detail, retry_after=answer.retry_after)
        settle, stands = partial(self._settle, answer), partial(self._stands, answer)
        return Passage(self, settle, stands)

    def __call__(self, func: Callable[_P, _T]) -> Callable[_P, _T]:
        """Return `func` behind this breaker.

        Raises:
            TypeError: `func` is a generator, a class, or nothing that can be called.

        """

        def run(call: Callable[[], Any]) -> Any:
            with self.admit():
                return call()

        async def arun(call: Callable[[], Awaitable[Any]]) -> Any:
            with self.admit():
                return await call()

        return decorate(func, run, arun)

    def __enter__(self) -> Self:
        self.admit().__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        mine = self._innermost()
        if mine is None:
            raise RuntimeError(f"{self.name!r} was entered in another task or thread")
        mine.__exit__(exc_type, exc, traceback)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    def _innermost(self) -> Passage | None:
        """Return the call through this breaker that the code at hand is part of."""
        for passage in reversed(_under_way.get()):
            # One that is over is still seen by the tasks it has left behind.
            if passage.breaker is self and not passage.is_over:
                return passage
        return None

    def _settle(self, permit: Permit, error: BaseException | None) -> None:
        outcome = self._judge(error)
        failed = outcome is Outcome.FAILURE
        with self._lock:
            now, era = self._clock(), self._machine.era
            if outcome is Outcome.NEUTRAL:
                self._machine.abandon(permit, now)
            elif self._machine.settle(permit, failed=failed, now=now):
                self._machine.conclude(permit, failed=failed, now=now)
                self._failures = self._failures + 1 if failed else 0
                moved = self._machine.era != era
                self._successes = 0 if moved else self._successes + (not failed)

    def _judge(self, error: BaseException | None) -> Outcome:
        if error is None:
            return Outcome.SUCCESS
        found = is_one(error, self._expected, unless_named=REFUSALS)
        return Outcome.FAILURE if found else Outcome.NEUTRAL

    def _stands(self, permit: Permit) -> bool:
        return self._machine.era == permit.era


def _count_nothing(error: BaseException | None) -> None:
    """Leave it to the outer call."""


def _expected(given: object) -> Kinds:
    kinds = given if isinstance(given, tuple) else (given,)
    if not all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds
    ):
        raise TypeError(
            "CircuitBreaker.expected_exception must be an Exception class or a tuple"
            f" of them, got {given!r}"
        )
    return kinds
