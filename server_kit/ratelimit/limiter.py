"""One place to ask whether a key may go on."""

import time
from collections.abc import Callable, Iterable

from server_kit.ratelimit.machines import MACHINES, Algorithm
from server_kit.ratelimit.memory import MemoryStore
from server_kit.ratelimit.quota import Decision, Quota, check_limit


class RateLimiter:
    """Quotas by key, kept in this process. Safe from threads, and for any event loop.

    Args:
        algorithm: "sliding_window": never more than 1.1 times the limit in any window,
            however placed, and nothing comes back before the first use is a window old.
            "token_bucket": a burst of the limit, then evenly at limit / window.
        clock: Gives the time in seconds.
        max_keys: Keys remembered at a time. Past that, keys are forgotten: first those
            that use nothing of their quota, then those that use little.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range.

    """

    def __init__(
        self,
        *,
        algorithm: Algorithm = "sliding_window",
        clock: Callable[[], float] = time.monotonic,
        max_keys: int = 100_000,
    ) -> None:
        if algorithm not in MACHINES:
            known = ", ".join(MACHINES)
            raise ValueError(f"algorithm must be one of {known}, got {algorithm!r}")
        if not callable(clock):
            raise TypeError(f"clock must be callable, got {clock!r}")
        check_limit("max_keys", max_keys)
        self._store = MemoryStore(algorithm, clock, max_keys)

    async def check(
        self, key: str, *, limit: int, window: float, cost: int = 1
    ) -> Decision:
        """Take `cost` units of the quota of `key`, if they are there.

        Args:
            key: Whose quota it is. The same key with another limit or window has
                another quota.
            limit: Units that a window holds.
            window: Seconds.
            cost: Units to take; 0 asks without taking any, and is always allowed.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of its range, or `cost` is more than `limit`.

        """
        return await self.check_all([Quota(key, limit, window, cost)])

    async def check_all(self, quotas: Iterable[Quota]) -> Decision:
        """Take the cost of every quota if all have room, else of none.

        Returns:
            How the tightest of them stands: of those that refuse, the one with the
            longest wait; if none does, the one with the fewest units left.

        Raises:
            ValueError: There are no quotas, or two of the same key, limit and window.

        """
        asked = list(quotas)
        names = {(quota.key, quota.limit, quota.window) for quota in asked}
        if not asked or len(names) < len(asked):
            raise ValueError(f"quotas must be different ones, got {asked!r}")
        return tightest(self._store.decide(asked))


def tightest(decisions: Iterable[Decision]) -> Decision:
    """Return the decision that says most about what the caller may do next.

    Of those that refuse, the one with the longest wait; if none does, the one with the
    fewest units left.
    """
    return min(decisions, key=lambda it: (-it.retry_after, it.remaining))
