"""What is left of the time that the caller of a request has."""

import re
from collections.abc import Iterable
from typing import Final

from server_kit.asgi import values_of

HEADER: Final = b"x-request-timeout-ms"
# Fifteen digits are 31,000 years: what is longer was not meant.
_MILLISECONDS: Final = re.compile(rb"[0-9]{1,15}")


def inherited(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Return what is left, in seconds; None if the caller did not say, or garbage.

    It is relative, so that no two clocks need agree, and counts from the moment the
    request is here.
    """
    given = values_of(headers, HEADER)
    if len(given) != 1 or not _MILLISECONDS.fullmatch(given[0]):
        return None
    return int(given[0]) / 1000 or None
