"""Requests as the words of `decide.lua`, and its reply as numbers: pure."""

from collections.abc import Sequence
from struct import Struct
from struct import pack as pack_numbers
from typing import Final, NamedTuple

from server_kit.ratelimit.leases import Ahead

_CHARGES: Final = 0
_SETS_ASIDE: Final = 1
_TAKES_AHEAD: Final = 2

_LIVING: Final = Struct("<q")
_STOOD: Final = Struct("<5q")


class Part(NamedTuple):
    """What a request asks of one account."""

    address: str
    """The key in Redis."""

    limit: int
    window: int
    """Microseconds."""

    cost: int
    ahead: Ahead | None = None
    """What is wanted beside the cost; in every part of a request, or in none."""


class Request(NamedTuple):
    """What is decided as a whole."""

    parts: tuple[Part, ...]

    hold: str = ""
    """The name of what is set aside; "": nothing is."""

    expires: int = 0
    """Microseconds until it expires."""


class Stood(NamedTuple):
    """How an account stood after a decision, in units and microseconds."""

    wait: int
    used: int
    reset: int
    aside: int
    """Units that were set aside for this request."""

    held: int
    """Units that are set aside for anyone."""


def pack(
    requests: Sequence[Request], *, beat: str, replicas: str, now: str
) -> tuple[list[str], list[str | bytes]]:
    """Return the keys and the arguments of the script.

    Args:
        requests: In the order in which they are decided.
        beat: The name of the process, "" for no beat.
        replicas: The key of the living replicas.
        now: The time to go by in microseconds; "" for Redis' own.

    """
    places: dict[str, int] = {}
    head: list[int] = []
    body: list[int] = []
    names: list[str] = []
    for parts, hold, expires in requests:
        if not hold:
            body += (_CHARGES, len(parts), 0)
        else:
            kind = _SETS_ASIDE if parts[0].ahead is None else _TAKES_AHEAD
            body += (kind, len(parts), expires)
            names.append(hold)
        for address, limit, window, cost, ahead in parts:
            place = places.get(address)
            if place is None:
                place = places[address] = len(places) + 1
                head += (limit, window)
            if ahead is None:
                body += (place, cost, 0, 0)
            else:
                body += (place, cost, ahead.most, ahead.used)
                names.append(ahead.last)
    keys = list(places)
    if beat:
        keys.append(replicas)
    numbers = pack_numbers(f"<{len(head) + len(body)}d", *head, *body)
    if now or beat or names:
        return keys, [numbers, now, beat, *names]
    return keys, [numbers]


def unpack(requests: Sequence[Request], reply: bytes) -> tuple[int, list[list[Stood]]]:
    """Return how many replicas live, and how the accounts of each request stood."""
    (living,) = _LIVING.unpack_from(reply)
    found, at = [], _LIVING.size
    for request in requests:
        stood = []
        for _ in request.parts:
            stood.append(Stood._make(_STOOD.unpack_from(reply, at)))
            at += _STOOD.size
        found.append(stood)
    return living, found
