"""What our server announces is what our client understands."""

from typing import Any, Final

import http_sf

from fuzz.wire import NOON, Numbers
from resilient_http._core.announced import LONGEST, parse
from server_kit.ratelimit.fields import check_name, fields
from server_kit.ratelimit.quota import Charge, Decision, Quota

WORDS: Final = (b"\x00", b"\xff\xff\xff\xff", b'"', b"\\")
_REFUSED: Final = 429


def run(data: bytes) -> None:
    """Write what became of up to three charges, and read it."""
    numbers = Numbers(data)
    charges = [_charge(numbers) for _ in range(numbers.draw(1) % 3 + 1)]
    is_refused = any(charge.is_refusal for charge in charges)
    status = _REFUSED if is_refused else 200
    said = {k.lower(): v for k, v in fields(charges, NOON, status).items()}
    policies = _items(said["ratelimit-policy"])
    assert len(policies) == len(charges)  # each has a name of its own
    limits = _items(said["ratelimit"])
    told = parse(said, status=status, wall=NOON)
    if len(said["ratelimit"]) > LONGEST:
        assert told is None
        return
    assert told is not None
    least = min(it["r"] for it in limits.values())
    assert told.remaining == least
    if len(said["ratelimit-policy"]) <= LONGEST:
        stood = told.remaining, told.reset
        name = next(k for k, v in limits.items() if (v["r"], v["t"]) == stood)
        assert told.quota == (policies[name]["q"], policies[name]["w"])


def _items(field: str) -> dict[str, dict[str, int]]:
    items: Any = http_sf.parse(field.encode(), tltype="list")
    return dict(items)


def _charge(numbers: Numbers) -> Charge:
    limit = numbers.draw(numbers.draw(1) % 7) + 1
    window = max(0.001, numbers.draw(4) / 1000)
    allowed = numbers.draw(1) % 2 == 0
    decision = Decision(
        allowed=allowed,
        limit=limit,
        remaining=numbers.draw(7) % (limit + 1),
        reset_after=window * numbers.draw(1) / 255,
        retry_after=0.0 if allowed else window * (numbers.draw(1) + 1) / 256,
        window=window,
    )
    return Charge(_name(numbers), Quota("key", limit, window), decision, _key(numbers))


def _name(numbers: Numbers) -> str:
    size = numbers.draw(1) % 8
    name = numbers.draw(size).to_bytes(size).decode("latin-1")
    try:
        return check_name(name)
    except ValueError:
        return "default"


def _key(numbers: Numbers) -> bytes | None:
    size = numbers.draw(1) % 8
    return numbers.draw(size).to_bytes(size) if size else None
