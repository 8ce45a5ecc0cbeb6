"""Whole calls through one origin, against anything Hypothesis can think of."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilient_http._core.breaker import Breaker, BreakerState
from resilient_http._core.concurrency import Limiter
from resilient_http._core.hop import Plan
from resilient_http._core.lane import Lane, Pass
from resilient_http._core.limits import Limits
from resilient_http._core.origin import Origin
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
    Pending,
    Queue,
    Reply,
    Seen,
    Send,
    Stay,
    Wait,
    Woke,
)
from resilient_http._core.verdict import Answer, Fault, Load, Outcome, Request
from resilient_http.policy import (
    BreakerConfig,
    ConcurrencyLimit,
    Policy,
    RateLimit,
    RetryBudget,
    RetryConfig,
)
from resilient_http.policy import Hedge as HedgeConfig

LIMIT, QUEUE, PROBES, SENDS, TOKENS, DEADLINE, HEDGE = 4, 3, 2, 4, 60, 9.0, 0.3
POLICY = Policy(
    retry=RetryConfig(max_attempts=SENDS, base_delay=0.5, max_delay=2),
    budget=RetryBudget(capacity=TOKENS, cost=14, throttled_cost=5),
    breaker=BreakerConfig(
        minimum_calls=4,
        failure_threshold=3,
        window=10,
        recovery_timeout=2,
        max_recovery_timeout=8,
        success_threshold=2,
        half_open_max_calls=PROBES,
        probe_lease=1e9,
        ramp=4,
    ),
    concurrency=ConcurrencyLimit(limit=LIMIT, queue=QUEUE),
    rate_limit=RateLimit(4, 1.0),
    hedge=HedgeConfig(delay=HEDGE),
)
GET = Request(idempotent=True, hedgeable=True)
POST = Request(idempotent=False)
CUT = Fault(retryable=True)
UNSENT = Fault(retryable=True, nothing_sent=True)
ENDS: list[int | Fault] = [200, 200, 200, 404, 429, 500, 503, CUT, UNSENT]
ENDS += [Fault(retryable=False, callers_own=True), Fault(retryable=True)]


@dataclass(eq=False, repr=False)
class Call:
    """One call under way, with what stands for its driver."""

    flow: Flow
    lane: Lane
    request: Request
    began: float
    streamed: bool
    command: Command | None = None
    asked_at: float = 0.0
    sends: int = 0
    out: dict[int, int] = field(default_factory=dict)
    """The copies that are on the wire, and the era in which each left."""
    held: int = 0
    """Copies that have ended, and whose answers are not closed yet."""
    last: Ended | None = None
    kept: Pass | None = None
    """What is to be given back when its body has ended."""

    @property
    def ends_at(self) -> float:
        return self.began + DEADLINE


class AnyCalls(RuleBasedStateMachine):
    """Calls begin, wait, are sent, hedged and answered, and cancelled at any step."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.rng = Random(1)
        self.origin = Origin()
        self.origin.equip(POLICY, self.rng)
        self.calls: list[Call] = []
        self.retries = self.successes = 0

    @property
    def breaker(self) -> Breaker:
        assert self.origin.breaker is not None
        return self.origin.breaker

    @property
    def limiter(self) -> Limiter:
        assert self.origin.limiter is not None
        return self.origin.limiter

    # What happens.

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        crowd=st.integers(1, 4),
        request=st.sampled_from([GET, GET, POST]),
        streamed=st.booleans(),
    )
    def calls_begin(self, crowd: int, request: Request, *, streamed: bool) -> None:
        for _ in range(crowd):
            self.begin(request, streamed=streamed)

    def begin(self, request: Request, *, streamed: bool = False) -> Call:
        lane = Lane(self.origin, POLICY, None, is_new_call=True)
        limits = Limits(self.now, deadline=DEADLINE, attempt=None, longest_phase=0)
        plan = Plan(
            facts=lambda: request,
            retry=POLICY.retry,
            lane=lane,
            limits=limits,
            rng=self.rng,
            wake=print,
        )
        call = Call(plan.run(self.now), lane, request, self.now, streamed)
        self.calls.append(call)
        self.step(call, None)
        return call

    @precondition(lambda self: self.on(Send, Hedge, Stay))
    @rule(data=st.data(), end=st.sampled_from(ENDS))
    def a_send_ends(self, data: st.DataObject, end: int | Fault) -> None:
        call = data.draw(st.sampled_from(self.on(Send, Hedge, Stay)))
        self.end(call, end, copy=data.draw(st.sampled_from([*call.out])))

    @precondition(lambda self: self.on(Send, Hedge, Stay))
    @rule(data=st.data())
    def a_deadline_passes_during_a_send(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.on(Send, Hedge, Stay)))
        self.now = max(self.now, call.ends_at)
        copy = data.draw(st.sampled_from([*call.out]))
        self.note_end(call, copy)
        self.step(call, Expired(self.now, copy))

    @precondition(lambda self: self.on(Send))
    @rule(data=st.data())
    def a_send_takes_long(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.on(Send)))
        if isinstance(call.command, Send) and call.command.hedge_after is not None:
            self.now = max(self.now, call.asked_at + HEDGE)
            self.step(call, Pending(self.now))

    @precondition(lambda self: self.on(Wait))
    @rule(data=st.data())
    def a_wait_is_over(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.on(Wait)))
        assert isinstance(call.command, Wait)
        self.now = max(self.now, call.asked_at + call.command.delay)
        self.step(call, Woke(self.now))

    @precondition(lambda self: self.on(Drop, Discard))
    @rule(data=st.data())
    def answers_are_closed(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.on(Drop, Discard)))
        self.step(call, Woke(self.now))

    @precondition(lambda self: self.on(Queue))
    @rule(data=st.data())
    def a_place_in_the_queue_is_called_up_or_given_up(
        self, data: st.DataObject
    ) -> None:
        call = data.draw(st.sampled_from(self.on(Queue)))
        assert isinstance(call.command, Queue)
        if call.command.ticket.slot is None:
            self.now = max(self.now, call.ends_at)
        self.step(call, Woke(self.now))

    @precondition(lambda self: self.reading())
    @rule(data=st.data(), well=st.booleans())
    def a_body_ends(self, data: st.DataObject, *, well: bool) -> None:
        call = data.draw(st.sampled_from(self.reading()))
        self.conclude(call, Outcome.SUCCESS if well else Outcome.FAILURE)

    @precondition(lambda self: self.on(Command.__args__))
    @rule(data=st.data())
    def a_call_is_cancelled(self, data: st.DataObject) -> None:
        self.cancel(data.draw(st.sampled_from(self.on(*Command.__args__))))

    @rule(crowd=st.integers(1, 6))
    def a_crowd_that_waits_its_turn_is_cancelled(self, crowd: int) -> None:
        before = self.turn()
        if before > 0:
            began = [self.begin(GET) for _ in range(crowd)]
            waiting = [call for call in began if isinstance(call.command, Wait)]
            for call in waiting[:: self.rng.choice([1, -1])]:
                self.cancel(call)
            assert self.turn() == pytest.approx(before)

    # What stands for the hop and its driver.

    def on(self, *kinds: Any) -> list[Call]:
        return [call for call in self.calls if isinstance(call.command, kinds)]

    def reading(self) -> list[Call]:
        return [call for call in self.calls if call.kept is not None]

    def turn(self) -> float:
        assert self.origin.bucket is not None
        return self.origin.bucket.wait(self.now)

    def end(self, call: Call, end: int | Fault, copy: int = 0) -> None:
        self.note_end(call, copy)
        if isinstance(end, Fault):
            self.step(call, Failure(self.now, end, copy))
        else:
            answer = Answer(status=end)
            self.step(call, Reply(self.now, answer, unread=call.streamed, copy=copy))

    def note_end(self, call: Call, copy: int) -> None:
        del call.out[copy]
        call.held += 1

    def step(self, call: Call, seen: Seen | None) -> None:
        call.asked_at = self.now
        if isinstance(seen, Reply | Failure | Expired):
            call.last = seen
        try:
            command = next(call.flow) if seen is None else call.flow.send(seen)
        except StopIteration as end:
            self.finish(call, end.value)
        else:
            self.start(call, command)
        self.hand_over()

    def start(self, call: Call, command: Command) -> None:
        was, call.command = call.command, command
        if isinstance(command, Send | Hedge):
            if isinstance(command, Send):
                call.out, call.held = {}, 0
            call.out[int(isinstance(command, Hedge))] = self.breaker.era
            call.sends += 1
            self.retries += call.sends > 1
            assert self.breaker.state is not BreakerState.OPEN
            assert call.sends <= SENDS
            assert self.now < call.ends_at
            assert call.sends == 1 or may_repeat(call)
        if isinstance(command, Drop):
            call.held, call.out = call.held + len(call.out), {}
        if isinstance(command, Wait):
            call.held = 0  # or nothing could be sent in the meantime
            took_time = isinstance(was, Discard)
            assert took_time or self.now + command.delay < call.ends_at

    def finish(self, call: Call, ending: Ending) -> None:
        call.command, call.out, call.held = None, {}, 0
        if isinstance(ending, Done):
            assert call.sends > 0
            call.kept = ending.passed
            last = call.last
            self.successes += isinstance(last, Reply) and last.answer.status < 400
        if call.kept is None:
            self.calls.remove(call)

    def cancel(self, call: Call) -> None:
        call.flow.close()
        self.hand_over()
        self.calls.remove(call)

    def conclude(self, call: Call, outcome: Outcome) -> None:
        assert call.kept is not None
        call.lane.settle(call.kept, outcome, self.now)
        call.lane.conclude(outcome, self.now)
        call.lane.release(call.kept, Load.UNKNOWN, self.now)
        self.hand_over()
        self.calls.remove(call)

    def hand_over(self) -> None:
        while self.limiter.hand_over(self.now) is not None:
            pass

    # What is true all the time.

    @invariant()
    def every_slot_is_held_by_what_is_open(self) -> None:
        handed = sum(
            isinstance(call.command, Queue) and call.command.ticket.slot is not None
            for call in self.calls
        )
        wire = sum(len(call.out) for call in self.calls) + handed
        unread = len(self.on(Discard)) + len(self.reading())
        of_races = sum(call.held for call in self.on(Stay, Drop))
        in_flight = self.limiter.snapshot().in_flight
        assert wire + unread <= in_flight <= min(LIMIT, wire + unread + of_races)

    @invariant()
    def nobody_waits_for_a_free_slot(self) -> None:
        view = self.limiter.snapshot()
        assert view.waiting <= QUEUE
        assert not view.waiting or view.in_flight == LIMIT
        waiting = [c for c in self.on(Queue) if not c.command.ticket.slot]  # type: ignore[union-attr]  # a Queue
        assert view.waiting == len(waiting)

    @invariant()
    def every_permit_is_held_by_what_is_under_way(self) -> None:
        view = self.breaker.snapshot(self.now)
        era = self.breaker.era
        wire = sum(left == era for call in self.calls for left in call.out.values())
        closing = sum(call.held for call in self.calls) + len(self.reading())
        assert wire <= view.in_flight <= wire + closing
        if view.state is BreakerState.HALF_OPEN:
            assert view.in_flight <= PROBES

    @invariant()
    def retries_are_paid_for(self) -> None:
        assert self.origin.budget is not None
        assert 0 <= self.origin.budget.tokens <= TOKENS
        assert 5 * self.retries <= TOKENS + 14 * self.successes

    def teardown(self) -> None:
        """Whatever happened, nothing is lost, and traffic comes back."""
        for call in list(self.calls):
            if call.kept is None:
                self.cancel(call)
            else:
                self.conclude(call, Outcome.SUCCESS)
        assert self.limiter.snapshot().in_flight == 0
        assert self.limiter.snapshot().waiting == 0
        assert self.breaker.snapshot(self.now).in_flight == 0
        for _ in range(TOKENS):
            self.now += 10
            call = self.begin(POST)
            assert isinstance(call.command, Send)
            self.end(call, 200)
        assert self.breaker.state is BreakerState.CLOSED
        assert self.origin.budget is not None
        assert self.origin.budget.tokens == TOKENS
        self.now += 10
        crowd = [self.begin(POST) for _ in range(LIMIT)]
        assert all(isinstance(call.command, Send) for call in crowd)
        for call in crowd:
            self.end(call, 200)


def may_repeat(call: Call) -> bool:
    """Whether a POST was given leave to be sent again."""
    unsent = isinstance(call.last, Failure) and call.last.fault.nothing_sent
    return call.request.idempotent or unsent


TestAnyCalls = pytest.mark.property(AnyCalls.TestCase)
