"""What may be used, and what became of asking: frozen values, checked when made."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

Outage: TypeAlias = Literal["open", "closed", "local"]

SHORTEST_WINDOW: Final = 0.001
"""Seconds. What is shorter gets lost in the precision of a clock."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one key may use, and how much of it one request takes.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of its range.

    """

    key: str
    """Whose quota it is."""

    limit: int
    """Units that a window holds, at least 1."""

    window: float
    """Seconds, at least a thousandth."""

    cost: int = 1
    """Units this request takes, at most `limit`; 0 asks without taking any."""

    def __post_init__(self) -> None:
        check_quota(self.key, self.limit, self.window, self.cost)


class Decision(NamedTuple):
    """What became of a request, and how its quota stands after it."""

    allowed: bool
    """Whether the request may go ahead. Only then was its cost charged."""

    limit: int
    """Units that a window holds."""

    remaining: int
    """Units left."""

    reset_after: float
    """Seconds until all units are there again, if no more are taken."""

    retry_after: float
    """Seconds after which the same request is allowed, if nobody takes the units
    first; 0 if it was allowed."""

    window: float
    """Seconds, as in the quota."""

    outage: Outage | None = None
    """The policy that decided, because Redis could not. None: nothing was wrong."""


class Charge(NamedTuple):
    """What became of charging a request to one of its quotas."""

    policy: str
    """What clients know the quota by."""

    quota: Quota
    decision: Decision | None
    """None: another quota has refused the request, before this one was looked at."""

    partition: bytes | None = None
    """What clients know its key by; None: they are not told."""

    @property
    def is_refusal(self) -> bool:
        """Whether the request may not go ahead because of this quota."""
        return self.decision is not None and not self.decision.allowed


def check_quota(key: object, limit: object, window: object, cost: object) -> None:
    """Refuse what cannot be a quota, naming the field."""
    if not isinstance(key, str):
        raise TypeError(f"key must be a string, got {key!r}")
    try:
        _check_numbers(limit, window, cost)
    except TypeError:  # or they could not even be looked up
        check_limit("limit", limit)
        check_window("window", window)
        check_cost(cost)
        raise


def check_limit(name: str, value: object) -> int:
    """Refuse what cannot be a limit, in terms of the field called `name`."""
    if _integer(name, value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")
    return value  # type: ignore[return-value] # it is one


def check_window(name: str, value: object) -> None:
    """Refuse what cannot be a window, in terms of the field called `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if not (math.isfinite(value) and value >= SHORTEST_WINDOW):
        raise ValueError(
            f"{name} must be finite and at least {SHORTEST_WINDOW} s, got {value!r}"
        )


def check_cost(value: object, limit: int | None = None) -> int:
    """Refuse what cannot be a cost, or is more than there ever is."""
    cost = _integer("cost", value)
    if cost < 0 or (limit is not None and cost > limit):
        most = "at least 0" if limit is None else f"from 0 to the limit of {limit}"
        raise ValueError(f"cost must be {most}, got {value!r}")
    return cost


def microseconds(seconds: float) -> int:
    """Return what machines and scripts count in."""
    return round(seconds * 1_000_000)


def seconds_until(ticks: int, seconds: float, now: int) -> float:
    """Return in how many seconds a clock will have gone `ticks` further.

    Added up by whoever waits so long, it may be rounded down, but not below that.

    Args:
        ticks: Microseconds.
        seconds: What the clock shows now.
        now: The same in microseconds.

    """
    left = ticks / 1_000_000
    while round((seconds + left) * 1_000_000) < now + ticks:  # as `microseconds` does
        left += 0.000_001
    return left


# There are few quotas, and many requests about each. By type, as True is no limit.
@lru_cache(maxsize=1_000, typed=True)
def _check_numbers(limit: object, window: object, cost: object) -> None:
    most = check_limit("limit", limit)
    check_window("window", window)
    check_cost(cost, most)


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return value
