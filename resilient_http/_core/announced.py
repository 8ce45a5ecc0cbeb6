"""What a server announces about its limits, read from anything it may send.

All that the client knows of draft-ietf-httpapi-ratelimit-headers-10, which is not
final, is in here. Understood are, in this order:

- `RateLimit: "default";r=50;t=30`, a structured field (RFC 9651), and of its
  `RateLimit-Policy` the quota and its units: only requests can be paced.
- `RateLimit: limit=100, remaining=50, reset=30`, as draft 7 had it.
- `RateLimit-Remaining` and `RateLimit-Reset`, as in the drafts before that.
- `X-RateLimit-Remaining` and `X-RateLimit-Reset`, which nobody has defined, and only
  beside a 429 or 403.

A field that is malformed in any part counts as not sent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import http_sf

from resilient_http._core import retry_after

LONGEST: Final = 400
"""Characters. A longer field counts as malformed: ten policies need fewer, and it
bounds what a parse costs."""

_REFUSALS: Final = (403, 429)
_REQUESTS: Final = "requests"
_OTHER_UNITS: Final = (0, 0)
"""Stands for a quota that counts something else than requests."""
_COUNT: Final = re.compile("[0-9]{1,15}")
_SECONDS: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
# No one waits 31 years, and no clock shows 2001 any more, nor yet the year 5138.
_LEAST_UNIX: Final = 1e9
_LEAST_UNIX_MILLISECONDS: Final = 1e11


@dataclass(frozen=True, slots=True)
class Announcement:
    """The quota that is closest to exhaustion.

    Neither number is clamped: see `Pacer.announce`.
    """

    remaining: int
    """Calls that are left, no promise that they will be served."""

    reset: float
    """For how long, in seconds from the answer on."""

    quota: tuple[int, int] | None = None
    """Units that a window holds, and its length in seconds; None if nobody says."""


def parse(
    headers: Mapping[str, str], *, status: int, wall: float
) -> Announcement | None:
    """Return what an answer announces; None if it says nothing that holds now.

    A `Retry-After` in the same answer goes before it: the caller is then to hold back
    for that, and to leave this aside. Never raises.

    Args:
        headers: By lower-case names, the lines of one name joined by commas. Trailers
            are not for this.
        status: Of the answer.
        wall: Unix time, for resets that are given so by a server that sends no `Date`.

    """
    found = _standard(headers, wall)
    if found is None and status in _REFUSALS:
        found = _counted(headers, "x-ratelimit", wall)
    # An answer from a cache tells how things stood: draft 10, section 7.3.
    if found is None or headers.get("age", "0") != "0":
        return None
    return found


def _standard(headers: Mapping[str, str], wall: float) -> Announcement | None:
    field = headers.get("ratelimit")
    if field is None:
        return _counted(headers, "ratelimit", wall)
    if len(field) > LONGEST:
        return None
    if field.lstrip(" ").startswith('"'):
        return _tightest(field, headers.get("ratelimit-policy", ""))
    return _former(field)


def _tightest(field: str, policy: str) -> Announcement | None:
    """Return the limit with the fewest calls left, for the longest time."""
    items = _items(field)
    if not all(_is_limit(parameters) for _, parameters in items):
        return None
    # Checked before the cache, which would keep what is too long.
    known = _policies(policy) if len(policy) <= LONGEST else {}
    limits = [
        Announcement(parameters["r"], float(parameters["t"]), known.get(name))
        for name, parameters in items
        if "t" in parameters and known.get(name) != _OTHER_UNITS
    ]
    return min(limits, key=lambda it: (it.remaining, -it.reset), default=None)


def _is_limit(parameters: dict[str, Any]) -> bool:
    return (
        _is_count(parameters.get("r"))
        and _is_count(parameters.get("t", 0))
        and isinstance(parameters.get("pk", b""), bytes)
    )


@lru_cache(maxsize=64)  # a server says the same with every answer
def _policies(policy: str) -> dict[str, tuple[int, int]]:
    """Return the quotas that have both units and a window, by their names."""
    items = _items(policy)
    if not all(_is_policy(parameters) for _, parameters in items):
        return {}
    known = {}
    for name, parameters in items:
        if parameters.get("qu", _REQUESTS) != _REQUESTS:
            known[name] = _OTHER_UNITS
        elif parameters["q"] and "w" in parameters:
            known[name] = parameters["q"], parameters["w"]
    return known


def _is_policy(parameters: dict[str, Any]) -> bool:
    window = parameters.get("w", 1)
    return (
        _is_count(parameters.get("q"))
        and _is_count(window)
        and window > 0
        and isinstance(parameters.get("qu", _REQUESTS), str)  # a token is none
        and isinstance(parameters.get("pk", b""), bytes)
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0  # True is no number here


def _items(field: str) -> list[tuple[str, dict[str, Any]]]:
    """Read a list of strings with parameters; empty if it is anything else."""
    items: Any = _structured(field, "list") or []
    return items if all(type(name) is str for name, _ in items) else []


def _former(field: str) -> Announcement | None:
    members: Any = _structured(field, "dictionary") or {}
    remaining, _ = members.get("remaining", (None, None))
    reset, _ = members.get("reset", (None, None))
    if not _is_count(remaining) or not _is_count(reset):
        return None
    return Announcement(remaining, float(reset))


def _structured(field: str, kind: str) -> object:
    try:
        return http_sf.parse(field.encode("ascii"), tltype=kind)
    except ValueError:  # UnicodeEncodeError and StructuredFieldError
        return None


def _counted(
    headers: Mapping[str, str], prefix: str, wall: float
) -> Announcement | None:
    remaining = headers.get(f"{prefix}-remaining")
    if remaining is None:
        return None
    left = _COUNT.fullmatch(remaining)
    reset = _SECONDS.fullmatch(headers.get(f"{prefix}-reset", ""))
    if left is None or reset is None:
        return None
    seconds = float(reset[0])
    if seconds >= _LEAST_UNIX_MILLISECONDS:
        seconds /= 1_000
    if seconds >= _LEAST_UNIX:
        seconds -= retry_after.clock(headers.get("date"), wall)
    return Announcement(int(left[0]), max(0.0, seconds))
