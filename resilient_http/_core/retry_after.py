"""`Retry-After`: read from anything a server may send, written as a server must.

RFC 9110, section 10.2.3: delay-seconds, or an HTTP-date in one of the three forms of
section 5.6.7. What is neither is ignored: reading never raises.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

LONGEST: Final = float(2**31)
"""No wait is read or written as longer than this, in seconds: 68 years, the value that
RFC 9111, section 1.2.2, gives to a number too large to hold."""

_MOST_PARTS: Final = 10  # of one answer; an endless list is not worth its time
_FIFTY_YEARS: Final = 50 * 365.2425 * 86_400
_MONTHS: Final = tuple(
    "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905 - one line
)
_LEAP_SECOND: Final = 60

_SECONDS: Final = re.compile("[0-9]+")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_DAY: Final = "(?P<day>[0-9]{1,2})"
_YEAR: Final = "(?P<year>[0-9]{4})"
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# A date that names no zone is read as UTC, as the grammar of asctime has it.
_ZONE: Final = "(?: +(?:gmt|utc|z|[+-]0000))?"
_DATES: Final = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        f"{_DAY} {_MONTH} {_YEAR} {_TIME}{_ZONE}",  # IMF-fixdate, its day cut off
        f"{_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME}{_ZONE}",  # rfc850, likewise
        f"[a-z]+ {_MONTH} +{_DAY} {_TIME} {_YEAR}{_ZONE}",  # asctime
    )
)


def parse(values: Sequence[str], *, date: str | None, wall: float) -> float | None:
    """Return the wait that the field asks for.

    A server that says two things, in two lines or around a comma, is held to the
    longest valid one: coming early is the worse mistake.

    Args:
        values: The field's lines, as received.
        date: The response's own `Date`, against which a date is measured, so that two
            clocks need not agree.
        wall: Unix time, used where `date` is missing or garbage.

    Returns:
        Seconds from 0, for a date in the past, to `LONGEST`; None where nothing valid
        was said.

    """
    base = clock(date, wall)
    waits = [_wait(part, base) for part in _parts(",".join(values))]
    return max((wait for wait in waits if wait is not None), default=None)


def clock(date: str | None, wall: float) -> float:
    """Return the time by the server's `date`; `wall` where that is no date."""
    stated = None if date is None else _timestamp(_parts(date)[-1], wall)
    return wall if stated is None else stated


def render(seconds: float) -> str:
    """Write a wait as whole seconds, rounded up and at least 1."""
    if not seconds > 1:  # also NaN
        return "1"
    return str(math.ceil(min(seconds, LONGEST)))


def _parts(text: str) -> list[str]:
    # The comma after the day of a date parts it too: the day is then ignored as garbage
    # is, and the rest is all that matters.
    return [part.strip(" \t") for part in text.split(",", maxsplit=_MOST_PARTS)]


def _wait(text: str, base: float) -> float | None:
    if _SECONDS.fullmatch(text):
        return _clamp(float(text))  # not int(), which refuses long strings
    moment = _timestamp(text, base)
    return None if moment is None else _clamp(moment - base)


def _clamp(wait: float) -> float:
    return max(0.0, min(wait, LONGEST))


def _timestamp(text: str, now: float) -> float | None:
    for form in _DATES:
        if found := form.fullmatch(text):
            return _moment(found, now)
    return None


def _moment(found: re.Match[str], now: float) -> float | None:
    year = int(found["year"])
    if len(found["year"]) > 2:  # noqa: PLR2004 - four digits, or the two of rfc850
        return _unix(year, found)
    # RFC 9110, section 5.6.7: two digits that would be more than 50 years ahead mean
    # the most recent year in the past that ends so.
    for century in (2100, 2000):
        moment = _unix(century + year, found)
        if moment is not None and moment - now <= _FIFTY_YEARS:
            return moment
    return _unix(1900 + year, found)


def _unix(year: int, found: re.Match[str]) -> float | None:
    second = int(found["second"])
    leap = second == _LEAP_SECOND  # which datetime has no room for
    clock = int(found["hour"]), int(found["minute"]), second - leap
    month = _MONTHS.index(found["month"].lower()) + 1
    try:
        moment = datetime(year, month, int(found["day"]), *clock, tzinfo=UTC)
    except ValueError:  # the 31st of February, 25 o'clock
        return None
    return moment.timestamp() + leap
