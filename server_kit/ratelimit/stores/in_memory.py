"""Quotas counted in the memory of one process."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Lock
from typing import Final, TypeAlias

from server_kit.ratelimit.machines import Account, Algorithm, Hold
from server_kit.ratelimit.quota import Decision, Quota, microseconds, seconds_until
from server_kit.ratelimit.stores import Reserving

_Name: TypeAlias = tuple[str, int, float]

LOOKED_AT: Final = 8
"""Keys that each new key has to look at, in search of one that can be forgotten."""


class MemoryStore:
    """The accounts of up to `max_keys` keys. Safe from threads, and for any event loop.

    One key with two limits, or two windows, is two quotas. With each new key the keys
    that have not been seen for longest are looked at: those that use nothing of their
    quota are forgotten. If none of them does and the store is full, the one goes that
    uses the smallest share, and its quota is fresh when it comes back: bounded memory
    is worth more, and a key that exhausts its quota is hardly ever the one to go.

    Args:
        algorithm: How quotas run out and come back.
        clock: Gives the time in seconds.
        max_keys: Keys remembered at a time, at least 1.

    """

    def __init__(
        self, algorithm: Algorithm, clock: Callable[[], float], max_keys: int
    ) -> None:
        self._algorithm: Algorithm = algorithm
        self._clock = clock
        self._max_keys = max_keys
        self._accounts: OrderedDict[_Name, Account] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._accounts)

    async def decide(
        self, quotas: Sequence[Quota], reserving: Reserving | None = None
    ) -> Sequence[Decision]:
        """Charge all of `quotas` if all have room, else none; no two are the same."""
        return self.decide_now(quotas, reserving)

    async def decide_one(
        self, key: str, limit: int, window: float, cost: int
    ) -> Decision:
        """Decide about the one quota that most requests have."""
        name = (key, limit, window)
        with self._lock:
            seconds = self._clock()
            now = microseconds(seconds)
            known = self._accounts.get(name)
            if known is None:
                account = Account(self._algorithm, limit, microseconds(window))
            else:
                account = known
                self._accounts.move_to_end(name)
            account.forward(now)
            wait = account.wait(cost, now)
            if wait == 0 and cost:
                account.charge(cost, now)
                if known is None:
                    self._keep(name, account, now)
            return _decision(name, account, wait, seconds, now)

    def decide_now(
        self, quotas: Sequence[Quota], reserving: Reserving | None = None
    ) -> list[Decision]:
        """Decide without ever waiting."""
        with self._lock:
            # Read while locked, or a decision might be told an earlier time than the
            # one before it.
            seconds = self._clock()
            now = microseconds(seconds)
            accounts = [self._account(quota, now) for quota in quotas]
            pairs = list(zip(quotas, accounts, strict=True))
            waits = [account.wait(quota.cost, now) for quota, account in pairs]
            if not any(waits):
                for quota, account in pairs:
                    _take(quota, account, now, reserving)
                    if quota.cost and _name(quota) not in self._accounts:
                        self._keep(_name(quota), account, now)
            return [
                _decision(_name(quota), account, wait, seconds, now)
                for (quota, account), wait in zip(pairs, waits, strict=True)
            ]

    async def settle(
        self, quotas: Sequence[Quota], costs: Sequence[int], reserving: Reserving
    ) -> None:
        """Charge what became of the costs that were set aside."""
        with self._lock:
            now = microseconds(self._clock())
            for quota, cost in zip(quotas, costs, strict=True):
                account = self._account(quota, now)
                account.settle(reserving.name, cost, now, is_used=False)
                if _name(quota) not in self._accounts:
                    self._keep(_name(quota), account, now)

    async def refund(self, quota: Quota, cost: int) -> None:
        """Undo the latest charges, as far as `cost` units or as there are any."""
        with self._lock:
            self._account(quota, microseconds(self._clock())).refund(cost)

    async def reset(self, quota: Quota) -> None:
        """Forget all that was used or set aside."""
        with self._lock:
            self._accounts.pop(_name(quota), None)

    async def aclose(self) -> None:
        """Do nothing: what is in memory goes with it."""

    def _account(self, quota: Quota, now: int) -> Account:
        account = self._accounts.get(_name(quota))
        if account is None:
            return Account(self._algorithm, quota.limit, microseconds(quota.window))
        self._accounts.move_to_end(_name(quota))
        account.forward(now)
        return account

    def _keep(self, name: _Name, account: Account, now: int) -> None:
        if account.used:
            self._make_room(now)
            self._accounts[name] = account

    def _make_room(self, now: int) -> None:
        shares = {}
        for name in list(islice(self._accounts, LOOKED_AT)):
            account = self._accounts[name]
            account.forward(now)
            if account.used == 0:
                del self._accounts[name]
                continue
            shares[name] = account.used / name[1]
            # To the back, or keys with long windows would hide all others.
            self._accounts.move_to_end(name)
        if len(self._accounts) >= self._max_keys:
            del self._accounts[min(shares, key=shares.__getitem__)]


def _name(quota: Quota) -> _Name:
    return quota.key, quota.limit, quota.window


def _take(
    quota: Quota, account: Account, now: int, reserving: Reserving | None
) -> None:
    if reserving is None:
        account.charge(quota.cost, now)
    elif quota.cost:
        expires = now + microseconds(reserving.expires)
        account.hold(reserving.name, Hold(quota.cost, expires, is_used=False))


def _decision(
    name: _Name, account: Account, wait: int, seconds: float, now: int
) -> Decision:
    _, limit, window = name
    used = account.used
    return Decision(
        wait == 0,
        limit,
        limit - used if used < limit else 0,
        seconds_until(account.reset(now), seconds, now),
        seconds_until(wait, seconds, now) if wait else 0.0,
        window,
    )
