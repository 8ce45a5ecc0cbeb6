"""Counting over the recent past."""

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

SLICES: Final = 10
"""Parts of a window: a call leaves the count up to span / SLICES seconds early."""


class Tally(NamedTuple):
    """How many calls ended, how many of them failed, and how many were slow."""

    calls: int
    failures: int
    slow: int


@dataclass(slots=True)
class _Slice:
    index: int
    calls: int = 0
    failures: int = 0
    slow: int = 0


class SlidingWindow:
    """Calls of the last `span` seconds, in memory that does not grow with traffic.

    Forgetting depends on the time passed in, never on traffic: a window that was full
    of failures an hour ago is empty now, even if nothing was recorded since.
    """

    def __init__(self, span: float) -> None:
        self._width = span / SLICES
        self._slices: deque[_Slice] = deque()
        self._calls = 0
        self._failures = 0
        self._slow = 0
        self.is_troubled = False
        """Whether anything in it failed or was slow, as of the last record."""

    def record(self, *, failed: bool, slow: bool = False, now: float) -> None:
        """Count one call that ended at `now`."""
        index = now // self._width
        if self._slices and self._slices[0].index <= index - SLICES:
            self._forget(index)
        # Two threads may read the clock in one order and come here in the other; the
        # later slice then takes the earlier call as well.
        if not self._slices or self._slices[-1].index < index:
            self._slices.append(_Slice(int(index)))
        last = self._slices[-1]
        last.calls += 1
        self._calls += 1
        if failed or slow:
            last.failures += failed
            last.slow += slow
            self._failures += failed
            self._slow += slow
            self.is_troubled = True

    def tally(self, now: float) -> Tally:
        """Return the counts as of `now`."""
        self._forget(now // self._width)
        return Tally(self._calls, self._failures, self._slow)

    def _forget(self, index: float) -> None:
        newest_gone = index - SLICES
        while self._slices and self._slices[0].index <= newest_gone:
            gone = self._slices.popleft()
            self._calls -= gone.calls
            self._failures -= gone.failures
            self._slow -= gone.slow
            self.is_troubled = self._failures > 0 or self._slow > 0
