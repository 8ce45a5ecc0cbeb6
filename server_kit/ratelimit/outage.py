"""What is decided while Redis is not to be had."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from server_kit.ratelimit.machines import Algorithm
from server_kit.ratelimit.quota import Decision, Outage, Quota
from server_kit.ratelimit.stores.in_memory import MemoryStore

CLOSED_FOR: Final = 1.0
"""Seconds after which who was refused for want of Redis may try again."""


class Fallback:
    """A policy, and what it needs to decide by itself.

    Args:
        policy: "open" lets all requests go, "closed" none. "local" counts them in
            memory, against the quota divided by the replicas that were alive when Redis
            was last seen: all of them together admit what the quota allows, if there
            are no more of them than its limit. What was used before the outage is not
            known here, nor afterwards what was used in it: a window that holds the
            beginning or the end of an outage may see twice the limit.
        algorithm: How quotas run out and come back.
        clock: Gives the time in seconds.
        max_keys: Keys remembered at a time.

    """

    def __init__(
        self,
        policy: Outage,
        algorithm: Algorithm,
        clock: Callable[[], float],
        max_keys: int,
    ) -> None:
        self._policy: Outage = policy
        self._new_memory = partial(MemoryStore, algorithm, clock, max_keys)
        self._memory = self._new_memory()
        self.needs_replicas = policy == "local"
        self.replicas = 1
        """How many were alive when Redis was last seen, this one included."""

    def begin_anew(self) -> None:
        """Forget what was counted."""
        self._memory = self._new_memory()

    def decide(self, quotas: Sequence[Quota]) -> list[Decision]:
        """Decide as `Store.decide` does, at once."""
        if self._policy == "local":
            shares = [self._share(quota) for quota in quotas]
            return [
                it._replace(limit=quota.limit, outage="local")
                for it, quota in zip(
                    self._memory.decide_now(shares), quotas, strict=True
                )
            ]
        is_open = self._policy == "open"
        wait = 0.0 if is_open else CLOSED_FOR
        return [
            Decision(
                allowed=is_open,
                limit=quota.limit,
                remaining=quota.limit - quota.cost if is_open else 0,
                reset_after=wait,
                retry_after=wait,
                window=quota.window,
                outage=self._policy,
            )
            for quota in quotas
        ]

    def _share(self, quota: Quota) -> Quota:
        limit = max(1, quota.limit // max(1, self.replicas))
        return replace(quota, limit=limit, cost=min(quota.cost, limit))
