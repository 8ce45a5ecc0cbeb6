"""Where quotas are counted. All stores come to the same numbers; see `machines`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from server_kit.ratelimit.quota import Decision, Quota


@dataclass(frozen=True, slots=True)
class Reserving:
    """Setting the costs aside instead of charging them."""

    name: str
    """By which they are settled. No other is called so."""

    expires: float
    """Seconds after which they come back, if nobody settles them."""

    @classmethod
    def for_seconds(cls, expires: float) -> "Reserving":
        """Return one of a new name."""
        return cls(uuid4().hex, expires)


class Store(Protocol):
    """One place where quotas are counted."""

    async def decide(
        self, quotas: Sequence[Quota], reserving: Reserving | None = None
    ) -> Sequence[Decision | None]:
        """Charge all of `quotas` if all have room, else none; no two are the same.

        Returns:
            How they stand, in their order. None: another one has refused already, and
            this one was not looked at.

        """

    async def decide_one(
        self, key: str, limit: int, window: float, cost: int
    ) -> Decision:
        """Decide about one quota, which is known to be one."""

    async def settle(
        self, quotas: Sequence[Quota], costs: Sequence[int], reserving: Reserving
    ) -> None:
        """Charge what became of the costs that were set aside."""

    async def refund(self, quota: Quota, cost: int) -> None:
        """Undo the latest charges, as far as `cost` units or as there are any."""

    async def reset(self, quota: Quota) -> None:
        """Forget all that was used or set aside."""

    async def aclose(self) -> None:
        """Let go of all that is open."""


def tightest(decisions: Iterable[Decision | None]) -> Decision:
    """Return the decision that says most about what the caller may do next.

    Of those that refuse, the one with the longest wait; if none does, the one with the
    fewest units left.
    """
    known = [it for it in decisions if it is not None]
    return min(known, key=lambda it: (it.allowed, -it.retry_after, it.remaining))
