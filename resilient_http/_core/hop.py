"""One hop of a call, as a generator that never touches the network.

A call is one hop, and one more for each redirect that httpx follows. The generator
yields what it wants done and is sent what came of it::

    Send()        ->  Reply | Failure | Expired
    Wait(delay)   ->  Woke

and returns how it ended. Both drivers in `transport.py` run this same generator, so
there is nothing to keep in step between the sync and the async client.
"""

from collections.abc import Generator
from dataclasses import dataclass
from random import Random

from resilient_http._core import backoff
from resilient_http._core.breaker import Refusal
from resilient_http._core.gates import Gate, Line, Purse, TooSoon
from resilient_http._core.limits import Limits
from resilient_http._core.verdict import (
    Answer,
    Fault,
    Outcome,
    Request,
    is_throttled,
    judge,
    may_repeat,
)
from resilient_http.policy import RetryConfig


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request, within the limits of the call."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let `delay` seconds go by."""

    delay: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The server answered."""

    now: float
    answer: Answer
    unread: bool = False
    """Whether the body is the caller's to read, so that more may yet go wrong."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No usable answer came."""

    now: float
    fault: Fault


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline of the call passed during a send."""

    now: float


@dataclass(frozen=True, slots=True)
class Woke:
    """The wait is over."""

    now: float


@dataclass(frozen=True, slots=True)
class Done:
    """The call ends as its last send did."""


@dataclass(frozen=True, slots=True)
class Late:
    """The call ends because its time is over."""


Command = Send | Wait
Ended = Reply | Failure | Expired
Ending = Done | Refusal | TooSoon | Late
Flow = Generator[Command, Ended | Woke, Ending]


def hop(  # noqa: PLR0913 - what the decision depends on, each by its name
    *,
    request: Request,
    retry: RetryConfig | None,
    line: Line,
    gate: Gate,
    purse: Purse,
    limits: Limits,
    rng: Random,
    now: float,
) -> Flow:
    """Bring one request home, starting at `now`.

    Whoever is sent an unread reply as the end settles and concludes `gate` when its
    body has ended.

    Returns:
        `TooSoon` or `Refusal` only if nothing was sent; `Late` if the deadline has
        passed.

    """
    turn = line.enter(now, limits.call_at)
    if isinstance(turn, TooSoon):
        return turn
    if turn > 0:
        now = yield from _wait_in(line, turn, now)
    sends = 0
    while True:
        if now >= limits.call_at:
            return Late()
        refusal = gate.admit(now)
        if refusal is not None:
            return _turned_away(refusal, line, sends, now)
        seen = yield from _send(gate, limits, now)
        now = seen.now
        sends += 1
        outcome = _outcome(seen)
        delay = _delay(seen, sends, request, retry, rng)
        if delay is not None and now + delay >= limits.call_at:
            delay = None  # the answer at hand is better than none
        if delay is None and outcome is Outcome.SUCCESS:
            purse.succeed()
        if delay is None and _is_unread(seen) and outcome is not Outcome.FAILURE:
            return Done()
        gate.settle(outcome, now, _asked(seen))
        if (
            delay is None
            or gate.is_shut_for(delay, now)
            or not purse.pay(throttled=_is_throttled(seen))
        ):
            gate.conclude(outcome, now)
            return Late() if isinstance(seen, Expired) else Done()
        now = (yield Wait(delay)).now


def _wait_in(
    line: Line, turn: float, now: float
) -> Generator[Command, Ended | Woke, float]:
    try:
        return (yield Wait(turn)).now
    except GeneratorExit:  # cancelled, or the program is on its way out
        line.leave(now)
        raise


def _turned_away(
    refusal: Refusal, line: Line, sends: int, now: float
) -> Refusal | Done:
    if sends > 0:
        return Done()
    line.leave(now)
    return refusal


def _send(
    gate: Gate, limits: Limits, now: float
) -> Generator[Command, Ended | Woke, Ended]:
    limits.begin_send(now)
    try:
        seen = yield Send()
    except GeneratorExit:  # likewise
        gate.settle(Outcome.NEUTRAL, now)
        raise
    if isinstance(seen, Woke):
        raise TypeError(f"a send does not end so: {seen}")
    return seen


def _outcome(seen: Ended) -> Outcome:
    if isinstance(seen, Expired):
        return Outcome.FAILURE
    return judge(seen.answer if isinstance(seen, Reply) else seen.fault)


def _delay(
    seen: Ended, sends: int, request: Request, retry: RetryConfig | None, rng: Random
) -> float | None:
    """Draw the wait before the next send; None if there is to be none."""
    if retry is None or sends >= retry.max_attempts or isinstance(seen, Expired):
        return None
    if isinstance(seen, Failure):
        repeat = may_repeat(request, seen.fault, retry)
        return backoff.delay(retry, sends, rng) if repeat.allowed else None
    if not may_repeat(request, seen.answer, retry).allowed:
        return None
    return backoff.delay(
        retry,
        sends,
        rng,
        throttled=_is_throttled(seen),
        retry_after=seen.answer.retry_after,
    )


def _is_unread(seen: Ended) -> bool:
    return isinstance(seen, Reply) and seen.unread


def _is_throttled(seen: Ended) -> bool:
    return isinstance(seen, Reply) and is_throttled(seen.answer)


def _asked(seen: Ended) -> float:
    asked = seen.answer.retry_after if isinstance(seen, Reply) else None
    return 0.0 if asked is None else asked
