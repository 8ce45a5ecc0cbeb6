"""One hop of a call, as a generator that never touches the network.

A call is one hop, and one more for each redirect that httpx follows. The generator
yields what it wants done and is sent what came of it::

    Queue()               ->  Woke         a place is free, or the time is over
    Send(hedge_after)     ->  Reply | Failure | Expired, or Pending after so long
    Hedge(), Stay()       ->  Reply | Failure | Expired, of the first that ends
    Drop(keep), Discard() ->  Woke
    Wait(delay)           ->  Woke

and returns how it ended. Both drivers run this same generator, so there is nothing to
keep in step between the sync and the async client.
"""

from collections.abc import Callable, Generator
from random import Random
from typing import Final

from resilient_http import events
from resilient_http._core import backoff, verdict
from resilient_http._core.breaker import Refusal
from resilient_http._core.lane import FULL, Full, HeldBack, Lane, Pass, TooSoon
from resilient_http._core.limits import Limits
from resilient_http._core.steps import (
    Command,
    Discard,
    Done,
    Drop,
    Ended,
    Ending,
    Expired,
    Failure,
    Flow,
    Hedge,
    Late,
    NoPlace,
    Pending,
    Queue,
    Refused,
    Reply,
    Seen,
    Send,
    Stay,
    Wait,
    asked_of,
    ended,
    load_of,
    outcome_of,
)
from resilient_http._core.verdict import Answer, Fault, Load, Outcome, Reason, Request
from resilient_http.events import Trail
from resilient_http.policy import RetryConfig

_PARTS: Final[dict[type, events.Part]] = {
    TooSoon: "rate_limit",
    HeldBack: "throttle",
    Refusal: "breaker",
    NoPlace: "concurrency",
}
_SEND: Final = Send()
_DONE: Final = Done()
_HAVE_TRIED: Final = frozenset(
    {Reason.ATTEMPTS_SPENT, Reason.NO_TIME, Reason.WAIT_TOO_LONG}
)
_MAY_NOT: Final = frozenset({Reason.BREAKER_OPEN, Reason.BUDGET_SPENT, Reason.NO_PLACE})


class Plan:
    """What one hop depends on, and what comes of it.

    Args:
        facts: What about the request decides whether it may be sent again; asked only
            if that comes into question.
        retry: When to try again; None for never.
        nested: Whether that is never because a call around it does.
        lane: The machines of the origin, held for this hop.
        limits: Of the call.
        rng: Where jitter comes from.
        wake: To be called by whoever hands over the slot that this hop waits for.
        trail: Takes note of what happens; None if nobody wants to know.

    """

    __slots__ = (
        *("_facts", "_had_free", "_lane", "_limits", "_nested", "_retry", "_rng"),
        *("_sends", "_trail", "_wake"),
    )

    def __init__(  # noqa: PLR0913 - what the decision depends on, each by its name
        self,
        *,
        facts: Callable[[], Request],
        retry: RetryConfig | None,
        lane: Lane,
        limits: Limits,
        rng: Random,
        wake: Callable[[], object],
        nested: bool = False,
        trail: Trail | None = None,
    ) -> None:
        self._facts = facts
        self._retry = retry
        self._nested = nested
        self._lane = lane
        self._limits = limits
        self._rng = rng
        self._wake = wake
        self._trail = trail
        self._sends = 0
        self._had_free = False

    def run(self, now: float) -> Flow:
        """Bring one request home, starting at `now`.

        Returns:
            A refusal only if nothing was sent; `Late` if the deadline has passed.

        """
        if not self._lane.is_open:
            refusal, now = yield from self._take_turn(now)
            if refusal is not None:
                return self._refused(refusal)
        while True:
            late = now >= self._limits.call_at
            entered = Late() if late else self._lane.admit(now)
            if entered is FULL:
                entered, now = yield from self._queue(now)
            if not isinstance(entered, Pass):
                return self._turned_away(entered, now)
            self._sends += 1
            out = [entered]
            try:
                after = self._hedge_after(now) if self._lane.hedges else None
                seen: Seen
                if after is None:
                    seen = yield _SEND
                else:
                    seen = yield from self._race(out, after)
            except GeneratorExit:  # cancelled, or the program is on its way out
                self._abandon(out, now)
                raise
            delay = self._judge(ended(seen), out[0])
            if not isinstance(delay, float):
                return delay
            now = yield from self._pause(delay, ended(seen), out[0])

    # Before a send.

    def _take_turn(
        self, now: float
    ) -> Generator[Command, Seen, tuple[TooSoon | HeldBack | None, float]]:
        lane = self._lane
        turn = lane.turn(now, self._limits.call_at, self._rng)
        if isinstance(turn, TooSoon):
            return turn, now
        if turn > 0 and self._trail is not None:
            self._trail.add(events.Waiting, part="rate_limit", seconds=turn)
        try:
            while turn > 0:
                now = (yield Wait(lane.nap(turn))).now
                turn = lane.again(now, self._limits.call_at, self._rng)
        except GeneratorExit:  # likewise
            lane.leave(now)
            raise
        held_back = lane.is_let_through(now, self._rng)
        if held_back is not None:
            lane.leave(now)
        return held_back, now

    def _queue(
        self, now: float
    ) -> Generator[Command, Seen, tuple[Pass | Refusal | Full | Late, float]]:
        ticket = self._lane.queue(self._wake)
        if ticket is None:
            return FULL, now
        if self._trail is not None:
            self._trail.add(events.Waiting, part="concurrency", seconds=None)
        try:
            now = (yield Queue(ticket)).now
        except GeneratorExit:
            self._lane.unqueue(ticket, now)
            if self._sends == 0:
                self._lane.leave(now)
            raise
        if ticket.slot is None or now >= self._limits.call_at:
            self._lane.unqueue(ticket, now)
            return Late(), now
        return self._lane.admit(now, ticket.slot), now

    def _turned_away(self, by: Refusal | Full | Late, now: float) -> Ending:
        if self._sends == 0:
            self._lane.leave(now)
        if isinstance(by, Late):
            return self._late()
        if self._sends == 0:
            return self._refused(NoPlace() if by is FULL else by)
        self._note_end(Reason.NO_PLACE if by is FULL else Reason.BREAKER_OPEN)
        return Done(is_final=True)

    def _late(self) -> Late:
        if self._trail is not None:
            self._trail.add(events.Expired, attempts=self._sends)
        return Late()

    def _refused(self, refusal: Refused) -> Refused:
        if self._trail is not None:
            part = _PARTS[type(refusal)]
            if isinstance(refusal, TooSoon) and not refusal.is_ours:
                part = "server"
            wait = getattr(refusal, "retry_after", None)
            self._trail.add(events.Refused, part=part, retry_after=wait)
        return refusal

    # A send and another beside it.

    def _hedge_after(self, now: float) -> float | None:
        allowed = not self._nested and self._facts().hedgeable
        return self._lane.hedge_after(now) if allowed else None

    def _abandon(self, out: list[Pass], now: float) -> None:
        for passed in out:
            self._lane.settle(passed, Outcome.NEUTRAL, now)
            self._lane.release(passed, Load.UNKNOWN, now)

    def _race(self, out: list[Pass], after: float) -> Generator[Command, Seen, Ended]:
        seen = yield Send(after)
        if isinstance(seen, Pending):
            beside = self._beside(seen.now)
            if isinstance(beside, Reason):
                if self._trail is not None:
                    self._trail.add(events.NotHedged, reason=beside)
                seen = yield Stay()
            else:
                out.append(beside)
                seen = yield Hedge()
        chosen = ended(seen)
        if len(out) == 1:
            return chosen
        if not self._is_acceptable(chosen) and not isinstance(chosen, Expired):
            # Not the race's end: the other may yet do better.
            other = ended((yield Stay()))
            if self._is_acceptable(other) or isinstance(other, Expired):
                chosen, other = other, chosen
            self._observe(other)
            self._settle(other, out[other.copy])
        chosen.now = (yield Drop(chosen.copy)).now
        self._abandon([out.pop(1 - chosen.copy)], chosen.now)
        return chosen

    def _beside(self, now: float) -> Pass | Reason:
        """Ask for leave to send a second copy; return why it may not go."""
        if self._retry is not None and self._sends >= self._retry.max_attempts:
            return Reason.ATTEMPTS_SPENT
        if now >= self._limits.call_at:
            return Reason.NO_TIME
        entered = self._lane.admit(now)
        if not isinstance(entered, Pass):
            return Reason.NO_PLACE if entered is FULL else Reason.BREAKER_OPEN
        if not self._lane.pay():
            self._abandon([entered], now)
            return Reason.BUDGET_SPENT
        self._sends += 1
        return entered

    def _is_acceptable(self, seen: Ended) -> bool:
        return isinstance(seen, Reply) and verdict.is_acceptable(
            seen.answer, self._retry
        )

    def _observe(self, seen: Ended) -> None:
        seconds = seen.seconds if isinstance(seen, Reply) else 0.0
        self._lane.observe(load_of(seen), seconds, seen.now)

    def _settle(self, seen: Ended, passed: Pass) -> None:
        self._lane.settle(passed, outcome_of(seen), seen.now, asked_of(seen))
        self._release(passed, seen)

    def _release(self, passed: Pass, seen: Ended) -> None:
        if passed.slot is not None:
            self._lane.release(passed, load_of(seen), seen.now)

    # After a send.

    def _judge(self, seen: Ended, passed: Pass) -> Done | Late | float:
        """Take in how a send ended; return the wait before the next, or the end."""
        lane, now = self._lane, seen.now
        if lane.is_observant:
            self._observe(seen)
        unread = isinstance(seen, Reply) and seen.unread
        if isinstance(seen, Reply):
            passed.took = seen.seconds  # while a slot may be held for longer
            if verdict.is_fine(seen.answer, self._retry):
                return self._succeed(seen, passed)
        elif isinstance(seen, Expired):
            self._settle(seen, passed)
            lane.conclude(outcome_of(seen), now)
            return self._late()
        outcome = outcome_of(seen)
        delay, reason = self._again(seen)
        if delay is None and unread and outcome is not Outcome.FAILURE:
            return self._done(reason, outcome, passed)
        lane.settle(passed, outcome, now, asked_of(seen))
        if delay is not None:
            barred = self._bar(delay, seen)
            if barred is None:
                self._note_retry(delay, reason)
                return delay
            reason = barred
        lane.conclude(outcome, now)
        if not unread:
            self._release(passed, seen)
        return self._done(reason, outcome, passed if unread else None)

    def _succeed(self, seen: Reply, passed: Pass) -> Done:
        if seen.unread:
            self._lane.refund()
            return Done(passed)
        self._lane.succeed(passed, seen.now)
        if passed.slot is not None:
            self._release(passed, seen)
        return _DONE

    def _pause(
        self, delay: float, seen: Ended, passed: Pass
    ) -> Generator[Command, Seen, float]:
        try:
            if isinstance(seen, Reply) and seen.unread:
                yield Discard()
        finally:
            self._release(passed, seen)
        return (yield Wait(delay)).now

    def _again(self, seen: Reply | Failure) -> tuple[float | None, Reason]:
        """Draw the wait before the next send; None if there is to be none, and why."""
        ending = seen.answer if isinstance(seen, Reply) else seen.fault
        retry = self._retry
        if retry is None:
            return None, Reason.NESTED if self._nested else Reason.SWITCHED_OFF
        repeat = verdict.may_repeat(self._facts(), ending, retry)
        if not repeat.allowed:
            return None, repeat.reason
        if self._sends >= retry.max_attempts:
            return None, Reason.ATTEMPTS_SPENT
        delay = self._lane.paced(self._draw(retry, ending), seen.now, self._rng)
        if seen.now + delay < self._limits.call_at:
            return delay, repeat.reason
        return None, Reason.NO_TIME  # the answer at hand is better than none

    def _draw(self, retry: RetryConfig, ending: Answer | Fault) -> float:
        if isinstance(ending, Fault):
            return backoff.delay(retry, self._sends, self._rng)
        return backoff.delay(
            retry,
            self._sends,
            self._rng,
            throttled=verdict.is_throttled(ending),
            retry_after=ending.retry_after,
        )

    def _bar(self, delay: float, seen: Reply | Failure) -> Reason | None:
        """Return why there is to be no retry after all."""
        if self._lane.is_shut_for(delay, seen.now):
            return Reason.BREAKER_OPEN
        ending = seen.answer if isinstance(seen, Reply) else seen.fault
        if verdict.is_free(ending) and not self._had_free:
            self._had_free = True
            return None
        return None if self._lane.pay(ending) else Reason.BUDGET_SPENT

    def _done(self, reason: Reason, outcome: Outcome, kept: Pass | None) -> Done:
        if outcome is Outcome.SUCCESS:  # of a status that it was told to try again
            self._lane.refund()
        else:
            self._note_end(reason)
        have_tried = self._sends > 1 and reason in _HAVE_TRIED
        return Done(kept, have_tried or reason in _MAY_NOT)

    def _note_retry(self, delay: float, reason: Reason) -> None:
        if self._trail is not None:
            told = {"attempt": self._sends + 1, "delay": delay, "reason": reason}
            self._trail.add(events.RetryScheduled, **told)

    def _note_end(self, reason: Reason) -> None:
        if self._trail is not None:
            self._trail.add(events.NotRetried, attempts=self._sends, reason=reason)
