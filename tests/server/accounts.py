"""Accounts told the time in seconds, as people think of it."""

from server_kit.ratelimit.machines import Account, Algorithm, SlidingWindow
from server_kit.ratelimit.quota import microseconds, seconds_until

ALGORITHMS: list[Algorithm] = ["sliding_window", "token_bucket"]


class InSeconds:
    """An account. See `Account`."""

    def __init__(self, algorithm: Algorithm, limit: int, window: float) -> None:
        self.limit = limit
        self.account = Account(algorithm, limit, microseconds(window))

    def used(self, now: float) -> int:
        self.account.forward(microseconds(now))
        return self.account.used

    def wait(self, cost: int, now: float) -> float:
        ticks = microseconds(now)
        self.account.forward(ticks)
        return seconds_until(self.account.wait(cost, ticks), now, ticks)

    def charge(self, cost: int, now: float) -> None:
        self.account.forward(microseconds(now))
        self.account.charge(cost, microseconds(now))

    def refund(self, cost: int, now: float) -> None:
        self.account.forward(microseconds(now))
        self.account.refund(cost)

    def reset(self, now: float) -> float:
        ticks = microseconds(now)
        self.account.forward(ticks)
        return seconds_until(self.account.reset(ticks), now, ticks)

    def slices(self) -> int:
        level = self.account._level  # noqa: SLF001 - the bound on memory
        assert isinstance(level, SlidingWindow)
        return len(level._slices)  # noqa: SLF001 - as above
