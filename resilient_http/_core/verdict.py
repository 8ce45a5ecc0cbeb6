"""What one ended send means: for the breaker, and for trying again.

Everything here is a table over plain data. Whoever speaks HTTP turns its responses and
exceptions into an `Answer` or a `Fault` first. What is left of attempts and time is not
asked here: a verdict says whether a repeat makes sense, not whether it is affordable.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, Literal

from resilient_http.policy import RetryConfig

ProblemRetry = Literal["never", "same_key", "after_delay"]
"""What a problem type says about repeating the request."""

_FAILURES: Final = frozenset({500, 502, 503, 504})
_OVERLOADED: Final = frozenset({503, 504})
_THROTTLED: Final = 429
_UNAVAILABLE: Final = 503


class Outcome(Enum):
    """What the breaker makes of a send."""

    SUCCESS = "success"
    """The dependency did what it was asked to: `Breaker.settle(failed=False)`."""
    FAILURE = "failure"
    """The dependency failed: `Breaker.settle(failed=True)`."""
    NEUTRAL = "neutral"
    """It says nothing of the dependency's health: `Breaker.abandon()`."""
    ANSWERED = "answered"
    """Neutral, but somebody was at home: `Breaker.abandon(answered=True)`."""


class Load(Enum):
    """What a send says of how busy the origin is."""

    FINE = "fine"
    """It was served: how long that took is worth knowing."""
    HIGH = "high"
    """It was turned away, or not served in time."""
    UNKNOWN = "unknown"
    """Nothing: cancelled, refused here, never sent."""


class Reason(StrEnum):
    """Why a request may be repeated, or why not."""

    IDEMPOTENT = "idempotent"
    NOTHING_SENT = "nothing_sent"
    NOT_PROCESSED = "not_processed"
    WORK_NOT_STARTED = "work_not_started"
    PROBLEM_SAYS_SO = "problem_says_so"
    KEY = "idempotency_key"

    FINAL = "final"
    """Nothing suggests that it would end otherwise next time."""
    PROBLEM_SAYS_NEVER = "problem_says_never"
    NOT_IDEMPOTENT = "not_idempotent"
    BODY_SPENT = "body_spent"
    WAIT_TOO_LONG = "wait_too_long"
    """The server asked for more than `max_retry_after`."""

    SWITCHED_OFF = "switched_off"
    NESTED = "nested"
    """It is part of another call, which does its own retries."""
    ATTEMPTS_SPENT = "attempts_spent"
    NO_TIME = "no_time"
    """The wait would not fit the deadline."""
    BREAKER_OPEN = "breaker_open"
    BUDGET_SPENT = "budget_spent"
    NO_PLACE = "no_place"
    """As many calls as may be are in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The send ended with a response whose body, where we read it, came whole."""

    status: int
    retry_after: float | None = None
    """Seconds the server asked for. None: it did not say."""
    problem_retry: ProblemRetry | None = None
    """What the problem type says. None: no problem, an unknown type, or silence."""
    work_not_started: bool = False
    """The problem type says that it was refused before its handler ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The send ended without a whole response: error, timeout, a body that died."""

    retryable: bool
    """It is one of the errors that may not happen next time."""
    nothing_sent: bool = False
    """Not a byte of the request has left; its body is untouched."""
    not_processed: bool = False
    """The server says that it did nothing about the request (RFC 9113, section 8.7)."""
    callers_own: bool = False
    """The dependency had no part in it: a malformed request, a full pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What about the request decides whether it may be sent a second time."""

    idempotent: bool
    """Its method is (RFC 9110, section 9.2.2), or its sender says that it is."""
    has_key: bool = False
    """It carries an `Idempotency-Key`, and a repeat carries the same."""
    replayable: bool = True
    """Its body can be produced again, byte for byte."""
    hedgeable: bool = False
    """Its method is safe (RFC 9110, section 9.2.1), and two copies of its body can be
    out at once."""
    repeated: bool = False
    """Who asks has sent it before, and repeats it again if it fails."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Whether the request may be repeated, and why or why not."""

    allowed: bool
    reason: Reason


def judge(ending: Answer | Fault) -> Outcome:
    """Say what the breaker is to make of a send that ended so."""
    if isinstance(ending, Answer):
        return judge_status(ending.status, work_not_started=ending.work_not_started)
    # A server that sheds load or shuts down in good order is not out of order.
    spared = ending.callers_own or ending.not_processed
    return Outcome.NEUTRAL if spared else Outcome.FAILURE


def judge_status(status: int, *, work_not_started: bool = False) -> Outcome:
    """Say what the breaker is to make of a response.

    A 4xx counts for nothing, neither way: it is the caller's mistake, and many of them
    among a few 500s must not hide those. It does show that somebody is at home, which
    is all a probe asks. 429 and refusals before the handler ran do not even show that
    there is room, so a probe is none the wiser; but a breaker that counted them as
    failures would waste the capacity that is left. Unusual 5xx (501, 511) say nothing.
    """
    if work_not_started or status == _THROTTLED:
        return Outcome.NEUTRAL
    if status in _FAILURES:
        return Outcome.FAILURE
    if status < 400:  # noqa: PLR2004 - where client errors begin
        return Outcome.SUCCESS
    return Outcome.ANSWERED if status < 500 else Outcome.NEUTRAL  # noqa: PLR2004 - likewise


def is_fine(answer: Answer, retry: RetryConfig | None) -> bool:
    """Say whether the answer is no error, and none that is to be tried again."""
    if answer.status >= 400:  # noqa: PLR2004 - where client errors begin
        return False
    return retry is None or answer.status not in retry.statuses


def is_acceptable(answer: Answer, retry: RetryConfig | None) -> bool:
    """Say whether no other answer to a second copy is worth waiting for."""
    if judge(answer) is Outcome.FAILURE or is_throttled(answer):
        return False
    return retry is None or answer.status not in retry.statuses


def is_throttled(answer: Answer) -> bool:
    """Say whether the server asked for less traffic: 429, or 503 with a hint."""
    hinted = answer.status == _UNAVAILABLE and answer.retry_after is not None
    return answer.status == _THROTTLED or hinted


def is_shed(ending: Answer | Fault) -> bool:
    """Say whether there was no room for this one, while others may have been served."""
    if isinstance(ending, Fault):
        return False
    return ending.status == _UNAVAILABLE and ending.work_not_started


def was_counted(ending: Answer | Fault) -> bool:
    """Say whether our own rate was too high: to count is cheap, and to shed is not."""
    return isinstance(ending, Answer) and is_throttled(ending) and not is_shed(ending)


def is_free(ending: Answer | Fault) -> bool:
    """Say whether a first repeat is no extra load, so that nobody need pay for it."""
    return isinstance(ending, Fault) and ending.not_processed


def may_repeat(request: Request, ending: Answer | Fault, retry: RetryConfig) -> Repeat:
    """Decide whether a send that ended so may be made again.

    It must be worth it, safe, possible, and soon enough, asked in this order: the
    first no is the reason. `NOT_IDEMPOTENT` thus means that the method alone barred it.
    """
    barred = _not_worth_it(ending, retry)
    if barred is not None:
        return Repeat(allowed=False, reason=barred)
    if request.repeated:
        return Repeat(allowed=False, reason=Reason.NESTED)
    safe = _why_safe(request, ending)
    if safe is None:
        return Repeat(allowed=False, reason=Reason.NOT_IDEMPOTENT)
    if not (request.replayable or safe is Reason.NOTHING_SENT):
        return Repeat(allowed=False, reason=Reason.BODY_SPENT)
    if _asks_too_much(ending, retry):
        return Repeat(allowed=False, reason=Reason.WAIT_TOO_LONG)
    return Repeat(allowed=True, reason=safe)


def _not_worth_it(ending: Answer | Fault, retry: RetryConfig) -> Reason | None:
    if isinstance(ending, Fault):
        return None if ending.retryable else Reason.FINAL
    if ending.problem_retry == "never":
        return Reason.PROBLEM_SAYS_NEVER
    # Where the type speaks, the status is not asked.
    if ending.problem_retry is None and ending.status not in retry.statuses:
        return Reason.FINAL
    return None


def _why_safe(request: Request, ending: Answer | Fault) -> Reason | None:
    if isinstance(ending, Fault) and ending.nothing_sent:
        return Reason.NOTHING_SENT
    if isinstance(ending, Fault) and ending.not_processed:
        return Reason.NOT_PROCESSED
    if isinstance(ending, Answer) and ending.work_not_started:
        return Reason.WORK_NOT_STARTED
    # Unlike "same_key", which is safe only together with one.
    if isinstance(ending, Answer) and ending.problem_retry == "after_delay":
        return Reason.PROBLEM_SAYS_SO
    if request.idempotent:
        return Reason.IDEMPOTENT
    return Reason.KEY if request.has_key else None


def _asks_too_much(ending: Answer | Fault, retry: RetryConfig) -> bool:
    if isinstance(ending, Fault) or ending.retry_after is None:
        return False
    longest = retry.max_retry_after
    return longest is not None and ending.retry_after > longest


def judge_load(ending: Answer | Fault) -> Load:
    """Say what a send that ended so tells of the origin's load."""
    if isinstance(ending, Fault):
        return Load.UNKNOWN if ending.callers_own or ending.nothing_sent else Load.HIGH
    if ending.work_not_started or is_throttled(ending):
        return Load.HIGH
    if ending.status < 500:  # noqa: PLR2004 - where server errors begin
        return Load.FINE
    # A crash is over in no time, and says nothing of how long an answer takes.
    return Load.HIGH if ending.status in _OVERLOADED else Load.UNKNOWN
