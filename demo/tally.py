"""What happened, counted: every call of the demo ends here, as an `Ended`."""

import statistics
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from demo.problems import OWN
from demo.script import SCRIPT
from resilient_http import (
    AppException,
    CircuitBreakerOpenException,
    DeadlineExceededException,
    RateLimitException,
)
from resilient_http.problems import UpstreamException

_MOST_NAMES: Final = 8
_RATE_OVER: Final = 2.0
_MOST_ENDS: Final = 1_000


class Lane(StrEnum):
    """Which client made a call."""

    OURS = "resilient_http"
    PLAIN = "plain httpx"

    @property
    def prefix(self) -> str:
        """How the ids of its orders begin."""
        return f"{self.name.lower()}-"


class Outcome(StrEnum):
    """What a call came to, told in the same way for both lanes."""

    ANSWERED = "answered"
    DECLINED = "declined"
    """By a rule of the shop: out of stock, payment declined."""
    LIMITED = "over quota"
    FAILED = "failed"


class Kind(StrEnum):
    """What must be seen at least once, or there was nothing to see."""

    RETRIED = "a retried success"
    BREAKER = "an open breaker"
    DEADLINE = "a deadline"
    RATE_LIMIT = "a 429"
    CONTRACT = "a class of the contract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One call, at its end."""

    lane: Lane
    phase: int
    """Place in the script of the phase in which it began."""
    at: float
    """When it ended, in seconds on a monotonic clock."""
    seconds: float
    """How long its caller waited."""
    order: str | None = None
    """The order that was placed; None where something else was asked."""
    sends: tuple[str, ...] = ()
    """What each send came to, where that is known: `503`, `ReadTimeout`."""
    error: Exception | None = None
    """What the caller caught; None for an answer."""


@dataclass(slots=True)
class Sums:
    """The calls of one lane, in one phase or in all of them."""

    begun: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    retried: int = 0
    """Answered calls that took more than one send."""
    waits: list[float] = field(default_factory=list)
    """How long the callers waited who placed an order."""

    @property
    def under_way(self) -> int:
        """Calls that have not ended."""
        return self.begun - self.outcomes.total()

    def add(self, other: "Sums") -> None:
        """Count the calls of `other` here as well."""
        self.begun += other.begun
        self.outcomes += other.outcomes
        self.retried += other.retried
        self.waits += other.waits

    def wait(self, share: float) -> float:
        """Return the time within which that share of the orders ended, in seconds."""
        if len(self.waits) < 2:  # noqa: PLR2004 - too few to divide
            return max(self.waits, default=0.0)
        return statistics.quantiles(self.waits, n=100, method="inclusive")[
            round(share * 100) - 1
        ]

    @property
    def longest(self) -> float:
        """The longest wait, in seconds."""
        return max(self.waits, default=0.0)


@dataclass(frozen=True, slots=True)
class Recent:
    """The errors of one name."""

    count: int
    latest: str


class Tally:
    """All calls so far."""

    def __init__(self) -> None:
        self.phases = [{lane: Sums() for lane in Lane} for _ in SCRIPT]
        self.specimens: dict[Kind, str] = {}
        """The first of each kind, with its fields."""
        self.recent = {lane: OrderedDict[str, Recent]() for lane in Lane}
        """The latest error of each name, the latest of all at the end."""
        self.looks: dict[tuple[Outcome, Lane], str] = {}
        """The first error of each outcome, as its caller saw it."""
        self.news: dict[tuple[int, Lane], dict[str, str]] = {}
        """The first error of each name, in each phase and lane."""
        self.opened: str | None = None
        """The first refusal of the breaker inside shop, as shop's code caught it."""
        self.untyped: Counter[str] = Counter()
        """Errors of our lane that are no `AppException`."""
        self.answered: set[str] = set()
        """Orders that were answered with a receipt."""
        self.failed: dict[Lane, set[str]] = {lane: set() for lane in Lane}
        """Orders whose caller was told that they failed."""
        self._ends = {lane: deque[float](maxlen=_MOST_ENDS) for lane in Lane}

    def began(self, lane: Lane, phase: int) -> None:
        """Count a call that begins."""
        self.phases[phase][lane].begun += 1

    def ended(self, call: Ended) -> None:
        """Take in a call that has ended."""
        outcome = outcome_of(call.error)
        sums = self.phases[call.phase][call.lane]
        sums.outcomes[outcome] += 1
        sums.retried += outcome is Outcome.ANSWERED and len(call.sends) > 1
        self._ends[call.lane].append(call.at)
        if call.order is not None:
            sums.waits.append(call.seconds)
            self._note_order(call.lane, call.order, outcome)
        if call.error is not None:
            self._note(call, call.error, outcome)
        if call.lane is Lane.OURS:
            for kind in kinds_of(call):
                self.specimens.setdefault(kind, specimen(call))

    def total(self, lane: Lane) -> Sums:
        """Return the calls of a lane in all phases."""
        total = Sums()
        for phase in self.phases:
            total.add(phase[lane])
        return total

    def rate(self, lane: Lane, now: float) -> float:
        """Return how many calls a second have ended of late."""
        return sum(now - end <= _RATE_OVER for end in self._ends[lane]) / _RATE_OVER

    def raised_in_shop(self, said: Iterable[str]) -> None:
        """Take in what the client inside shop raised, as shop shows it."""
        name = CircuitBreakerOpenException.__name__
        opened = (line for line in said if line.startswith(name))
        if self.opened is None:
            self.opened = next(opened, None)

    def _note_order(self, lane: Lane, order: str, outcome: Outcome) -> None:
        if outcome is Outcome.ANSWERED:
            self.answered.add(order)
        elif outcome is Outcome.FAILED:
            self.failed[lane].add(order)

    def _note(self, call: Ended, error: Exception, outcome: Outcome) -> None:
        said = described(error)
        self._remember(self.recent[call.lane], _name(error), said)
        self.looks.setdefault((outcome, call.lane), said)
        news = self.news.setdefault((call.phase, call.lane), {})
        news.setdefault(_name(error), said)
        if call.lane is Lane.OURS and not isinstance(error, AppException):
            self.untyped[said] += 1

    @staticmethod
    def _remember(recent: OrderedDict[str, Recent], name: str, said: str) -> None:
        before = recent.get(name)
        recent[name] = Recent(1 if before is None else before.count + 1, said)
        recent.move_to_end(name)
        if len(recent) > _MOST_NAMES:
            recent.popitem(last=False)


def outcome_of(error: Exception | None) -> Outcome:
    """Return what a call came to that ended with `error`, by its status alone."""
    if error is None:
        return Outcome.ANSWERED
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status in (402, 409):
        return Outcome.DECLINED
    return Outcome.LIMITED if status == 429 else Outcome.FAILED  # noqa: PLR2004 - as the name says


def kinds_of(call: Ended) -> list[Kind]:
    """Return what a call is an example of."""
    error = call.error
    if error is None:
        return [Kind.RETRIED] if len(call.sends) > 1 else []
    found = {
        Kind.BREAKER: _is_from_a_breaker(error),
        Kind.DEADLINE: isinstance(error, DeadlineExceededException),
        Kind.RATE_LIMIT: isinstance(error, RateLimitException),
        Kind.CONTRACT: isinstance(error, OWN),
    }
    return [kind for kind, is_one in found.items() if is_one]


def _is_from_a_breaker(error: Exception) -> bool:
    if isinstance(error, UpstreamException):
        return error.upstream_type == CircuitBreakerOpenException.type
    return isinstance(error, CircuitBreakerOpenException)


def specimen(call: Ended) -> str:
    """Return a call as one line that shows what it is an example of."""
    if call.error is not None:
        return described(call.error)
    what = "a question" if call.order is None else f"order {call.order}"
    return f"{what}: sent {len(call.sends)} times, {' -> '.join(call.sends)}"


def described(error: Exception) -> str:
    """Return what a caller can tell of an error: its fields, or else its text."""
    if not isinstance(error, AppException):
        text = str(error).partition("\n")[0]
        return f"{type(error).__name__}({text})"
    known = {
        "status": error.status,
        "retry_after": error.retry_after,
        "request_id": error.request_id,
        "sends": len(error.attempts),
    }
    said = (f"{name}={value}" for name, value in known.items() if value is not None)
    return f"{error!r} {' '.join(said)}"


def _name(error: Exception) -> str:
    # The same class stands for many causes, which these tell apart.
    status = getattr(getattr(error, "response", None), "status_code", "")
    return f"{type(error).__name__} {status} {getattr(error, 'upstream_type', '')}"
