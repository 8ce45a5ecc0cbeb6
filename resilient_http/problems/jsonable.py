"""JSON for values nobody has checked: whatever goes in, a valid document comes out.

An error response is the wrong place for a second error. What has no JSON form is
replaced by the nearest thing that has one, never refused.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_jsonable_python

MAX_DEPTH: Final = 32
MAX_INT_BITS: Final = 14_000  # Python writes out no integer of over 4,300 digits


def encode(value: object) -> bytes:
    """Write `value` as UTF-8 JSON, whatever it is."""
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return json.dumps(jsonable(value), ensure_ascii=False).encode()


def jsonable(value: object, depth: int = MAX_DEPTH) -> Any:
    """Return the nearest value that JSON can hold.

    NaN and infinities become null, lone surrogates `?`, integers of thousands
    of digits hexadecimal text, and what lies deeper than `depth` its type's name.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | bytes | bytearray):
        return _text(value)
    if isinstance(value, int | float):
        return _number(value)
    if depth == 0:
        return _name_of(value)
    if isinstance(value, Mapping):
        return {_key(key): jsonable(item, depth - 1) for key, item in value.items()}
    return _sequence(value, depth)


def _text(value: str | bytes | bytearray) -> str:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value.decode("utf-8", "replace")


def _number(value: float) -> float | str | None:
    if isinstance(value, int):
        return int(value) if value.bit_length() <= MAX_INT_BITS else hex(value)
    return float(value) if math.isfinite(value) else None


def _sequence(value: object, depth: int) -> Any:
    if isinstance(value, set | frozenset):
        value = sorted(value, key=repr)  # or the same problem would read two ways
    if isinstance(value, list | tuple):
        return [jsonable(item, depth - 1) for item in value]
    return _foreign(value, depth)


def _foreign(value: object, depth: int) -> Any:
    try:
        known = to_jsonable_python(value, fallback=_name_of)
    except Exception:  # noqa: BLE001 - users' objects may raise anything when read
        return _name_of(value)
    # One level less, or a type that turns into itself would never end.
    return jsonable(known, depth - 1)


def _key(key: object) -> str:
    return _text(key if isinstance(key, str) else json.dumps(jsonable(key, 1)))


def _name_of(value: object) -> str:
    return f"<{type(value).__name__}>"
