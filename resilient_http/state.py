"""What is remembered between calls: a breaker and some counts for each origin."""

import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Final, Protocol

import anyio

from resilient_http._core.breaker import Breaker, BreakerState
from resilient_http._core.bucket import Bucket
from resilient_http._core.budget import Budget
from resilient_http.policy import Policy

MOST_ORIGINS: Final = 1024
"""Origins remembered at once; the least recently used harmless one makes room."""


class Clock(Protocol):
    """Where the time comes from. A test's own makes it a number."""

    def now(self) -> float:
        """Return seconds on a monotonic clock."""

    def sleep(self, seconds: float) -> None:
        """Let time pass in this thread."""

    async def asleep(self, seconds: float) -> None:
        """Let time pass in this task."""


class SystemClock:
    """The machine's monotonic clock; steps of the wall clock do not reach it."""

    def now(self) -> float:
        """Return seconds on a monotonic clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass in this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let time pass in this task."""
        await anyio.sleep(seconds)


@dataclass(slots=True)
class Counts:
    """What the calls to one origin came to, since the state was made."""

    calls: int = 0
    """Calls begun."""
    sends: int = 0
    """Sends of all calls; more than `calls` by the retries."""
    refused: int = 0
    """Calls that were refused here, without a send."""
    expired: int = 0
    """Calls whose deadline passed."""


@dataclass(slots=True)
class Origin:
    """One scheme, host and port, and what is known of it."""

    breaker: Breaker | None = None
    budget: Budget | None = None
    bucket: Bucket | None = None
    counts: Counts = field(default_factory=Counts)

    def is_harmless(self, now: float) -> bool:
        """Whether forgetting it would let nothing bad through."""
        if self.breaker is None:
            return True
        known = self.breaker.snapshot(now)
        closed = known.state is BreakerState.CLOSED
        return closed and not (known.failures or known.failed_in_row or known.in_flight)


class State:
    """Breakers and counts, by origin. Safe to share by clients, threads and loops.

    Share one where clients are made for each request, or each would start without a
    memory. At most 1,024 origins are remembered.

    Args:
        clock: Where the time comes from; None for the machine's monotonic clock.
        rng: Where jitter comes from; None for one seeded by the system.

    """

    def __init__(
        self, *, clock: Clock | None = None, rng: Random | None = None
    ) -> None:
        self.clock: Clock = SystemClock() if clock is None else clock
        self.rng = Random() if rng is None else rng  # noqa: S311 - jitter, not secrets
        self.lock = threading.RLock()
        """Held for a step of a decision, never across I/O."""
        self._origins: OrderedDict[str, Origin] = OrderedDict()

    def origin(self, key: str, policy: Policy) -> Origin:
        """Return what is known of an origin, with the machines that `policy` asks for.

        The first policy to ask for a machine makes it, and it stays as it was made.
        """
        with self.lock:
            found = self._origins.get(key)
            if found is None:
                self._make_room()
                found = self._origins[key] = Origin()
            self._origins.move_to_end(key)
            if found.breaker is None and policy.breaker is not None:
                found.breaker = Breaker(policy.breaker, self.rng)
            if found.budget is None and policy.budget is not None:
                found.budget = Budget(policy.budget)
            if found.bucket is None and policy.rate_limit is not None:
                found.bucket = Bucket(policy.rate_limit)
            return found

    def snapshot(self) -> dict[str, Any]:
        """Return what is known of every origin, as plain data of this moment."""
        now = self.clock.now()
        with self.lock:
            return {
                "origins": {
                    key: {
                        **asdict(origin.counts),
                        "breaker": origin.breaker
                        and asdict(origin.breaker.snapshot(now)),
                        "budget": origin.budget and origin.budget.tokens,
                    }
                    for key, origin in self._origins.items()
                }
            }

    def _make_room(self) -> None:
        if len(self._origins) < MOST_ORIGINS:
            return
        now = self.clock.now()
        # An open breaker is what this memory is for; if all are, the oldest goes.
        harmless = (k for k, origin in self._origins.items() if origin.is_harmless(now))
        del self._origins[next(harmless, next(iter(self._origins)))]
