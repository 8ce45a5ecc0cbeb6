"""What may be used, and what became of asking: frozen values, checked when made."""

import math
from dataclasses import dataclass
from typing import Final

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
        if not isinstance(self.key, str):
            raise TypeError(f"key must be a string, got {self.key!r}")
        check_limit("limit", self.limit)
        check_window("window", self.window)
        _check_integer("cost", self.cost)
        if not 0 <= self.cost <= self.limit:
            raise ValueError(
                f"cost must be from 0 to the limit of {self.limit}, got {self.cost}"
            )


@dataclass(frozen=True, slots=True)
class Decision:
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


def check_limit(name: str, value: object) -> None:
    """Refuse what cannot be a limit, in terms of the field called `name`."""
    if _check_integer(name, value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")


def check_window(name: str, value: object) -> None:
    """Refuse what cannot be a window, in terms of the field called `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if not (math.isfinite(value) and value >= SHORTEST_WINDOW):
        raise ValueError(
            f"{name} must be finite and at least {SHORTEST_WINDOW} s, got {value!r}"
        )


def _check_integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return value
