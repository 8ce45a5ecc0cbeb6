"""Decisions as response headers: the usual ones, and those of the IETF's draft.

The draft (draft-ietf-httpapi-ratelimit-headers-10) is not final; nothing else in the
kit knows how it looks on the wire.
"""

import math
from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import http_sf
from http_sf.types import ParamsType

from server_kit.asgi import RawHeaders, add_missing
from server_kit.ratelimit.quota import Charge, Decision
from server_kit.ratelimit.stores import tightest

POLICY: Final = "default"
"""What a quota is called on the wire, where nobody has given it a name."""

SWITCHING: Final = 101
"""The status of a websocket that is accepted."""

_LARGEST: Final = 10**15 - 1  # RFC 9651, section 3.3.1
_REDIRECTS: Final = range(300, 400)
# What is said together, or by others.
_FAMILIES: Final = (
    frozenset({b"ratelimit", b"ratelimit-policy"}),
    frozenset({b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"}),
)


def with_fields(
    headers: RawHeaders, charges: Sequence[Charge], wall: float, status: int
) -> RawHeaders:
    """Return `headers`, and after them the fields, as far as nobody else has said them.

    Of `RateLimit` and `RateLimit-Policy` both or none, as the one refers to the other;
    and so of the usual ones, or an upstream's limit would have a reset of ours.
    """
    present = {name.lower() for name, _ in headers}
    said = fields(charges, wall, status)
    ours = [(name.lower().encode(), said[name].encode()) for name in said]
    skipped: set[bytes] = set()
    for family in _FAMILIES:
        if not present.isdisjoint(family):
            skipped |= family
    is_refused = any(charge.is_refusal for charge in charges)
    if b"retry-after" in present and not is_refused:
        # Of somebody else, and sooner, perhaps, than `t`.
        skipped.add(b"ratelimit")
    return add_missing(headers, [pair for pair in ours if pair[0] not in skipped])


def fields(charges: Sequence[Charge], wall: float, status: int = 200) -> dict[str, str]:
    """Return the headers that tell a client where it stands.

    After a refusal the reset is when to try again, so that no header asks for another
    wait than Retry-After does; else it is when all units are there again. What was
    decided without Redis is no figure to go by, and left out.

    Args:
        charges: Of the request, at least one.
        wall: The time as Unix seconds.
        status: Of the response. A redirect does not say that nothing is left: its
            client would wait, and not follow.

    """
    told = [charge.decision for charge in charges if charge.decision is not None]
    known = [decision for decision in told if decision.outage is None]
    nearest = tightest(known or told)
    said = {"X-RateLimit-Limit": str(nearest.limit)}
    if known:
        said["X-RateLimit-Remaining"] = str(nearest.remaining)
        said["X-RateLimit-Reset"] = str(_whole(wall + _wait(nearest)))
    for decision in told:
        if decision.outage is not None:
            said["X-RateLimit-Degraded"] = decision.outage
    named = list(zip(names(charges), charges, strict=True))
    said["RateLimit-Policy"] = ", ".join(
        _policy(name, charge.quota.limit, charge.quota.window) + _partition(charge)
        for name, charge in named
    )
    limits = _limits(named, status)
    if limits:
        said["RateLimit"] = ", ".join(limits)
    return said


def _limits(named: Sequence[tuple[str, Charge]], status: int) -> list[str]:
    """Return the items of `RateLimit`: after a refusal, of what refuses alone."""
    is_refused = any(charge.is_refusal for _, charge in named)
    items = []
    for name, charge in named:
        decision = charge.decision
        if decision is None or decision.outage is not None:
            continue
        if is_refused and decision.allowed:
            continue
        left, wait = _left(decision)
        if left > 0 or status not in _REDIRECTS:
            items.append(f"{_quoted(name)};r={left};t={wait}{_partition(charge)}")
    return items


def names(charges: Sequence[Charge]) -> list[str]:
    """Return what each of `charges` is called in one response: all differently."""
    found: list[str] = []
    for charge in charges:
        name, number = charge.policy, 1
        while name in found:
            number += 1
            name = f"{charge.policy}-{number}"
        found.append(name)
    return found


def check_name(name: object) -> str:
    """Refuse what cannot stand on the wire as the name of a policy."""
    if not isinstance(name, str):
        raise TypeError(f"names of quotas must be text, got {name!r}")
    if not (name and name.isascii() and name.isprintable()):  # RFC 9651, section 3.3.3
        raise ValueError(f"names of quotas must be printable ASCII, got {name!r}")
    return name


def _wait(decision: Decision) -> float:
    return decision.reset_after if decision.allowed else decision.retry_after


def _left(decision: Decision) -> tuple[int, int]:
    """Return `r` and `t`, never more in less time than the quota allows.

    "9,999 in the next second", while the last of them comes back, is an invitation.
    Where there was room, the time is drawn out; a refusal has told its time already.
    """
    limit, window = decision.limit, max(1, math.ceil(decision.window))
    left, wait = _whole(decision.remaining), _whole(_wait(decision))
    if decision.allowed:
        return left, max(wait, _whole(-(-left * window // limit)))
    return min(left, wait * limit // window), wait


@lru_cache(maxsize=1_000)
def _policy(name: str, limit: int, window: float) -> str:
    policy: ParamsType = {"q": _whole(limit), "w": _whole(window)}
    return http_sf.ser([(name, policy)])


@lru_cache(maxsize=1_000)
def _quoted(name: str) -> str:
    return http_sf.ser([(name, {})])


def _partition(charge: Charge) -> str:
    if charge.partition is None:
        return ""
    return f";pk=:{b64encode(charge.partition).decode()}:"


def _whole(number: float) -> int:
    return min(math.ceil(number), _LARGEST)
