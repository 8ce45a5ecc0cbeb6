"""The circuit breaker, as a machine that is told the time.

`TRANSITIONS` is the whole of it::

    CLOSED --failure rate, slow rate, failed calls--> OPEN --break over--> HALF_OPEN
      ^                                                 ^                    |    |
      |                                                 +----probe failed----+    |
      +---------------------------probes passed-----------------------------------+

Nygard (*Release It!*) named the states, resilience4j and Polly the knobs. Nothing moves
by itself: an open breaker whose break is over is open until a call asks. The machine
holds no lock; who shares it holds one for each step.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from resilient_http._core.window import SlidingWindow
from resilient_http.policy import BreakerConfig

_CLOCK_NOISE: Final = 1e-6
"""Who waits exactly as long as it was told is not sent away for a rounding error."""

_MOST_DOUBLINGS: Final = 1_000  # past any break, and within what a float can hold
_RAMP_DOUBLINGS: Final = 10


class BreakerState(StrEnum):
    """What the breaker does with the next call."""

    CLOSED = "closed"
    """Lets it through and counts it."""
    OPEN = "open"
    """Refuses it."""
    HALF_OPEN = "half_open"
    """Lets a few through, to look."""


class Mode(StrEnum):
    """Whether the breaker decides, or somebody has decided for it."""

    NORMAL = "normal"
    METRICS_ONLY = "metrics_only"
    """It counts and moves as ever, and refuses nothing."""
    FORCED_OPEN = "forced_open"
    """Nothing passes."""
    FORCED_CLOSED = "forced_closed"
    """Everything passes, and nothing is counted."""


class Cause(StrEnum):
    """Why the breaker changed its mind."""

    FAILURE_RATE = "failure_rate"
    SLOW_RATE = "slow_rate"
    CALLS_FAILED = "calls_failed"
    BREAK_OVER = "break_over"
    PROBE_FAILED = "probe_failed"
    PROBES_PASSED = "probes_passed"


TRANSITIONS: Final = {
    (BreakerState.CLOSED, Cause.FAILURE_RATE): BreakerState.OPEN,
    (BreakerState.CLOSED, Cause.SLOW_RATE): BreakerState.OPEN,
    (BreakerState.CLOSED, Cause.CALLS_FAILED): BreakerState.OPEN,
    (BreakerState.OPEN, Cause.BREAK_OVER): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, Cause.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, Cause.PROBES_PASSED): BreakerState.CLOSED,
}

# On Python 3.11 a member of an enum takes as long to look up as a call does.
_CLOSED: Final = BreakerState.CLOSED
_OPEN: Final = BreakerState.OPEN
_HALF_OPEN: Final = BreakerState.HALF_OPEN
_NORMAL: Final = Mode.NORMAL


@dataclass(slots=True, eq=False)
class Permit:
    """Leave to make one send. Hand it to `settle` or `abandon` when that has ended.

    A permit is itself and equal to no other, so handing one in twice does nothing.
    """

    era: int
    """The span between two transitions in which it was given."""
    admitted_at: float
    is_probe: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """No leave."""

    retry_after: float
    """Least wait, in seconds, before asking again; 0 where a place may become free at
    any moment, infinity where it is held open by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """A breaker at one moment, as plain data."""

    state: BreakerState
    mode: Mode
    calls: int
    failures: int
    slow: int
    failed_in_row: int
    in_flight: int
    retry_after: float


class Breaker:
    """One breaker, for one dependency.

    A permit belongs to the era it was given in, and every transition starts a new one.
    What comes back from an older era is dropped: a call that left before the breaker
    opened says nothing about whether the dependency has recovered.

    Args:
        config: The knobs.
        rng: Spreads the breaks of many clients.
        spread: A break lasts up to this share longer than the config says; drawn once,
            when it begins.

    """

    def __init__(
        self, config: BreakerConfig, rng: Random, *, spread: float = 0.2
    ) -> None:
        self._config = config
        self._rng = rng
        self._spread = spread
        self._state = _CLOSED
        self.force(None)
        self._era = 0
        self._cause: Cause | None = None
        self._window = SlidingWindow(config.window)
        # Every permit of this era that is still out, the oldest first: one place that
        # knows what is in flight, what is stale and what has been handed in already.
        self._out: dict[Permit, None] = {}
        self._failed_in_row = 0
        self._passed = 0
        self._ramp_began = -math.inf
        self._breaks = 0
        self._break_ends = -math.inf
        self._asked_until = -math.inf

    @property
    def state(self) -> BreakerState:
        """The state as of the last call; time alone does not change it."""
        return self._state

    @property
    def era(self) -> int:
        """How many transitions there have been."""
        return self._era

    def force(self, mode: Mode | None) -> None:
        """Decide for it, at any time; None lets it decide again."""
        own = Mode.METRICS_ONLY if self._config.metrics_only else _NORMAL
        self.mode = own if mode is None else mode

    @property
    def cause(self) -> Cause | None:
        """Why it last moved; None if it never did."""
        return self._cause

    def admit(self, now: float) -> Permit | Refusal:
        """Decide on a send that would start at `now`.

        Args:
            now: Seconds on any monotonic clock.

        Returns:
            A permit, to be handed to `settle` or `abandon`; or a refusal.

        """
        if self.mode is _NORMAL:
            return self._decide(now)
        if self.mode is Mode.FORCED_OPEN:
            return Refusal(math.inf)
        if self.mode is Mode.METRICS_ONLY:
            decided = self._decide(now)
            if isinstance(decided, Permit):
                return decided
        # Not among those that are out, so that what comes of it counts for nothing.
        return Permit(-1, now, False)  # noqa: FBT003 - in the order of its fields

    def _decide(self, now: float) -> Permit | Refusal:
        if self._state is _OPEN:
            wait = self._break_left(now)
            if wait > _CLOCK_NOISE:
                return Refusal(wait)
            self._move(Cause.BREAK_OVER)
        # Nothing bounds the calls of a breaker that never opened.
        if self._cause is not None and not self._make_room(now):
            return Refusal(0.0)
        permit = Permit(self._era, now, self._state is _HALF_OPEN)
        self._out[permit] = None
        return permit

    def settle(
        self, permit: Permit, *, failed: bool, now: float, retry_after: float = 0.0
    ) -> bool:
        """Take in how a permitted send ended.

        Args:
            permit: What `admit` gave.
            failed: Whether the dependency failed.
            now: When it ended; a send that took longer than `slow_call` is slow.
            retry_after: Seconds the dependency asked for when it failed. If the breaker
                opens before the next success, it stays open at least so long.

        Returns:
            Whether it counted: not if it is of an older era, was handed in before, or
            is a probe that lost its place.

        """
        if self._out.pop(permit, permit) is not None:
            return False
        limit = self._config.slow_call
        slow = limit is not None and now - permit.admitted_at > limit
        if failed:
            self._asked_until = max(self._asked_until, now + retry_after)
        else:
            self._failed_in_row = 0
            self._asked_until = -math.inf
        if self._state is _HALF_OPEN:
            self._judge_probe(passed=not failed and not slow, now=now)
        else:
            self._window.record(failed=failed, slow=slow, now=now)
            if self._window.is_troubled:
                cause = self._ailment(now)
                if cause is not None:
                    self._open(cause, now)
        return True

    def abandon(self, permit: Permit, now: float, *, answered: bool = False) -> None:
        """Take a permit back from a send that is neither a success nor a failure.

        Args:
            permit: What `admit` gave.
            now: When it ended.
            answered: Whether the dependency gave an answer that speaks of the request
                and not of its own health, such as 404. That counts nothing, but a probe
                has seen what it was sent to see; else a service that is only asked for
                what it has not got would be half-open for ever.

        """
        taken = self._out.pop(permit, permit) is None
        if taken and answered and self._state is _HALF_OPEN:
            self._judge_probe(passed=True, now=now)

    def conclude(self, first: Permit, *, failed: bool, now: float) -> None:
        """Take in how a whole call ended, after all of its sends; once for each call.

        Args:
            first: The permit of the call's first send, which tells when it began: a
                call that began in an older era does not count.
            failed: Whether its last send failed. Calls that ended without telling
                (cancelled, refused here) are not concluded.
            now: When it ended.

        """
        if first.era != self._era or self._state is not _CLOSED:
            return
        if not failed:
            self._failed_in_row = 0
            return
        self._failed_in_row += 1
        quiet = self._window.tally(now).calls < self._config.minimum_calls
        if quiet and self._failed_in_row >= self._config.failure_threshold:
            self._open(Cause.CALLS_FAILED, now)

    def retry_after(self, now: float) -> float:
        """Return how long a call would be refused, in seconds; 0 if it may not be."""
        if self.mode is not _NORMAL:
            return math.inf if self.mode is Mode.FORCED_OPEN else 0.0
        return self._break_left(now)

    def _break_left(self, now: float) -> float:
        if self._state is not _OPEN:
            return 0.0
        return max(0.0, self._break_ends - now)

    def snapshot(self, now: float) -> BreakerSnapshot:
        """Return the breaker as of `now`, and leave it in the state it is in."""
        tally = self._window.tally(now)
        return BreakerSnapshot(
            state=self._state,
            mode=self.mode,
            calls=tally.calls,
            failures=tally.failures,
            slow=tally.slow,
            failed_in_row=self._failed_in_row,
            in_flight=len(self._out),
            retry_after=self._break_left(now),
        )

    def _make_room(self, now: float) -> bool:
        if self._state is _HALF_OPEN:
            few = len(self._out) < self._config.half_open_max_calls
            return few or self._end_a_lease(now)
        return len(self._out) < self._ramp_limit(now)

    def _end_a_lease(self, now: float) -> bool:
        oldest = next(iter(self._out))
        if now - oldest.admitted_at < self._config.probe_lease:
            return False
        # Only now that another call wants the place: where calls come one at a time
        # and take longer than the lease, the late answer is the only one there is.
        del self._out[oldest]
        return True

    def _ramp_limit(self, now: float) -> float:
        """Return how many calls may be in flight.

        1 at first, doubled with every tenth of the ramp, and after it no limit: a
        dependency that has just come back finds its caches cold and its pools empty.
        """
        ramp, elapsed = self._config.ramp, now - self._ramp_began
        if not ramp or elapsed >= ramp:
            return math.inf
        # Never 0, though a thread's clock may be older than the one that closed it.
        return max(1, math.floor(math.exp2(_RAMP_DOUBLINGS * elapsed / ramp)))

    def _ailment(self, now: float) -> Cause | None:
        calls, failures, slow = self._window.tally(now)
        if calls < self._config.minimum_calls:
            return None
        # Divided and not multiplied: 7 of 25 is 0.28, but 0.28 * 25 is more than 7.
        if failures / calls >= self._config.failure_rate:
            return Cause.FAILURE_RATE
        if slow / calls >= self._config.slow_rate:
            return Cause.SLOW_RATE
        return None

    def _judge_probe(self, *, passed: bool, now: float) -> None:
        if not passed:
            self._open(Cause.PROBE_FAILED, now)
            return
        self._passed += 1
        if self._passed >= self._config.success_threshold:
            self._move(Cause.PROBES_PASSED)
            self._ramp_began = now

    def _open(self, cause: Cause, now: float) -> None:
        if cause is not Cause.PROBE_FAILED and self._ramp_limit(now) == math.inf:
            self._breaks = 0  # it was well again: this is not the same outage
        self._breaks += 1
        self._break_ends = max(now + self._draw_break(), self._asked_until)
        self._move(cause)

    def _draw_break(self) -> float:
        first, longest = (
            self._config.recovery_timeout,
            self._config.max_recovery_timeout,
        )
        doubled = first * math.exp2(min(self._breaks - 1, _MOST_DOUBLINGS))
        length = min(doubled, max(first, longest))
        return length * self._rng.uniform(1, 1 + self._spread)

    def _move(self, cause: Cause) -> None:
        self._state = TRANSITIONS[self._state, cause]
        self._cause = cause
        self._era += 1
        self._out.clear()
        self._window = SlidingWindow(self._config.window)
        self._failed_in_row = self._passed = 0
        self._asked_until = -math.inf
