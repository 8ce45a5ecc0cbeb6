"""One place to ask whether a key may go on."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, get_args

from server_kit.ratelimit.events import RedisBack, RedisDown
from server_kit.ratelimit.leases import Lease
from server_kit.ratelimit.machines import LEVELS, Algorithm
from server_kit.ratelimit.outage import Fallback
from server_kit.ratelimit.passage import Passage
from server_kit.ratelimit.quota import (
    Decision,
    Outage,
    Quota,
    check_cost,
    check_limit,
    check_quota,
    check_window,
)
from server_kit.ratelimit.reservation import Reservation
from server_kit.ratelimit.stores import Reserving, Store, tightest
from server_kit.ratelimit.stores.in_memory import MemoryStore
from server_kit.ratelimit.stores.in_redis import RedisStore
from server_kit.ratelimit.stores.leased import LeasedStore
from server_kit.redis import check_redis

logger: Final = logging.getLogger("server_kit")

TIMEOUT: Final = 0.05
"""Seconds that a decision takes at most, whatever is wrong with Redis."""


class RateLimiter:
    """Quotas by key, kept in this process or in Redis.

    In memory it is safe from threads, and for any event loop; with Redis it needs
    asyncio, and serves several loops.

    Args:
        redis: Where quotas are kept, for all processes that use it. A URL (`redis://`,
            `rediss://`, `unix://`, `redis+cluster://`, `redis+sentinel://h,h/service`)
            or a `redis.asyncio` client, which is left open by `aclose`. None: in
            memory.
        algorithm: "sliding_window": never more than 1.1 times the limit in any window,
            however placed, and nothing comes back before the first use is a window old.
            "token_bucket": a burst of the limit, then evenly at limit / window.
        on_outage: What becomes of requests while Redis is not to be had: "open" lets
            all of them go, "closed" none, "local" counts them in memory against this
            process's part of the quota (see `outage.Fallback`).
        timeout: Seconds after which it is not to be had, whatever is wrong.
        lease: How much this process takes ahead of a quota, to decide without a round
            trip. None: nothing.
        prefix: What keys in Redis begin with. Limiters of one prefix and algorithm
            share their quotas, and one slot of a cluster.
        clock: Gives the time in seconds. Redis goes by its own.
        max_keys: Keys remembered in memory at a time. Past that, keys are forgotten:
            first those that use nothing of their quota, then those that use little.
        listeners: Called with a `RedisDown` or a `RedisBack` for each change. They must
            not block; what they raise is logged and changes nothing.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range.

    """

    def __init__(  # noqa: PLR0913 - what a limiter may be told, each by its name
        self,
        redis: object = None,
        *,
        algorithm: Algorithm = "sliding_window",
        on_outage: Outage = "open",
        timeout: float = TIMEOUT,
        lease: Lease | None = None,
        prefix: str = "ratelimit",
        clock: Callable[[], float] = time.monotonic,
        max_keys: int = 100_000,
        listeners: Iterable[Callable[[RedisDown | RedisBack], object]] = (),
    ) -> None:
        _one_of("algorithm", algorithm, LEVELS)
        _one_of("on_outage", on_outage, get_args(Outage))
        check_window("timeout", timeout)
        if lease is not None and not isinstance(lease, Lease):
            raise TypeError(f"lease must be a Lease or None, got {lease!r}")
        _check_prefix(prefix)
        if not callable(clock):
            raise TypeError(f"clock must be callable, got {clock!r}")
        check_limit("max_keys", max_keys)
        self._listeners = tuple(listeners)
        for listener in self._listeners:
            if not callable(listener):
                raise TypeError(f"listeners must be callables, got {listener!r}")
        self._store: Store
        if redis is None:
            self._store = MemoryStore(algorithm, clock, max_keys)
            return
        check_redis("redis", redis)
        store = RedisStore(
            redis,
            algorithm=algorithm,
            timeout=timeout,
            fallback=Fallback(on_outage, algorithm, clock, max_keys),
            prefix=prefix,
            clock=clock,
            tell=self._tell,
        )
        self._store = store if lease is None else LeasedStore(store, lease, clock)

    async def check(
        self, key: str, *, limit: int, window: float, cost: int = 1
    ) -> Decision:
        """Take `cost` units of the quota of `key`, if they are there.

        Args:
            key: Whose quota it is; Redis holds a digest of it. The same key with
                another limit or window has another quota.
            limit: Units that a window holds.
            window: Seconds.
            cost: Units to take; 0 asks without taking any, and is always allowed.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of its range, or `cost` is more than `limit`.

        """
        check_quota(key, limit, window, cost)
        return await self._store.decide_one(key, limit, window, cost)

    async def check_all(self, quotas: Iterable[Quota]) -> Decision:
        """Take the cost of every quota if all have room, else of none.

        Returns:
            How the tightest of them stands: of those that refuse, the one with the
            longest wait; if none does, the one with the fewest units left.

        Raises:
            ValueError: There are no quotas, or two of the same key, limit and window.

        """
        return tightest(await self.decide(quotas))

    async def decide(self, quotas: Iterable[Quota]) -> Sequence[Decision | None]:
        """Do as `check_all` does; return how every quota stands, in their order.

        None stands for a quota that was not looked at, as another is known to refuse.

        Raises:
            ValueError: There are no quotas, or two of the same key, limit and window.

        """
        return await self._store.decide(_different(quotas))

    async def peek(self, key: str, *, limit: int, window: float) -> Decision:
        """Tell how the quota of `key` stands, and take nothing of it."""
        return await self.check(key, limit=limit, window=window, cost=0)

    async def refund(self, key: str, *, limit: int, window: float, cost: int) -> None:
        """Give back up to `cost` units, of the latest that were taken.

        While Redis is not to be had, nothing is given back.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of its range.

        """
        await self._store.refund(Quota(key, limit, window, 0), check_cost(cost))

    async def reset(self, key: str, *, limit: int, window: float) -> None:
        """Make the quota of `key` a fresh one; nothing, while Redis is not to be had.

        Other processes that were just refused may refuse for another second.
        """
        await self._store.reset(Quota(key, limit, window, 0))

    async def reserve(
        self,
        key: str,
        *,
        limit: int,
        window: float,
        cost: int,
        expires: float | None = None,
    ) -> Reservation:
        """Set `cost` units aside, for what turns out to cost less or more.

        Args:
            key: As for `check`.
            limit: As for `check`.
            window: As for `check`.
            cost: Units to set aside, if they are there.
            expires: Seconds after which they come back, if nobody settles or releases
                the reservation: who would have, has died. None: after the window.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of its range.

        """
        return await self.reserve_all([Quota(key, limit, window, cost)], expires)

    async def reserve_all(
        self, quotas: Iterable[Quota], expires: float | None = None
    ) -> Reservation:
        """Set the cost of every quota aside if all have room, else of none."""
        asked = _different(quotas)
        if expires is None:
            expires = max(quota.window for quota in asked)
        check_window("expires", expires)
        reserving = Reserving.for_seconds(expires)
        decision = tightest(await self._store.decide(asked, reserving))
        return Reservation(self._store, asked, decision, reserving)

    def limit(
        self,
        key: str,
        *,
        limit: int,
        window: float,
        cost: int = 1,
        wait: bool | float = False,
    ) -> Passage:
        """Return what lets a block, or a function, go on only within the quota.

            async with limiter.limit("mail", limit=10, window=1, wait=True):
                await send(mail)

        Args:
            key: As for `check`.
            limit: As for `check`.
            window: As for `check`.
            cost: As for `check`.
            wait: Whether to wait for the units instead of being refused; or for how
                many seconds at most. Who would have to wait longer is refused at once.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of its range.

        """
        return Passage(self, Quota(key, limit, window, cost), wait)

    async def aclose(self) -> None:
        """Close the connections that were opened here, in this event loop."""
        await self._store.aclose()

    def _tell(self, event: RedisDown | RedisBack) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("%r failed on %r", listener, event)


def _different(quotas: Iterable[Quota]) -> list[Quota]:
    asked = list(quotas)
    names = {(quota.key, quota.limit, quota.window) for quota in asked}
    if not asked or len(names) < len(asked):
        raise ValueError(f"quotas must be different ones, got {asked!r}")
    return asked


def _check_prefix(prefix: object) -> None:
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, got {prefix!r}")
    if not prefix or {*prefix} & {*"{}"}:
        raise ValueError(f"prefix must be text without braces, got {prefix!r}")


def _one_of(name: str, value: object, known: Collection[object]) -> None:
    if value not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(map(str, known))}, got {value!r}"
        )
