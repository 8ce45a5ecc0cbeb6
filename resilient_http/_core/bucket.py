"""When the next call may go, by a rate of our own.

The generic cell rate algorithm (GCRA, ITU-T I.371): one number, the time at which all
that was taken will have been earned. It gives places in line, so that however many
wait, each wakes once and at its own time. It holds no lock; who shares it holds one for
each step.
"""

import math
from bisect import insort
from dataclasses import dataclass
from typing import Final

from resilient_http.policy import RateLimit

_CLOCK_NOISE: Final = 1e-6
"""Who waits exactly as long as it was told is not sent away for a rounding error."""


@dataclass(slots=True, eq=False)
class Place:
    """A place in line: when one call may go."""

    at: float
    began: float
    """Where the bucket stood before it was taken."""
    ends: float
    """Where it stood afterwards."""
    is_given_back: bool = False


class Bucket:
    """Never more than ``burst + t * limit / window`` calls in any t seconds.

    A call that goes later than its place says is no harm; one that goes before is.
    """

    def __init__(self, config: RateLimit) -> None:
        burst = config.limit if config.burst is None else config.burst
        self._gap = config.window / config.limit
        self._tolerance = (burst - 1) * self._gap
        self._level = -math.inf
        # Given back while later ones are taken, the earliest first.
        self._free: list[Place] = []

    def wait(self, now: float) -> float:
        """Return how long a call that asks at `now` would wait, in seconds."""
        self._forget(now)
        return (self._free[0].at if self._free else self._end_of_line(now)) - now

    def reserve(self, now: float) -> Place:
        """Take the next place in line; `cancel` it if it is not used."""
        self._forget(now)
        if self._free:
            free = self._free.pop(0)
            return Place(free.at, free.began, free.ends)
        began = max(self._level, now)
        place = Place(self._end_of_line(now), began, began + self._gap)
        self._level = place.ends
        return place

    def cancel(self, place: Place, now: float) -> bool:
        """Give an unused place back.

        Returns:
            Whether another call may have it: not where its time has passed and others
            have been given later ones.

        """
        if place.is_given_back:
            return False
        place.is_given_back = True
        if place.ends != self._level:
            # Or a crowd that is cancelled from its head on would leave everyone after
            # it to wait behind nobody.
            insort(self._free, place, key=lambda free: free.at)
            self._forget(now)
            return place in self._free
        self._level = place.began
        while self._free and self._free[-1].ends == self._level:
            self._level = self._free.pop().began
        return True

    def _end_of_line(self, now: float) -> float:
        at = self._level - self._tolerance
        return at if at - now > _CLOCK_NOISE else now

    def _forget(self, now: float) -> None:
        while self._free and self._free[0].at < now:
            del self._free[0]
