"""The id by which one request is found again: in answers, logs and calls to others."""

import re
from collections.abc import Iterable
from typing import Final
from uuid import uuid4

from server_kit.asgi import values_of

HEADER: Final = b"x-request-id"
# Visible ASCII only: the id is written into headers and log lines as it came.
_ACCEPTABLE: Final = re.compile(rb"[\x21-\x7e]{1,128}")


def choose(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's id if it named exactly one we can repeat, else a new one."""
    given = values_of(headers, HEADER)
    if len(given) == 1 and _ACCEPTABLE.fullmatch(given[0]):
        return given[0].decode("ascii")
    return uuid4().hex
