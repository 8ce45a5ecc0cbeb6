"""What a hop wants done, what it is told, and how it ends."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from resilient_http._core.breaker import Refusal
from resilient_http._core.concurrency import Ticket
from resilient_http._core.lane import HeldBack, Pass, TooSoon
from resilient_http._core.verdict import (
    Answer,
    Fault,
    Load,
    Outcome,
    judge,
    judge_load,
)


@dataclass(frozen=True, slots=True)
class Queue:
    """Wait until `ticket` has its slot, within the limits of the call."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request, within the limits of the call."""

    hedge_after: float | None = None
    """Seconds after which to say that it is still out; None for never."""


@dataclass(frozen=True, slots=True)
class Hedge:
    """Send a second copy of the request, and wait for the first of both."""


@dataclass(frozen=True, slots=True)
class Stay:
    """Wait for what is out."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Call off what is still out, and close the answers that are not to be kept."""

    keep: int
    """Which of those that were out at once."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Close the last answer, whose body nobody will read."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let `delay` seconds go by."""

    delay: float


@dataclass(slots=True)
class Reply:
    """The server answered."""

    now: float
    answer: Answer
    seconds: float = 0.0
    """From the send to here."""
    unread: bool = False
    """Whether the body is the caller's to read, so that more may yet go wrong."""
    copy: int = 0
    """Which of those that were out at once: 0 for the first, 1 for its hedge."""


@dataclass(slots=True)
class Failure:
    """No usable answer came."""

    now: float
    fault: Fault
    copy: int = 0


@dataclass(slots=True)
class Expired:
    """The deadline of the call passed during a send."""

    now: float
    copy: int = 0
    stalled: bool = False
    """Whether that was seen so late that nobody knows what the server did."""


@dataclass(slots=True)
class Pending:
    """What was sent is still out."""

    now: float


@dataclass(slots=True)
class Woke:
    """The wait is over."""

    now: float


@dataclass(slots=True)
class Done:
    """The call ends as its last send did."""

    passed: Pass | None = None
    """What to settle and release when its body has ended; None if that is done."""
    is_final: bool = False
    """Whether to tell those around us not to try again: we have, or may not."""


@dataclass(frozen=True, slots=True)
class NoPlace:
    """The call is refused by the limit on calls in flight."""


@dataclass(frozen=True, slots=True)
class Late:
    """The call ends because its time is over."""


Command = Queue | Send | Hedge | Stay | Drop | Discard | Wait
Ended = Reply | Failure | Expired
Seen = Ended | Pending | Woke
Refused = TooSoon | HeldBack | Refusal | NoPlace
Ending = Done | Refused | Late
Flow = Generator[Command, Seen, Ending]


_ENDS: Final = (Reply, Failure, Expired)  # a union would be made anew each time


def ended(seen: Seen) -> Ended:
    """Return `seen` if it ends a send."""
    if isinstance(seen, _ENDS):
        return seen
    raise TypeError(f"a send does not end so: {seen}")


def outcome_of(seen: Ended) -> Outcome:
    """Say what the breaker is to make of it."""
    if isinstance(seen, Expired):
        return Outcome.NEUTRAL if seen.stalled else Outcome.FAILURE
    return judge(seen.answer if isinstance(seen, Reply) else seen.fault)


def load_of(seen: Ended) -> Load:
    """Say what it tells of the origin's load."""
    if isinstance(seen, Expired):
        return Load.UNKNOWN if seen.stalled else Load.HIGH
    return judge_load(seen.answer if isinstance(seen, Reply) else seen.fault)


def asked_of(seen: Ended) -> float:
    """Return the wait that was asked for, in seconds; 0 for none."""
    asked = seen.answer.retry_after if isinstance(seen, Reply) else None
    return 0.0 if asked is None else asked
