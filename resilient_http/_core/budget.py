"""The retry budget: what retries and hedges may be sent while an origin fails.

Success-funded, as the AWS SDKs have it (the 2026 form of their "standard" retry mode).
Where single calls fail, each that succeeds on a retry gets its payment back, so retries
go on; in an outage nothing comes back, and they end.
"""

from dataclasses import dataclass
from typing import Final

from resilient_http.policy import RetryBudget

_EARNED: Final = 1.0
"""Tokens for a call that succeeded at once."""


@dataclass(frozen=True, slots=True)
class Payment:
    """What one retry or hedge has paid."""

    tokens: float


class Budget:
    """The tokens of one origin, never fewer than none nor more than its capacity."""

    def __init__(self, config: RetryBudget) -> None:
        self._config = config
        self._tokens = float(config.capacity)

    @property
    def tokens(self) -> float:
        """How many there are."""
        return self._tokens

    def spend(self, *, throttled: bool = False) -> Payment | None:
        """Pay for a retry or hedge, before it is waited for.

        Args:
            throttled: The server asked for less traffic, which costs it less to say
                than a failure does.

        Returns:
            What was paid; None where there is not enough, and it must not be sent.

        """
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
        earned = _EARNED if last is None else last.tokens
        if self._tokens < self._config.capacity:
            self._tokens = min(self._tokens + earned, self._config.capacity)
