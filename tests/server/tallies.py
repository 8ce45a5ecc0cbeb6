"""What a quota admits, by a list of all that was ever charged: slow and obvious."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from server_kit.ratelimit.machines import Algorithm


@dataclass
class Tally:
    """One key's use of one quota, in whole microseconds.

    A sliding window may forget a tenth of the limit early. Two things blur what is
    known here, until nothing is used: what turned out to cost more than there was, and
    a clock that was set back.
    """

    limit: int
    window: int
    holds: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Units that are set aside, and when they come back."""
    latest: int = 0
    """When the last of them would have come back, of all since there were none."""
    may_be_more: bool = False
    """Whether more may count as used than is known here."""
    may_be_less: bool = False

    def charged(self, now: int) -> tuple[int, int]:
        """Return the fewest and the most units that may count as charged."""
        raise NotImplementedError

    def charge(self, cost: int, now: int) -> None:
        raise NotImplementedError

    def refund(self, cost: int, now: int) -> None:
        raise NotImplementedError

    def empty(self) -> None:
        """Take note that nothing is used."""
        self.may_be_more = self.may_be_less = False

    def used(self, now: int) -> tuple[int, int]:
        """Return the fewest and the most units that may count as used."""
        for name, (_, expires) in list(self.holds.items()):
            if expires <= now:
                del self.holds[name]
        if not self.holds:
            self.latest = 0
        held = sum(units for units, _ in self.holds.values())
        least, most = self.charged(now)
        return (
            0 if self.may_be_less else least + held,
            self.limit * 1_000 if self.may_be_more else most + held,
        )

    def hold(self, name: str, cost: int, expires: int) -> None:
        if cost:
            self.holds[name] = (cost, expires)
            self.latest = max(self.latest, expires)

    def settle(self, name: str, cost: int, now: int) -> None:
        self.used(now)
        self.holds.pop(name, None)
        self.charge(cost, now)
        if self.used(now)[1] > self.limit:
            self.may_be_more = True

    def set_back(self, now: int) -> None:
        self.may_be_less = True

    def longest(self, now: int) -> int:
        """Return how long anyone may have to wait."""
        return max(self.window, self.latest - now)


@dataclass
class WindowTally(Tally):
    """All charges, each of which is remembered for a window."""

    charges: list[tuple[int, int]] = field(default_factory=list)

    def charged(self, now: int) -> tuple[int, int]:
        units = sum(cost for at, cost in self.charges if at > now - self.window)
        return units - self.limit // 10, units

    def charge(self, cost: int, now: int) -> None:
        self.charges.append((now, cost))

    def refund(self, cost: int, now: int) -> None:
        left = cost
        while left and self.charges:
            at, units = self.charges.pop()
            undone = min(left, units)
            left -= undone
            if units > undone:
                self.charges.append((at, units - undone))

    def empty(self) -> None:
        if self.may_be_less:
            self.charges.clear()
        super().empty()

    def set_back(self, now: int) -> None:
        super().set_back(now)
        self.charges = [(min(at, now), cost) for at, cost in self.charges]


@dataclass
class BucketTally(Tally):
    """The units that are missing, exactly."""

    missing: Fraction = Fraction()
    since: int = 0

    def charged(self, now: int) -> tuple[int, int]:
        returned = Fraction((now - self.since) * self.limit, self.window)
        self.missing = max(Fraction(), self.missing - returned)
        self.since = now
        return ceil(self.missing), ceil(self.missing)

    def charge(self, cost: int, now: int) -> None:
        # What is charged beyond the limit is forgiven.
        taken, _ = self.charged(now)
        self.missing += min(cost, self.limit - taken)

    def refund(self, cost: int, now: int) -> None:
        taken, _ = self.charged(now)
        self.missing -= min(cost, taken)

    def empty(self) -> None:
        self.missing = Fraction()
        super().empty()

    def set_back(self, now: int) -> None:
        super().set_back(now)
        # How much of it had come back is not known.
        self.may_be_more = True
        self.since = now


TALLIES: dict[Algorithm, type[WindowTally] | type[BucketTally]] = {
    "sliding_window": WindowTally,
    "token_bucket": BucketTally,
}
