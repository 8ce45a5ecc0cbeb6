"""How many calls an origin may be busy with, as a machine that is told the time.

A fixed limit is a bulkhead (Nygard, *Release It!*). One that adapts is a congestion
window, as in TCP: raised while the origin keeps up, lowered when it does not.

- AIMD (Chiu and Jain, 1989): one more for each round trip, half of it after a drop.
- Gradient2 (Netflix, *Performance Under Load*, and its concurrency-limits): the limit
  follows the long-term round-trip time over the present one, with room for a queue of
  its square root. A drop halves it as well, since a refusal has no round-trip time.

A limit is neither raised nor measured while calls use less than half of it: what was
not tried was not borne. The machine holds no lock; who shares it holds one for each
step.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from resilient_http._core.verdict import Load
from resilient_http.policy import ConcurrencyLimit

MOST_GROWTH: Final = 10
"""A limit that adapts stays between 1 and this many times what it started from."""

_CUT: Final = 0.5
_TOLERANCE: Final = 1.5  # round-trip times vary by so much without meaning anything
_LEAST_GRADIENT: Final = 0.5
_SMOOTHING: Final = 0.2
_LEAST_SPAN: Final = 1.0  # seconds
_LEAST_SAMPLES: Final = 10
_WARM_UP: Final = 10
_LONG_TERM: Final = 600  # spans
_RECOVERED: Final = 2.0
_DECAY: Final = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Leave to be in flight. Hand it to `release` when the body is closed.

    A slot is itself and equal to no other, so handing one in twice does nothing.
    """

    era: int
    """The span between two cuts of the limit in which it was given."""
    acquired_at: float
    in_flight: int
    """Calls in flight when it was given, this one included."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the queue of calls that wait for a slot."""

    wake: Callable[[], object]
    """For whoever hands a slot over to call."""

    slot: Slot | None = None
    """What it waited for, once `hand_over` has given it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterSnapshot:
    """A limiter at one moment, as plain data."""

    limit: int
    in_flight: int
    waiting: int


class Limiter:
    """The calls in flight to one origin, and those that wait.

    A drop lowers the limit once for each era, and so for each round trip: what else was
    in flight met the same full queue, and knows nothing of the lower limit.
    """

    def __init__(self, config: ConcurrencyLimit) -> None:
        self._most_waiting = config.queue
        self._limit = _limit(config)
        self._era = 0
        self._out: dict[Slot, None] = {}
        self._waiting: deque[Ticket] = deque()

    @property
    def limit(self) -> int:
        """How many calls may be in flight."""
        return math.floor(self._limit.value)

    @property
    def is_busy(self) -> bool:
        """Whether calls are in flight or wait to be."""
        return bool(self._out or self._waiting)

    def acquire(self, now: float) -> Slot | None:
        """Take a slot for a call that would start at `now`.

        Returns:
            A slot, to be handed to `release`; None where none is free, or where others
            were first to wait for it.

        """
        return None if self._waiting else self._take(now)

    def release(
        self, slot: Slot, now: float, load: Load, *, seconds: float | None = None
    ) -> bool:
        """Take back a slot, and learn from how its call ended.

        Ask `hand_over` afterwards, until it gives nothing more.

        Args:
            slot: What `acquire` or `hand_over` gave.
            now: When the call ended.
            load: What that tells.
            seconds: How long the answer took to come, where the slot was held longer,
                for a body that the caller read at leisure. None: until now.

        Returns:
            Whether the slot was still out.

        """
        if slot not in self._out:
            return False
        del self._out[slot]
        if slot.era != self._era:
            return True
        if load is Load.FINE:
            # Never less than nothing: threads may read the clock in one order and come
            # here in the other.
            rtt = max(0.0, now - slot.acquired_at) if seconds is None else seconds
            self._limit.answered(rtt, max(slot.in_flight, len(self._out) + 1), now)
        elif load is Load.HIGH:
            self._limit.cut()
            self._era += 1
        return True

    def enter(self, wake: Callable[[], object]) -> Ticket | None:
        """Join the queue, at its end; None where it is full."""
        if len(self._waiting) >= self._most_waiting:
            return None
        ticket = Ticket(wake)
        self._waiting.append(ticket)
        return ticket

    def hand_over(self, now: float) -> Ticket | None:
        """Give a free slot to the first in the queue, who is to be woken.

        Returns:
            Its ticket, with the slot in it; None where nobody waits or none is free.

        """
        if not self._waiting:
            return None
        slot = self._take(now)
        if slot is None:
            return None
        ticket = self._waiting.popleft()
        ticket.slot = slot
        return ticket

    def leave(self, ticket: Ticket, now: float) -> None:
        """Give up waiting: cancelled, or out of time.

        Who was given a slot in the meantime gives it back, and `hand_over` is to be
        asked again; else a call that is cancelled as it is woken takes a slot with it.
        """
        if ticket.slot is not None:
            self.release(ticket.slot, now, Load.UNKNOWN)
        elif ticket in self._waiting:
            self._waiting.remove(ticket)

    def snapshot(self) -> LimiterSnapshot:
        """Return the limiter as it stands."""
        return LimiterSnapshot(
            limit=self.limit, in_flight=len(self._out), waiting=len(self._waiting)
        )

    def _take(self, now: float) -> Slot | None:
        if len(self._out) >= self.limit:
            return None
        slot = Slot(self._era, now, len(self._out) + 1)
        self._out[slot] = None
        return slot


class _Fixed:
    def __init__(self, limit: int) -> None:
        self.value = float(limit)

    def answered(self, rtt: float, in_flight: int, now: float) -> None:
        """Learn nothing."""

    def cut(self) -> None:
        """Change nothing."""


class _Aimd:
    def __init__(self, limit: int) -> None:
        self.value = float(limit)
        self._most = limit * MOST_GROWTH

    def answered(self, rtt: float, in_flight: int, now: float) -> None:  # noqa: ARG002 - _Gradient2 needs them
        # A limit's worth of answers, which is a round trip of them, makes one more.
        if not _is_app_limited(in_flight, self.value):
            self.value = min(self.value + 1 / self.value, self._most)

    def cut(self) -> None:
        self.value = max(1.0, self.value * _CUT)


class _Gradient2:
    """Netflix's numbers, but that a span lasts a round trip at least.

    Else calls that take longer than a span would see their limit moved several times
    before the first of them has met it.
    """

    def __init__(self, limit: int) -> None:
        self.value = float(limit)
        self._most = limit * MOST_GROWTH
        self._short = self._long = 0.0
        self._spans = 0
        self._began = -math.inf
        self._samples = self._busiest = 0
        self._total = 0.0

    def answered(self, rtt: float, in_flight: int, now: float) -> None:
        if self._samples == 0:
            self._began = now
        self._samples += 1
        self._total += rtt
        self._busiest = max(self._busiest, in_flight)
        long_enough = now - self._began >= max(_LEAST_SPAN, self._short)
        if long_enough and self._samples >= _LEAST_SAMPLES:
            self._end_span()

    def cut(self) -> None:
        self.value = max(1.0, self.value * _CUT)

    def _end_span(self) -> None:
        self._short = self._total / self._samples
        self._follow(self._short)
        if not _is_app_limited(self._busiest, self.value):
            self._adapt()
        self._samples = self._busiest = 0
        self._total = 0.0

    def _follow(self, short: float) -> None:
        self._spans += 1
        warming_up = self._spans <= _WARM_UP
        share = 1 / self._spans if warming_up else 2 / (_LONG_TERM + 1)
        self._long += share * (short - self._long)
        if self._long > _RECOVERED * short:
            # After a long bad time, or the memory of it would hide the next one.
            self._long *= _DECAY

    def _adapt(self) -> None:
        tolerated = _TOLERANCE * self._long
        gradient = 1.0 if tolerated >= self._short else tolerated / self._short
        room = math.sqrt(self.value)
        target = self.value * max(_LEAST_GRADIENT, gradient) + room
        smoothed = self.value + _SMOOTHING * (target - self.value)
        self.value = min(smoothed, self._most)  # 1 at least: room outweighs the rest


def _is_app_limited(in_flight: int, limit: float) -> bool:
    return in_flight < limit / 2


def _limit(config: ConcurrencyLimit) -> _Fixed | _Aimd | _Gradient2:
    if config.adaptive == "aimd":
        return _Aimd(config.limit)
    if config.adaptive == "gradient2":
        return _Gradient2(config.limit)
    return _Fixed(config.limit)
