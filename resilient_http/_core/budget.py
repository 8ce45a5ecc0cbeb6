"""The retry budget: what retries and hedges may be sent while an origin fails.

Success-funded, as the AWS SDKs have it (the 2026 form of their "standard" retry mode).
Where single calls fail, each that succeeds on a retry gets its payment back, so retries
go on; in an outage nothing comes back, and they end.

A refusal for want of room is repeated to find another server that has some. Where more
calls are refused than succeed there is none to find: a repeat then takes the place of
another call, or costs one more refusal. So the two are counted against each other, as
in gRPC's retry throttling (A6), though not in tokens: an outage is another matter.
"""

from dataclasses import dataclass
from typing import Final

from resilient_http.policy import RetryBudget

_EARNED: Final = 1.0
"""Tokens for a call that succeeded at once."""

_MOST_ROOM: Final = 10
_LEAST_ROOM: Final = 6
"""Below which refusals are not repeated."""


@dataclass(frozen=True, slots=True)
class Payment:
    """What one retry or hedge has paid."""

    tokens: float


class Budget:
    """The tokens of one origin, never fewer than none nor more than its capacity."""

    def __init__(self, config: RetryBudget) -> None:
        self._config = config
        self._tokens = float(config.capacity)
        self._room = _MOST_ROOM
        """Calls that succeeded, less sends refused; never below 0."""

    @property
    def tokens(self) -> float:
        """How many there are."""
        return self._tokens

    def spend(self, *, throttled: bool = False, shed: bool = False) -> Payment | None:
        """Pay for a retry or hedge, before it is waited for.

        Args:
            throttled: The server asked for less traffic, which costs it less to say
                than a failure does.
            shed: It is for a send that was refused for want of room, which is taken in.

        Returns:
            What was paid; None where there is not enough, or no room to be hoped for,
            and it must not be sent.

        """
        if shed:
            self._room = max(0, self._room - 1)
            if self._room < _LEAST_ROOM:
                return None
        price = self._config.throttled_cost if throttled else self._config.cost
        if self._tokens < price:
            return None
        self._tokens -= price
        return Payment(price)

    def succeed(self, last: Payment | None = None) -> None:
        """Take in that a whole call succeeded; once for each call.

        Args:
            last: The last payment it made; None if it needed no other send.

        """
        if self._room < _MOST_ROOM:
            self._room += 1
        earned = _EARNED if last is None else last.tokens
        if self._tokens < self._config.capacity:
            self._tokens = min(self._tokens + earned, self._config.capacity)
