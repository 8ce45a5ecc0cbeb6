"""When the next call may go, by what the server announced.

A server may have several quotas, and answers overtake one another. What is announced
for a later reset takes the place of what ends sooner: it is the newer window, or the
quota that is closer to exhaustion. What is announced for an earlier one is kept beside
the longer: neither quota may be exceeded.

Where the quota is named as well, and others use it too, our share of it takes the place
of what is left of it: see `share`.
"""

import math
from bisect import bisect_left, bisect_right, insort
from random import Random
from typing import Final

from resilient_http._core.share import Quota, Share

MOST_RESET: Final = 86_400.0
"""Seconds. No server is believed to want a longer silence than a day."""

MOST_REMAINING: Final = 1_000_000_000

_SPREAD: Final = 0.1
_SAME_RESET: Final = 1.5  # whole seconds, rounded by the server, and the way to us
_MOST_WINDOWS: Final = 4  # what would be another is held to the reset of the last


class Pacer:
    """What one server allows one partition of its clients, by its own account.

    A partition is an origin and the credential it sees. Told nothing, or past the time
    it was told of, the pacer holds nobody back: a reset is no promise of a full quota,
    but to know better takes an answer. Garbage is for the parser to ignore; what is
    absurd is clamped here. Time may not go back from one call to the next.
    """

    def __init__(self) -> None:
        self._share = Share()
        self._held_until = -math.inf
        self._hold = 0.0
        # Each ends before the one to its left.
        self._windows: list[_Window] = []
        # When they go who were told to wait, the first of them first.
        self._waiting: list[float] = []
        self.place: float | None = None
        """Of the latest reservation, if it is one that moves: for `again`."""

    def announce(
        self, remaining: float, reset: float, now: float, quota: Quota | None = None
    ) -> None:
        """Take in a `RateLimit` item: `remaining` calls for the next `reset` seconds.

        What is left of a window only ever falls, whatever is announced: calls in
        flight together are answered in any order, each with the count as it then
        stood. Who waits already is among those who will use it.
        """
        self._forget(now)
        until = now + _clamp(reset, MOST_RESET)
        while self._windows and self._windows[-1].gives_way_to(until, now):
            self._windows.pop()
        if quota is not None and quota[1] <= MOST_RESET:
            left = _clamp(remaining, MOST_REMAINING)
            self._share.hear(left, until, quota, now)
            if self._share.is_paced:
                # What is left is for all who share it, and we take our part of it.
                if self._windows and self._windows[-1].is_told_by(until):
                    self._windows.pop()
                return
        if until == now:
            return
        waiting = bisect_left(self._waiting, until)
        left = max(0, math.floor(_clamp(remaining, MOST_REMAINING)) - waiting)
        is_full = len(self._windows) == _MOST_WINDOWS
        if self._windows and (is_full or self._windows[-1].is_told_by(until)):
            self._windows[-1].tighten(left, until)
        else:
            self._windows.append(_Window(left, until))

    def hold(self, seconds: float, now: float) -> None:
        """Take in a `Retry-After`, which goes before all that was announced.

        What else its answer announces is not to be taken in.
        """
        length = _clamp(seconds, MOST_RESET)
        if now + length > self._held_until:
            self._held_until, self._hold = now + length, length
        self._windows.clear()
        self._share.refuse(now + length, now)

    def wait(self, now: float) -> float:
        """Return how long a call that asks at `now` would wait at least, in seconds."""
        return self._turn(now) - now

    def reserve(self, now: float, rng: Random) -> float:
        """Return how long the next call is to wait, in seconds; 0 for not at all.

        Longer than was asked for by up to a tenth, drawn anew for each call: clients
        that were told the same time would else come back in the same moment. A place
        that is not used stays taken: who may not want to wait asks `wait` first.
        """
        turn = self._turn(now)
        for window in self._windows:
            window.take(turn)
        self.place = self._share.take(now)
        if turn == now:
            self._share.count(1, now)
            return 0.0
        # Who comes late in a hold is spread as widely as who was there from the start.
        wait = turn - now
        spread = _SPREAD * (self._hold if turn == self._held_until else wait)
        wait = rng.uniform(wait, wait + spread)
        if self.place is None:
            insort(self._waiting, now + wait)
        return wait

    def nap(self, wait: float) -> float:
        """Return after how much of a `wait` in line to ask `again`, in seconds."""
        return self._share.nap(wait)

    def again(self, place: float, now: float, rng: Random) -> float:
        """Return how much longer a place in line is to wait; 0 for no more."""
        wait = self._share.wait_of(place, now)
        return rng.uniform(wait, wait + _SPREAD * wait) if wait > 0 else 0.0

    def _turn(self, now: float) -> float:
        self._forget(now)
        turns = [it.turn() for it in self._windows]
        return max(now + self._share.wait(now), now, self._held_until, *turns)

    def _forget(self, now: float) -> None:
        gone = bisect_right(self._waiting, now)
        if gone:
            del self._waiting[:gone]
            self._share.count(gone, now)


class _Window:
    """So many calls, until a reset."""

    def __init__(self, left: int, until: float) -> None:
        self.until = until  # as the latest answer had it
        self._end = until  # as it was first told
        self._left = left

    def gives_way_to(self, until: float, now: float) -> bool:
        return self._end <= now or self._end + _SAME_RESET < until

    def is_told_by(self, until: float) -> bool:
        """Tell whether it is this reset that is meant, if it is none after it."""
        return self._end - _SAME_RESET <= until

    def tighten(self, left: int, until: float) -> None:
        self._left = min(self._left, left)
        self.until = max(self.until, until)

    def turn(self) -> float:
        """Return the earliest time for another call."""
        # Not spread over the time that remains: a server that lets a hundred go in a
        # minute lets them go at once, and who calls it ten times is not to take six
        # seconds for it.
        return -math.inf if self._left else self.until

    def take(self, turn: float) -> None:
        """Count a call."""
        if turn < self.until:
            self._left -= 1


def _clamp(value: float, most: float) -> float:
    return min(value, most) if value > 0 else 0.0  # also NaN
