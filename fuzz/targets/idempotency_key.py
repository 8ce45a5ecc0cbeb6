"""`Idempotency-Key`: the lines of the field."""

from typing import Final

import http_sf

from server_kit.idempotency.rules import MalformedKeyError, key_in

WORDS: Final = (b'"', b"\\", b'"8e03978e-40d5-43dd-bc93-6894a57f9324"', b";a=1", b"\n")
_LONGEST: Final = 40


def run(data: bytes) -> None:
    """Read the field strictly and leniently."""
    values = data.split(b"\n")
    strict = _key(values, lenient=False)
    lenient = _key(values, lenient=True)
    if strict is not None:
        assert lenient == strict
        written = http_sf.ser((strict, {})).encode()
        assert _key([written], lenient=False) == strict
    if lenient is not None:
        assert 0 < len(lenient) <= _LONGEST
        assert lenient.isascii()
        assert lenient.isprintable()
        assert _key([values[0], values[0]], lenient=True) is None


def _key(values: list[bytes], *, lenient: bool) -> str | None:
    try:
        return key_in(values, longest=_LONGEST, lenient=lenient)
    except MalformedKeyError:
        return None
