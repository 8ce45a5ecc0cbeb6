"""When the next call may go, by what the server announced."""

import math
from random import Random
from typing import Final

MOST_RESET: Final = 86_400.0
"""Seconds. No server is believed to want a longer silence than a day."""

MOST_REMAINING: Final = 1_000_000_000

_SPREAD: Final = 0.1
_SAME_RESET: Final = 1.5  # whole seconds, rounded by the server, and the way to us


class Pacer:
    """What one server allows one partition of its clients, by its own account.

    A partition is an origin and the credential it sees. Told nothing, or past the time
    it was told of, the pacer holds nobody back: a reset is no promise of a full quota,
    but to know better takes an answer. Garbage is for the parser to ignore; what is
    absurd is clamped here.
    """

    def __init__(self) -> None:
        self._held_until = -math.inf
        self._hold = 0.0
        self._left = 0
        self._window = -math.inf  # when what is left ends, as it was first told
        self._until = -math.inf  # and as the latest answer had it
        self._next = -math.inf

    def announce(self, remaining: float, reset: float, now: float) -> None:
        """Take in a `RateLimit` item: `remaining` calls for the next `reset` seconds.

        What is left only ever falls until the reset, whatever is announced: calls in
        flight together are answered in any order, each with the count as it then stood.
        """
        left = math.floor(_clamp(remaining, MOST_REMAINING))
        until = now + _clamp(reset, MOST_RESET)
        if now < self._window and until <= self._window + _SAME_RESET:
            self._left = min(self._left, left)
            self._until = max(self._until, until)
        else:
            self._left, self._window, self._until = left, until, until
            self._next = now

    def hold(self, seconds: float, now: float) -> None:
        """Take in a `Retry-After`, which goes before what else the answer announces."""
        length = _clamp(seconds, MOST_RESET)
        if now + length > self._held_until:
            self._held_until, self._hold = now + length, length
        self._window = self._until = -math.inf

    def reserve(self, now: float, rng: Random) -> float:
        """Return how long the next call is to wait, in seconds; 0 for not at all.

        Longer than was asked for by up to a tenth, drawn anew for each call: clients
        that were told the same time would else come back in the same moment. A place
        that is not used stays taken until the reset.
        """
        held = self._held_until - now
        if held > 0:
            return held + rng.uniform(0, _SPREAD * self._hold)
        wait = self._turn(now) - now
        return rng.uniform(wait, wait * (1 + _SPREAD)) if wait > 0 else 0.0

    def _turn(self, now: float) -> float:
        if now >= self._until:
            return now
        if self._left == 0:
            return self._until
        turn = max(now, self._next)
        self._next = turn + (self._until - turn) / self._left
        self._left -= 1
        return turn


def _clamp(value: float, most: float) -> float:
    return min(value, most) if value > 0 else 0.0  # also NaN
