"""What happened, for listeners: one frozen value for each decision, with its reason.

    AsyncClient(listeners=[print])

A listener is called with each event, in the order of the calls' doings, in the task or
thread of the call. It must not block. What it raises is logged and changes nothing.
Nothing here carries a query, a header, a body or the user and password of a URL: an
origin is a scheme, a host and a port.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from resilient_http._core.breaker import BreakerState, Cause
from resilient_http._core.verdict import Outcome, Reason

Part = Literal["rate_limit", "server", "throttle", "breaker", "concurrency"]
"""What makes a call wait or refuses it: our own rate limit, what the server announced,
client-side throttling, the breaker, the limit on concurrency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to one call."""

    origin: str
    """Scheme, host and port, such as `https://shop.example:443`."""
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Event):
    """The call waits for its turn before it is sent."""

    part: Part
    seconds: float | None
    """None: until a place is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """The call is not sent."""

    part: Part
    retry_after: float | None
    """Least wait, in seconds, before asking again; None if nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Event):
    """A send is on its way."""

    attempt: int
    """1 for the first of the call, redirects apart."""
    hedge: bool
    """Whether it goes beside one that is still out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Event):
    """A send has ended, with the body where that is read for the caller."""

    attempt: int
    seconds: float
    status: int | None
    """None if there was no usable answer."""
    error: str | None
    """The name of what was raised instead, such as `ReadTimeout`."""
    outcome: Outcome
    """What the breaker makes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """The request is to be sent again."""

    attempt: int
    """The number of the send to come."""
    delay: float
    """Seconds until then."""
    reason: Reason
    """Why a repeat is safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRetried(Event):
    """A send that failed is the call's last."""

    attempts: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHedged(Event):
    """A second send was due, and is not made."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(Event):
    """The deadline of the call has passed."""

    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerMoved(Event):
    """The breaker of the origin changed its mind, on account of this call."""

    state: BreakerState
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack(Event):
    """The call would have ended badly and was answered by its fallback."""

    error: str
    """The name of what it would have ended with."""


Listener = Callable[[Event], object]

OTHER: Final = "other"
"""The origin of events that are not told with their own."""


def bounded(listener: Listener, most: int = 1_000) -> Listener:
    """Return what tells `listener` of no more than `most` origins by name.

    For metrics, where each origin is a series of its own: who lets its users choose
    the hosts would have one for each host. The first keep their names, and all others
    are `OTHER`.
    """
    known: set[str] = set()

    def tell(event: Event) -> object:
        if event.origin not in known:
            if len(known) >= most:
                return listener(replace(event, origin=OTHER))
            known.add(event.origin)
        return listener(event)

    return tell


class Trail:
    """What has happened to one call and is not yet told."""

    __slots__ = ("_events", "_method", "_origin")

    def __init__(self, origin: str, method: str) -> None:
        self._origin = origin
        self._method = method
        self._events: list[Event] = []

    def add(self, kind: type[Event], **fields: object) -> None:
        """Note an event of the call."""
        self._events.append(kind(origin=self._origin, method=self._method, **fields))

    def take(self) -> list[Event]:
        """Return what was not yet taken, in order."""
        taken, self._events = self._events, []
        return taken
