"""Units that a process takes ahead, to decide by itself: pure, told the time.

A lease is set aside in Redis, and settled there with what was used of it. So it is
never more than the quota allows: what may still be used takes up room all the while,
and what was used is remembered for a window after the lease ended. What it costs is
use: units that one process holds are not there for another. That is at most `share` of
the limit for each process, for `ttl`; and no process holds more than twice what it
asked for in its last lease.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from server_kit.checks import check_seconds, wrong

_MOST_SHARE: Final = 0.5
_MOST_KEYS: Final = 10_000
_WORTH_IT: Final = 2  # units: with fewer, every decision is a round trip all the same


@dataclass(frozen=True, slots=True)
class Lease:
    """How much a process takes ahead of a quota, and for how long.

    All processes that share a quota may have leases of their own, or none.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of its range.

    """

    share: float = 0.05
    """The part of the limit that one process holds at most, above 0 and up to 0.5."""

    ttl: float = 1.0
    """Seconds until what is left goes back. A tenth of the window, if that is less."""

    def __post_init__(self) -> None:
        must_be = f"a number above 0 and up to {_MOST_SHARE}"
        if isinstance(self.share, bool) or not isinstance(self.share, int | float):
            raise TypeError(wrong(self, "share", must_be))
        if not 0 < self.share <= _MOST_SHARE:
            raise ValueError(wrong(self, "share", must_be))
        check_seconds(self, "ttl", above=0)


class Ahead(NamedTuple):
    """What is asked for beside the cost of a request, and what is given back for it."""

    most: int
    """Units to set aside, if they are there; 0 for none."""

    last: str
    """The name of the lease that is over; "" if there is none."""

    used: int
    """Units used of it."""


NOTHING: Final = Ahead(0, "", 0)


@dataclass(slots=True)
class _Stock:
    name: str
    left: int
    used: int
    asked: int
    ends: float
    remaining: int
    resets: float
    is_asking: bool = False


class Taken(NamedTuple):
    """How a quota stands after a request that this process decided."""

    remaining: int
    reset_after: float


class Leases:
    """The leases of one process, by the address of the quota.

    Args:
        lease: How much, and for how long.

    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._stocks: OrderedDict[str, _Stock] = OrderedDict()

    def ttl(self, window: float) -> float:
        """Return for how many seconds a lease of such a window holds."""
        return min(self._lease.ttl, window / 10)

    def take(self, asked: list[tuple[str, int]], now: float) -> list[Taken] | None:
        """Take the costs from what is held, if there is enough for each of them.

        Returns:
            How the quotas stand now; None if Redis has to be asked. Nothing was taken
            then.

        """
        stocks = []
        for address, cost in asked:
            stock = self._stocks.get(address)
            if stock is None or stock.left < cost or stock.ends <= now:
                return None
            if stock.is_asking:  # Redis has been told what was used, and no more
                return None
            stocks.append(stock)
        taken = []
        for stock, (_, cost) in zip(stocks, asked, strict=True):
            stock.left -= cost
            stock.used += cost
            stock.asked += cost
            resets = max(stock.resets - now, 0.0)
            taken.append(Taken(stock.remaining + stock.left, resets))
        return taken

    def want(
        self, address: str, limit: int, window: float, cost: int, now: float
    ) -> Ahead:
        """Return what to ask for beside `cost`; for one request at a time.

        Who gets something is to tell `granted` or `failed` what became of it.
        """
        stock = self._stocks.get(address)
        if stock is None or (not stock.name and stock.ends <= now):
            self._make_room()
            ends = now + self.ttl(window)
            # Fewer than none, or who asks about 0 units would be told of none left.
            self._stocks[address] = _Stock("", -1, 0, cost, ends, 0, 0.0)
            return NOTHING
        self._stocks.move_to_end(address)
        stock.asked += cost
        if stock.is_asking:
            return NOTHING
        stock.is_asking = True
        most = min(int(limit * self._lease.share), 2 * stock.asked)
        return Ahead(most if most >= _WORTH_IT else 0, stock.name, stock.used)

    def granted(  # noqa: PLR0913 - all that Redis said
        self,
        address: str,
        name: str,
        units: int,
        *,
        ends: float,
        remaining: int,
        resets: float,
    ) -> None:
        """Take in what was set aside, and how the quota stands beside it."""
        self._stocks[address] = _Stock(name, units, 0, 0, ends, remaining, resets)

    def failed(self, address: str) -> None:
        """Forget a lease of which it is not known what became of it."""
        self._stocks.pop(address, None)

    def over(self, address: str, name: str) -> int | None:
        """End a lease; return what was used of it, None if it is over already."""
        stock = self._stocks.get(address)
        if stock is None or stock.name != name or stock.is_asking:
            return None
        del self._stocks[address]
        return stock.used

    def _make_room(self) -> None:
        if len(self._stocks) >= _MOST_KEYS:
            self._stocks.popitem(last=False)
