"""Quotas kept in the memory of one process."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Lock
from typing import Final, TypeAlias

from server_kit.ratelimit.machines import MACHINES, Algorithm, Machine
from server_kit.ratelimit.quota import Decision, Quota

_Name: TypeAlias = tuple[str, int, float]

LOOKED_AT: Final = 8
"""Keys that each new key has to look at, in search of one that can be forgotten."""


class MemoryStore:
    """The machines of up to `max_keys` keys. Safe from threads.

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
        self._new_machine = MACHINES[algorithm]
        self._clock = clock
        self._max_keys = max_keys
        self._machines: OrderedDict[_Name, Machine] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._machines)

    def decide(self, quotas: Sequence[Quota]) -> list[Decision]:
        """Charge all of `quotas` if all have room, else none of them.

        Args:
            quotas: No two of the same key, limit and window.

        """
        with self._lock:
            # Read while locked, or a decision might be told an earlier time than the
            # one before it.
            now = self._clock()
            machines = [self._machine(quota) for quota in quotas]
            pairs = list(zip(quotas, machines, strict=True))
            waits = [machine.wait(quota.cost, now) for quota, machine in pairs]
            if not any(waits):
                for quota, machine in pairs:
                    machine.charge(quota.cost, now)
                    self._keep(quota, machine, now)
            return [
                _decision(quota, machine, wait, now)
                for (quota, machine), wait in zip(pairs, waits, strict=True)
            ]

    def _machine(self, quota: Quota) -> Machine:
        machine = self._machines.get(_name(quota))
        if machine is None:
            return self._new_machine(quota.limit, quota.window)
        self._machines.move_to_end(_name(quota))
        return machine

    def _keep(self, quota: Quota, machine: Machine, now: float) -> None:
        name = _name(quota)
        if name in self._machines or machine.used(now) == 0:
            return
        self._make_room(now)
        self._machines[name] = machine

    def _make_room(self, now: float) -> None:
        shares = {}
        for name in list(islice(self._machines, LOOKED_AT)):
            used = self._machines[name].used(now)
            if used == 0:
                del self._machines[name]
                continue
            shares[name] = used / name[1]
            # To the back, or keys with long windows would hide all others.
            self._machines.move_to_end(name)
        if len(self._machines) >= self._max_keys:
            del self._machines[min(shares, key=shares.__getitem__)]


def _name(quota: Quota) -> _Name:
    return quota.key, quota.limit, quota.window


def _decision(quota: Quota, machine: Machine, wait: float, now: float) -> Decision:
    return Decision(
        allowed=wait == 0,
        limit=quota.limit,
        remaining=quota.limit - machine.used(now),
        reset_after=machine.reset(now),
        retry_after=wait,
        window=quota.window,
    )
