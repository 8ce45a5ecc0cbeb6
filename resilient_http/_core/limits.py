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


class Limits:
    """The limits of one call: of the whole, and of the send under way.

    Args:
        now: When the call began, in seconds on a monotonic clock.
        deadline: For the whole call, in seconds; None for no limit.
        attempt: For one send, to the end of its response head; None for no limit.
        longest_phase: The greatest of the phase timeouts that the caller gave httpx,
            in seconds: no default is less. Infinity lifts the defaults.
        outer: What is left of a deadline around the call, in seconds.

    """

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
        self._patience = max(10.0, longest_phase)
        chosen, self._default = self._ends(now, deadline)
        self.chosen = min(chosen, now + outer)
        """When the call ends because somebody said so; infinity for never."""
        self._send_chosen = self._send_default = math.inf
        self._moving_until = -math.inf

    @property
    def at(self) -> float:
        """When whatever is under way is to be given up; infinity for never."""
        send = min(self._send_chosen, max(self._send_default, self._moving_until))
        return min(self.call_at, send)

    @property
    def call_at(self) -> float:
        """When the call is to be given up; infinity for never."""
        return min(self.chosen, max(self._default, self._moving_until))

    def begin_send(self, now: float) -> None:
        """Start the clock of one send."""
        self._send_chosen, self._send_default = self._ends(now, self._attempt)
        self._moving_until = -math.inf

    def end_head(self) -> None:
        """Stop the clock of the send: its response head is here."""
        self._send_chosen = self._send_default = math.inf

    def lift_default(self) -> None:
        """Let the body take its time: the caller reads it as a stream."""
        self._default = math.inf

    def moved(self, count: int, now: float) -> None:
        """Note that `count` bytes of a body were sent or received.

        A bucket of seconds: each `LEAST_RATE` bytes add one, up to the longest pause
        that httpx itself would wait through.
        """
        if self._moving_until == -math.inf:
            self._moving_until = now + self._patience
        earned = max(self._moving_until, now) + count / LEAST_RATE
        self._moving_until = min(earned, now + self._patience)

    def _ends(self, now: float, seconds: float | None) -> tuple[float, float]:
        if seconds is None:
            return math.inf, math.inf
        if isinstance(seconds, Unchosen):
            return math.inf, now + max(seconds, self._longest_phase)
        return now + seconds, math.inf
