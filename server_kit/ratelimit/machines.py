"""How a quota runs out and comes back, as machines that are told the time.

Nothing here reads a clock or locks. A machine holds what one key has used of one quota.
Asking how long to `wait` takes nothing, `charge` does: so several quotas can be asked
first, and then all be charged or none.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

SLICES: Final = 10
"""A sliding window forgets a tenth of its limit, or of its length, at a time."""

Algorithm: TypeAlias = Literal["sliding_window", "token_bucket"]


class Machine(Protocol):
    """What one key has used of one quota. Not safe from threads.

    `now` is in seconds on any clock. Should it step back, nobody is locked out for
    longer than a window.
    """

    def used(self, now: float) -> int:
        """Return how many units are taken."""

    def wait(self, cost: int, now: float) -> float:
        """Return in how many seconds `cost` units will be there; 0 if they are.

        Waiting exactly so long is always enough, however the sum is rounded.
        """

    def charge(self, cost: int, now: float) -> None:
        """Take `cost` units."""

    def reset(self, now: float) -> float:
        """Return in how many seconds no unit will be taken."""


@dataclass(slots=True)
class _Slice:
    since: float
    used: int


class SlidingWindow:
    """At most `limit` units in a window that moves with the clock.

    Charges are counted in slices. A slice begins with a charge, and takes in those that
    follow until it holds a tenth of the limit or is a tenth of the window old. One
    window after its first charge it is forgotten as a whole. Therefore

    - nothing comes back before the first charge is a window old, and a wait is never
      longer than the window;
    - no window, however placed, holds more than 1.1 times the limit: charges that are
      younger than a window but forgotten all belong to one slice, and a slice of more
      than one charge holds a tenth of the limit at most;
    - there are fewer than 30 slices: two neighbours hold more than a tenth of the limit
      together, or began a tenth of the window apart.

    Two weighted counters, the usual way, let nearly twice the limit through when its
    use is uneven; slices on a fixed grid, when it falls on the edge of one.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._slices: list[_Slice] = []

    def used(self, now: float) -> int:
        """Return how many units are taken."""
        self._forget(now)
        return sum(slice_.used for slice_ in self._slices)

    def wait(self, cost: int, now: float) -> float:
        """Return in how many seconds `cost` units will be there; 0 if they are."""
        missing = self.used(now) + cost - self._limit
        left = 0.0
        for slice_ in self._slices:
            if missing <= 0:
                break
            missing -= slice_.used
            left = self._left(slice_, now)
        return left

    def charge(self, cost: int, now: float) -> None:
        """Take `cost` units."""
        if cost == 0:
            return
        self._forget(now)
        if self._slices and self._fits(self._slices[-1], cost, now):
            self._slices[-1].used += cost
        else:
            self._slices.append(_Slice(now, cost))

    def reset(self, now: float) -> float:
        """Return in how many seconds no unit will be taken."""
        self._forget(now)
        return self._left(self._slices[-1], now) if self._slices else 0.0

    def _fits(self, slice_: _Slice, cost: int, now: float) -> bool:
        is_small = slice_.used + cost <= self._limit // SLICES
        return is_small and now - slice_.since < self._window / SLICES

    def _forget(self, now: float) -> None:
        for slice_ in reversed(self._slices):
            if slice_.since <= now:
                break
            slice_.since = now  # the clock was set back
        while self._slices and self._left(self._slices[0], now) == 0:
            del self._slices[0]

    def _left(self, slice_: _Slice, now: float) -> float:
        left = self._window - (now - slice_.since)
        return left if left > _slack(now, slice_.since, self._window) else 0.0


class TokenBucket:
    """A burst of `limit` units at most, coming back evenly over the window.

    The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): what is used is
    how far ahead of now the time lies at which the bucket will be full. A window that
    begins with a burst may see nearly twice the limit.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        # Kept as the time at which it was last full, and the units taken since: adding
        # up times would add up their rounding, and cost a caller the end of a burst.
        self._since = 0.0
        self._taken = 0

    def used(self, now: float) -> int:
        """Return how many units are taken; one that is not back yet counts whole."""
        ahead = self.reset(now) - _slack(now, self._since, self._window)
        return max(0, math.ceil(ahead * self._limit / self._window))

    def wait(self, cost: int, now: float) -> float:
        """Return in how many seconds `cost` units will be there; 0 if they are."""
        room = self._limit - cost
        if self.used(now) <= room:
            return 0.0
        return self.reset(now) - room * self._window / self._limit

    def charge(self, cost: int, now: float) -> None:
        """Take `cost` units."""
        if self.used(now) == 0:
            self._since, self._taken = now, 0
        self._taken += cost

    def reset(self, now: float) -> float:
        """Return in how many seconds no unit will be taken."""
        if self._taken == 0:
            return 0.0
        ahead = self._since + self._taken * self._window / self._limit - now
        if ahead > self._window:
            # By a rounding that let a charge in, or because the clock was set back.
            self._since, self._taken = now, self._limit
            return self._window
        return max(0.0, ahead)


MACHINES: Final[dict[Algorithm, type[SlidingWindow] | type[TokenBucket]]] = {
    "sliding_window": SlidingWindow,
    "token_bucket": TokenBucket,
}
"""The algorithms by their names."""


def _slack(*times: float) -> float:
    # What a few sums of such times may be off by, with room to spare.
    return 8 * math.ulp(max(abs(time) for time in times))
