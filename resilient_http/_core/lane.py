"""The machines of an origin, where there are any, as one hop goes through them.

The lane remembers what the hop holds of each, so that the hop itself need not. In the
order in which a call meets them::

    turn            the rate limits: our own, and what the server announced
    is_let_through  client-side throttling
    admit           the breaker, then the limit on calls in flight
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final, Literal

from resilient_http._core.breaker import Permit, Refusal
from resilient_http._core.bucket import Place
from resilient_http._core.budget import Payment
from resilient_http._core.concurrency import Slot, Ticket
from resilient_http._core.origin import Origin
from resilient_http._core.pacer import Pacer
from resilient_http._core.verdict import (
    Answer,
    Fault,
    Load,
    Outcome,
    is_shed,
    was_counted,
)
from resilient_http.policy import Policy


@dataclass(frozen=True, slots=True)
class TooSoon:
    """The call is refused by a rate limit: our own, or the server's."""

    retry_after: float
    """Least wait, in seconds, before a call would be let through."""
    is_ours: bool = True


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The call is refused by client-side throttling."""

    share: float
    """Of the calls that are."""


class _Full(Enum):
    FULL = "full"


# On Python 3.11 a member of an enum takes as long to look up as a call.
_SUCCESS: Final = Outcome.SUCCESS
_FAILURE: Final = Outcome.FAILURE

FULL: Final = _Full.FULL
"""As many calls as may be are in flight."""

Full = Literal[_Full.FULL]


class Pass:
    """Leave to make one send: what the lane is to have back."""

    __slots__ = ("permit", "slot", "took")

    def __init__(self, permit: Permit | None, slot: Slot | None) -> None:
        self.permit = permit
        self.slot = slot
        self.took: float | None = None
        """Seconds that the answer took, where its body is the caller's to read."""


class Lane:
    """What one hop goes through on its way to an origin.

    Args:
        origin: Whose machines it goes through.
        policy: Says which of them it asks.
        pacer: What the server told our partition; None if it told nothing.
        is_new_call: Whether the rate limit is to be asked: a redirect is no new call.
        granted: Leave for the first send, where it was had before.

    """

    __slots__ = (
        *(
            "_breaker",
            "_bucket",
            "_budget",
            "_first",
            "_granted",
            "_hedge",
            "_latencies",
        ),
        *("_limit", "_limiter", "_pacer", "_paid", "_place", "_spot", "_throttler"),
        *("hedges", "is_observant", "is_open"),
    )

    def __init__(
        self,
        origin: Origin,
        policy: Policy,
        pacer: Pacer | None,
        *,
        is_new_call: bool,
        granted: Permit | None = None,
    ) -> None:
        self._breaker = None if policy.breaker is None else origin.breaker
        self._budget = None if policy.budget is None else origin.budget
        self._limiter = None if policy.concurrency is None else origin.limiter
        self._throttler = self._bucket = self._pacer = None
        if is_new_call:
            self._throttler = None if policy.throttle is None else origin.throttler
            self._bucket = None if policy.rate_limit is None else origin.bucket
            self._pacer = pacer
        rated = self._bucket is not None or self._pacer is not None
        self.is_open = not rated and self._throttler is None
        """Whether no rate limit and no throttling stands before the call."""
        self._hedge = policy.hedge
        self.hedges = policy.hedge is not None
        """Whether a second send may go beside a slow first one."""
        self._latencies = origin.latencies if self.hedges else None
        self.is_observant = self.hedges or self._throttler is not None
        """Whether anybody wants to know how busy the origin seems."""
        self._limit = policy.rate_limit
        self._place: Place | None = None
        self._spot: float | None = None
        self._first: Permit | None = None
        self._granted = granted
        self._paid: Payment | None = None

    # Its turn.

    def turn(self, now: float, until: float, rng: Random) -> float | TooSoon:
        """Take a place in line; return how long to wait for it, in seconds.

        Args:
            now: When the call asks.
            until: When it would be too late.
            rng: Spreads those that were told the same time.

        """
        announced = 0.0 if self._pacer is None else self._pacer.wait(now)
        if self._bucket is None:
            # Nobody asked for a limit: who has no time for it goes all the same.
            return self._line_up(now, rng) if now + announced < until else 0.0
        own = self._bucket.wait(now)
        may_wait = self._limit is None or self._limit.mode == "wait"
        if own > 0 and (not may_wait or now + own >= until):
            return TooSoon(own)
        if announced > 0 and (not may_wait or now + announced >= until):
            return TooSoon(announced, is_ours=False)
        self._place = self._bucket.reserve(now)
        return max(self._place.at - now, self._line_up(now, rng))

    def nap(self, wait: float) -> float:
        """Return after how much of a `wait` for a turn to ask `again`, in seconds."""
        if self._pacer is None or self._spot is None:
            return wait
        return self._pacer.nap(wait)

    def again(self, now: float, until: float, rng: Random) -> float:
        """Return how much longer to wait for a turn, in seconds; 0 for no more.

        The server may have asked for less meanwhile, or left more.
        """
        if self._pacer is None or self._spot is None:
            return 0.0
        wait = self._pacer.again(self._spot, now, rng)
        if self._place is not None:
            wait = max(wait, self._place.at - now)
        return wait if now + wait < until else 0.0

    def leave(self, now: float) -> None:
        """Give the place back, unused."""
        if self._bucket is not None and self._place is not None:
            self._bucket.cancel(self._place, now)

    def paced(self, delay: float, now: float, rng: Random) -> float:
        """Return the wait before a retry: no sooner than the server announced."""
        return max(delay, self._announced(now, rng))

    def _line_up(self, now: float, rng: Random) -> float:
        wait = self._announced(now, rng)
        self._spot = None if self._pacer is None else self._pacer.place
        return wait

    def _announced(self, now: float, rng: Random) -> float:
        return 0.0 if self._pacer is None else self._pacer.reserve(now, rng)

    def is_let_through(self, now: float, rng: Random) -> HeldBack | None:
        """Ask client-side throttling; None where it has nothing against the call."""
        if self._throttler is None or self._throttler.admit(now, rng):
            return None
        return HeldBack(self._throttler.share_held_back(now))

    # Leave to send.

    def admit(self, now: float, slot: Slot | None = None) -> Pass | Refusal | Full:
        """Ask for leave to send, with the `slot` that was waited for, if one was."""
        permit, self._granted = self._granted, None
        if self._breaker is not None and permit is None:
            granted = self._breaker.admit(now)
            if isinstance(granted, Refusal):
                self._free(slot, now)
                return granted
            permit = granted
        if self._limiter is not None and slot is None:
            slot = self._limiter.acquire(now)
            if slot is None:
                if self._breaker is not None and permit is not None:
                    self._breaker.abandon(permit, now)
                return FULL
        if self._first is None:
            self._first = permit
        return Pass(permit, slot)

    def queue(self, wake: Callable[[], object]) -> Ticket | None:
        """Join those that wait for a slot; None where there are too many."""
        return None if self._limiter is None else self._limiter.enter(wake)

    def unqueue(self, ticket: Ticket, now: float) -> None:
        """Give up waiting, and the slot that may have come of it."""
        if self._limiter is not None:
            self._limiter.leave(ticket, now)

    # What came of it.

    def settle(
        self, passed: Pass, outcome: Outcome, now: float, retry_after: float = 0.0
    ) -> None:
        """Tell the breaker what came of a send; only once, whoever does it first."""
        permit, passed.permit = passed.permit, None
        if self._breaker is None or permit is None:
            return
        if outcome is _SUCCESS:
            self._breaker.settle(permit, failed=False, now=now)
        elif outcome is _FAILURE:
            self._breaker.settle(permit, failed=True, now=now, retry_after=retry_after)
        else:
            answered = outcome is Outcome.ANSWERED
            self._breaker.abandon(permit, now, answered=answered)

    def release(self, passed: Pass, load: Load, now: float) -> None:
        """Give the slot back, whose body is closed; only once, likewise."""
        slot, passed.slot = passed.slot, None
        if self._limiter is not None and slot is not None:
            self._limiter.release(slot, now, load, seconds=passed.took)

    def observe(self, load: Load, seconds: float, now: float) -> None:
        """Take in how busy the origin seems, and how long its answer took."""
        if self._throttler is not None and load is not Load.UNKNOWN:
            self._throttler.note(accepted=load is Load.FINE, now=now)
        if self._latencies is not None and load is Load.FINE:
            self._latencies.record(seconds, now)

    def succeed(self, passed: Pass, now: float) -> None:
        """Take in that the call succeeded: its payment comes back, or it earns one."""
        if self._breaker is not None and passed.permit is not None:
            permit, passed.permit = passed.permit, None
            self._breaker.settle(permit, failed=False, now=now)
            if self._first is not None and self._first is not permit:
                self._breaker.conclude(self._first, failed=False, now=now)
        if self._budget is not None:
            self._budget.succeed(self._paid)

    def conclude(self, outcome: Outcome, now: float) -> None:
        """Say what came of the whole call. Neutral ends are not told."""
        if self._breaker is None or self._first is None:
            return
        if outcome is _SUCCESS:
            self._breaker.conclude(self._first, failed=False, now=now)
        elif outcome is _FAILURE:
            self._breaker.conclude(self._first, failed=True, now=now)

    # Once more.

    def is_shut_for(self, delay: float, now: float) -> bool:
        """Whether a send after `delay` would be refused for certain."""
        return self._breaker is not None and self._breaker.retry_after(now) > delay

    def hedge_after(self, now: float) -> float | None:
        """Return how long a send has before another goes beside it; None for ever."""
        chosen = None if self._hedge is None else self._hedge.delay
        if chosen is None and self._latencies is not None:
            return self._latencies.estimate(now)
        return chosen

    def pay(self, ending: Answer | Fault | None = None) -> bool:
        """Pay for a retry or hedge; False if it must not be sent.

        Args:
            ending: Of the send that it is for; None for a hedge, as that has not ended.

        """
        if self._budget is None:
            return True
        payment = (
            self._budget.spend()
            if ending is None
            else self._budget.spend(throttled=was_counted(ending), shed=is_shed(ending))
        )
        if payment is None:
            return False
        self._paid = payment
        return True

    def refund(self) -> None:
        """Take back what was paid last, or earn what a call at once does."""
        if self._budget is not None:
            self._budget.succeed(self._paid)

    def _free(self, slot: Slot | None, now: float) -> None:
        if self._limiter is not None and slot is not None:
            self._limiter.release(slot, now, Load.UNKNOWN)
