"""The machines of an origin, where there are any, as one hop goes through them.

Each remembers what the hop holds of its machine, so that the hop itself need not.
"""

from dataclasses import dataclass

from resilient_http._core.breaker import Breaker, Permit, Refusal
from resilient_http._core.bucket import Bucket, Place
from resilient_http._core.budget import Budget, Payment
from resilient_http._core.verdict import Outcome


@dataclass(frozen=True, slots=True)
class TooSoon:
    """The call is refused by its own rate limit."""

    retry_after: float
    """Least wait, in seconds, before a call would be let through."""


class Line:
    """The rate limit, where there is one, as one call waits its turn in it."""

    def __init__(self, bucket: Bucket | None, *, may_wait: bool) -> None:
        self._bucket = bucket
        self._may_wait = may_wait
        self._place: Place | None = None

    def enter(self, now: float, until: float) -> float | TooSoon:
        """Take a place; return how long to wait for it, in seconds.

        Args:
            now: When the call asks.
            until: When it would be too late.

        """
        if self._bucket is None:
            return 0.0
        wait = self._bucket.wait(now)
        if wait > 0 and (not self._may_wait or now + wait >= until):
            return TooSoon(wait)
        self._place = self._bucket.reserve(now)
        return max(0.0, self._place.at - now)

    def leave(self, now: float) -> None:
        """Give the place back, unused."""
        if self._bucket is not None and self._place is not None:
            self._bucket.cancel(self._place, now)


class Gate:
    """The breaker, where there is one, as one hop goes through it."""

    def __init__(self, breaker: Breaker | None) -> None:
        self._breaker = breaker
        self._permit: Permit | None = None
        self._first: Permit | None = None

    def admit(self, now: float) -> Refusal | None:
        """Ask for leave to send; None if it was given."""
        if self._breaker is None:
            return None
        granted = self._breaker.admit(now)
        if isinstance(granted, Refusal):
            return granted
        self._permit = granted
        if self._first is None:
            self._first = granted
        return None

    def settle(self, outcome: Outcome, now: float, retry_after: float = 0.0) -> None:
        """Hand the permit back, and say what came of it."""
        if self._breaker is None or self._permit is None:
            return
        permit, self._permit = self._permit, None
        if outcome in (Outcome.SUCCESS, Outcome.FAILURE):
            failed = outcome is Outcome.FAILURE
            self._breaker.settle(
                permit, failed=failed, now=now, retry_after=retry_after
            )
        else:
            answered = outcome is Outcome.ANSWERED
            self._breaker.abandon(permit, now, answered=answered)

    def conclude(self, outcome: Outcome, now: float) -> None:
        """Say what came of the whole call. Neutral ends are not told."""
        if self._breaker is None or self._first is None:
            return
        if outcome in (Outcome.SUCCESS, Outcome.FAILURE):
            failed = outcome is Outcome.FAILURE
            self._breaker.conclude(self._first, failed=failed, now=now)

    def is_shut_for(self, delay: float, now: float) -> bool:
        """Whether a send after `delay` would be refused for certain."""
        return self._breaker is not None and self._breaker.retry_after(now) > delay


class Purse:
    """The retry budget, where there is one, as one hop pays from it."""

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        self._paid: Payment | None = None

    def pay(self, *, throttled: bool) -> bool:
        """Pay for a retry; False if there is not enough, and it must not be sent."""
        if self._budget is None:
            return True
        self._paid = self._budget.spend(throttled=throttled)
        return self._paid is not None

    def succeed(self) -> None:
        """Take back what was paid last, or earn what a call at once does."""
        if self._budget is not None:
            self._budget.succeed(self._paid)
