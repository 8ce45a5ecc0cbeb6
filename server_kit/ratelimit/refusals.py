"""Which quotas need not be asked about, as they have just refused: pure, told the time.

Who is over a limit and goes on asking costs no round trip. For a second at most: from
another process the quota may be reset, or units be given back.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

LONGEST: Final = 1.0
"""Seconds."""

_MOST_KEYS: Final = 10_000


class _Refusal(NamedTuple):
    cost: int
    until: float
    frees: float
    resets: float
    remaining: int


class Standing(NamedTuple):
    """What a refused request is told."""

    retry_after: float
    reset_after: float
    remaining: int


class Refusals:
    """The latest refusals, by the address of the quota."""

    def __init__(self) -> None:
        self._refusals: OrderedDict[str, _Refusal] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._refusals)

    def of(self, address: str, cost: int, now: float) -> Standing | None:
        """Return what a request of `cost` would be told; None: that is not known."""
        refusal = self._refusals.get(address)
        if refusal is None:
            return None
        if refusal.until <= now:
            del self._refusals[address]
            return None
        if cost != refusal.cost:  # less may fit, and more will have to wait longer
            return None
        waits = refusal.frees - now, refusal.resets - now
        return Standing(*waits, refusal.remaining)

    def note(self, address: str, cost: int, told: Standing, now: float) -> None:
        """Take in a refusal."""
        self._refusals.pop(address, None)
        if len(self._refusals) >= _MOST_KEYS:
            self._refusals.popitem(last=False)
        frees = now + told.retry_after
        until = min(frees, now + LONGEST)
        resets = now + told.reset_after
        self._refusals[address] = _Refusal(cost, until, frees, resets, told.remaining)

    def forget(self, address: str) -> None:
        """Have the quota asked about again."""
        self._refusals.pop(address, None)
