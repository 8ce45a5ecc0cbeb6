"""What both ends share about the call at hand.

`server_kit` sets these for the request it serves; `resilient_http` reads them when the
code that serves it calls another service.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The id of the request being served; None outside one."""

traceparent: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)
"""The W3C trace context of the request being served, as it came; None outside one."""

is_sending: Final[ContextVar[bool]] = ContextVar("is_sending", default=False)
"""Whether what runs is part of a send that is retried if it fails: a call made there
does no retries of its own, or the two would multiply. A server starts each request
with False, even where its caller is in the same process."""


class Bound:
    """The time that the caller of the request being served has.

    It is one object for all that the request has started, so that none of it is bound
    any longer once nobody waits for it.
    """

    __slots__ = ("ends",)

    def __init__(self, ends: float) -> None:
        around = bound.get()
        self.ends: float = ends if around is None else min(ends, around.ends)
        """When it is over, by `time.monotonic`; infinity for never."""

    def lift(self) -> None:
        """Bound nothing from now on."""
        self.ends = math.inf


bound: Final[ContextVar[Bound | None]] = ContextVar("bound", default=None)
"""That of the request being served; None outside one, or if nothing bounds it."""

_ends: Final[ContextVar[float]] = ContextVar("ends", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound every call made inside, all of them together.

    A bound inside another can only be sooner. It is kept by the machine's monotonic
    clock, and seen by the tasks that are started inside.

    Args:
        seconds: Above 0.

    Raises:
        DeadlineExceededException: From a call that is not done in time, or that begins
            when the time is over.
        TypeError: It is not a number.
        ValueError: It is not above 0, or without end.

    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"deadline must be seconds, got {seconds!r}")
    if not 0 < seconds < math.inf:
        raise ValueError(f"deadline must be above 0 and finite, got {seconds!r}")
    token = _ends.set(min(_ends.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends.reset(token)


def time_left() -> float:
    """Return what is left of the innermost deadline, in seconds; infinity outside."""
    ends, around = _ends.get(), bound.get()
    if around is not None and around.ends < ends:
        ends = around.ends
    return math.inf if ends == math.inf else ends - time.monotonic()
