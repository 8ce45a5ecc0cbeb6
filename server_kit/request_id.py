"""The id by which one request is found again: in answers, logs and calls to others."""

import os
import re
from collections.abc import Iterable
from random import Random
from typing import Final

from server_kit.asgi import values_of

HEADER: Final = b"x-request-id"
# Visible ASCII only: the id is written into headers and log lines as it came.
_ACCEPTABLE: Final = re.compile(rb"[\x21-\x7e]{1,128}")
# Our own: no seed of a user makes two processes agree. A UUID would ask the kernel.
_rng: Final = Random()  # noqa: S311 - an id, and no secret

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_rng.seed)


def choose(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's id if it named exactly one we can repeat, else a new one."""
    given = values_of(headers, HEADER)
    if len(given) == 1 and _ACCEPTABLE.fullmatch(given[0]):
        return given[0].decode("ascii")
    return f"{_rng.getrandbits(128):032x}"
