"""When a call gives up: what the user chose, and what nobody chose.

What was chosen always holds. A default gives way to a body that moves, because plain
httpx would have brought that home::

    at = min(chosen, max(default, moving_until))
"""

import math
from typing import Final

from resilient_http.policy import Unchosen

LEAST_RATE: Final = 1024.0
"""Bytes a second, sent or received, at which a body counts as moving."""

_LEAST_PATIENCE: Final = 10.0


class Limits:
    """The limits of one call.

    Args:
        now: When the call began, in seconds on a monotonic clock.
        deadline: For the whole call, in seconds; None for no limit.
        attempt: For one send, to the end of its response head; None for no limit.
        longest_phase: The greatest of the phase timeouts that the caller gave httpx,
            in seconds: no default is less. Infinity lifts the defaults.
        outer: What is left of a deadline around the call, in seconds.

    """

    __slots__ = (
        *("_attempt", "_default", "_longest_phase", "call_at", "chosen"),
        "moving_until",
    )

    def __init__(
        self,
        now: float,
        *,
        deadline: float | None,
        attempt: float | None,
        longest_phase: float,
        outer: float = math.inf,
    ) -> None:
        self._attempt = attempt
        self._longest_phase = longest_phase
        chosen, self._default = _ends(now, deadline, longest_phase)
        self.chosen = chosen if outer == math.inf else min(chosen, now + outer)
        """When the call ends because somebody said so; infinity for never."""
        self.moving_until = -math.inf
        """Until when a body that moves puts the defaults off."""
        self.call_at = min(self.chosen, self._default)
        """When the call is to be given up; infinity for never."""

    def begin_send(self, now: float, *, beside: bool = False) -> tuple[float, float]:
        """Start the clock of one send; `beside` another that is still out.

        Returns:
            When it ends because somebody said so, and when if nobody did: for `at`.

        """
        if self.moving_until != -math.inf and not beside:
            self.moving_until = -math.inf
            self._settle()
        return _ends(now, self._attempt, self._longest_phase)

    def at(self, chosen: float, default: float) -> float:
        """Return when a send with these limits is to be given up; infinity for never.

        Once its response head is here, both are infinity.
        """
        default = max(default, self.moving_until)
        return min(self.call_at, chosen, default)

    def lift_default(self) -> None:
        """Let the body take its time: the caller reads it as a stream."""
        self._default = math.inf
        self._settle()

    def moved(self, count: int, now: float) -> None:
        """Note that `count` bytes of a body were sent or received.

        A bucket of seconds: each `LEAST_RATE` bytes add one, up to the longest pause
        that httpx itself would wait through.
        """
        patience = max(_LEAST_PATIENCE, self._longest_phase)
        if self.moving_until == -math.inf:
            self.moving_until = now + patience
        earned = max(self.moving_until, now) + count / LEAST_RATE
        self.moving_until = min(earned, now + patience)
        self._settle()

    def _settle(self) -> None:
        self.call_at = min(self.chosen, max(self._default, self.moving_until))


def _ends(
    now: float, seconds: float | None, longest_phase: float
) -> tuple[float, float]:
    """Return when it ends if that was chosen, and when if it was not."""
    if seconds is None:
        return math.inf, math.inf
    if isinstance(seconds, Unchosen):
        return math.inf, now + max(seconds, longest_phase)
    return now + seconds, math.inf
