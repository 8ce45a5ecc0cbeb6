"""Quotas counted in Redis, a part of them ahead. asyncio only."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import uuid4

from server_kit.ratelimit.leases import NOTHING, Ahead, Lease, Leases, Taken
from server_kit.ratelimit.quota import Decision, Quota, microseconds
from server_kit.ratelimit.stores import Reserving, tightest
from server_kit.ratelimit.stores.in_redis import RedisStore, parts
from server_kit.ratelimit.stores.wire import Request, Stood

_SETTLED_WITHIN: Final = 1.0
"""Seconds after its end in which a lease is settled by who is still alive."""


class LeasedStore:
    """A store in Redis, and what this process holds of it.

    Args:
        store: Asked for what is not held.
        lease: How much is taken ahead.
        clock: Gives the time in seconds, of which leases last so many.

    """

    def __init__(
        self, store: RedisStore, lease: Lease, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._leases = Leases(lease)
        self._clock = clock

    async def decide(
        self, quotas: Sequence[Quota], reserving: Reserving | None = None
    ) -> Sequence[Decision | None]:
        """Charge all of `quotas` if all have room, else none; no two are the same."""
        if reserving is not None or not all(quota.cost for quota in quotas):
            return await self._store.decide(quotas, reserving)
        addresses = self._store.addresses(quotas)
        now = self._clock()
        asked = [(at, it.cost) for at, it in zip(addresses, quotas, strict=True)]
        taken = self._leases.take(asked, now)
        if taken is not None:
            return [_decision(it, how) for it, how in zip(quotas, taken, strict=True)]
        known = self._store.decide_here(quotas, addresses)
        if known is not None:
            return known
        wants = [
            self._leases.want(at, it.limit, it.window, it.cost, now)
            for at, it in zip(addresses, quotas, strict=True)
        ]
        stood = await self._ask(quotas, addresses, wants, now)
        return self._store.told(quotas, addresses, stood)

    async def decide_one(
        self, key: str, limit: int, window: float, cost: int
    ) -> Decision:
        """Decide about the one quota that most requests have."""
        return tightest(await self.decide([Quota(key, limit, window, cost)]))

    async def settle(
        self, quotas: Sequence[Quota], costs: Sequence[int], reserving: Reserving
    ) -> None:
        """Charge what became of the costs that were set aside."""
        await self._store.settle(quotas, costs, reserving)

    async def refund(self, quota: Quota, cost: int) -> None:
        """Undo the latest charges, as far as `cost` units or as there are any."""
        await self._store.refund(quota, cost)

    async def reset(self, quota: Quota) -> None:
        """Forget all that was used or set aside."""
        self._leases.failed(*self._store.addresses([quota]))
        await self._store.reset(quota)

    async def aclose(self) -> None:
        """Let go of all that is open; what is held expires as used."""
        await self._store.aclose()

    async def _ask(
        self,
        quotas: Sequence[Quota],
        addresses: Sequence[str],
        wants: Sequence[Ahead],
        now: float,
    ) -> list[Stood] | None:
        if all(want is NOTHING for want in wants):
            return await self._store.ask(Request(parts(quotas, addresses)))
        hold = uuid4().hex
        ttls = [self._leases.ttl(quota.window) for quota in quotas]
        expires = microseconds(max(ttls) + _SETTLED_WITHIN)
        request = Request(parts(quotas, addresses, wants), hold, expires)
        stood = None
        try:
            stood = await self._store.ask(request)
        finally:
            for i, want in enumerate(wants):
                if want is NOTHING:
                    continue
                if stood is None:
                    self._leases.failed(addresses[i])
                else:
                    ends = now + ttls[i]
                    self._granted(quotas[i], addresses[i], hold, stood[i], ends)
        return stood

    def _granted(
        self, quota: Quota, address: str, hold: str, stood: Stood, ends: float
    ) -> None:
        now = self._clock()
        self._leases.granted(
            address,
            hold if stood.aside else "",
            stood.aside,
            ends=ends,
            remaining=max(0, quota.limit - stood.used),
            resets=now + stood.reset / 1_000_000,
        )
        if stood.aside:
            loop = asyncio.get_running_loop()
            loop.call_later(ends - now, self._give_back, quota, address, hold)

    def _give_back(self, quota: Quota, address: str, hold: str) -> None:
        used = self._leases.over(address, hold)
        if used is not None:
            self._store.settle_later(quota, hold, used)


def _decision(quota: Quota, how: Taken) -> Decision:
    return Decision(
        allowed=True,
        limit=quota.limit,
        remaining=how.remaining,
        reset_after=how.reset_after,
        retry_after=0.0,
        window=quota.window,
    )
