"""`Retry-After`: a `Date` in the first line, the lines of the field in the others."""

from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final

from fuzz.wire import NOON, Numbers, lines
from resilient_http._core.retry_after import LONGEST, clock, parse, render

WORDS: Final = (
    *(b", ", b"120", b"GMT", b"Sun, 06 Nov 1994 08:49:37 GMT", b"99999999999999999999"),
    *(b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b"+0000", b"60"),
)
_FEW: Final = 8  # of the parts that are read


def run(data: bytes) -> None:
    """Read the field, and dates that are right in each of the three forms."""
    date, *values = lines(data)
    wait = parse(values, date=date or None, wall=NOON)
    if wait is not None:
        assert 0 <= wait <= LONGEST
        again = parse([render(wait)], date=None, wall=NOON)
        assert again is not None
        assert wait <= again <= max(1, wait + 1)
    if ",".join(values).count(",") < _FEW:
        longest = parse([*values, "5"], date=date or None, wall=NOON)
        assert longest == max(5, wait or 0)
    _dates(Numbers(data).draw(4))


def _dates(moment: int) -> None:
    then = datetime.fromtimestamp(moment, UTC)
    stated = (
        formatdate(moment, usegmt=True),
        then.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        then.strftime(f"%a %b {then.day:>2} %H:%M:%S %Y"),
    )
    for date in stated:
        assert clock(date, moment) == moment
