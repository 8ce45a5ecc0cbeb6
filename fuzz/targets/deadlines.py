"""How much time a caller says they have."""

from typing import Final

from fuzz.wire import headers
from server_kit.asgi import RawHeaders
from server_kit.deadlines.settings import HEADERS, Deadlines, asked_for

WORDS: Final = (
    *(b"x-request-timeout-ms: ", b"grpc-timeout: ", b"1500", b"99999999H"),
    *(b"x-envoy-expected-rq-timeout-ms: ", b"1500m", b"1n", b"000000000000000"),
)
_UNITS: Final = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_BOUND: Final = Deadlines(maximum=5)


_MOST: Final = 5


def run(data: bytes) -> None:
    """Compare with what is read by hand."""
    pairs = headers(data)
    said = [_said(pairs, name) for name in HEADERS]
    asked = asked_for(pairs)
    assert asked == min((it for it in said if it is not None), default=None)
    bound = _BOUND.bound(asked)
    assert bound is not None
    assert 0 <= bound <= _MOST


def _said(pairs: RawHeaders, name: bytes) -> float | None:
    values = [value.decode("latin-1") for key, value in pairs if key == name]
    if len(values) != 1:
        return None
    (value,) = values
    if name != b"grpc-timeout":
        return int(value) / 1000 if _is_count(value, 15) else None
    count, unit = value[:-1], value[-1:]
    if not _is_count(count, 8) or unit not in _UNITS:
        return None
    return int(count) * _UNITS[unit]


def _is_count(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most
