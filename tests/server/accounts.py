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
        return self.account.used(microseconds(now))

    def wait(self, cost: int, now: float) -> float:
        ticks = microseconds(now)
        return seconds_until(self.account.wait(cost, ticks), now, ticks)

    def charge(self, cost: int, now: float) -> None:
        self.account.charge(cost, microseconds(now))

    def reset(self, now: float) -> float:
        ticks = microseconds(now)
        _, reset = self.account.standing(ticks)
        return seconds_until(reset, now, ticks)

    def slices(self) -> int:
        level = self.account._level  # noqa: SLF001 - the bound on memory
        assert isinstance(level, SlidingWindow)
        return len(level._slices)  # noqa: SLF001 - as above
