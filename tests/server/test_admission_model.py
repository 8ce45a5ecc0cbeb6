"""Admission against anything Hypothesis can think of."""

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from server_kit.shedding.adaptive import AdaptiveLimit
from server_kit.shedding.admission import Admission, Permit, Priority, Refusal, Ticket

LEAST, MOST = 2, 12


class AnyCrowd(RuleBasedStateMachine):
    """Requests come, wait, end, are cancelled or end twice, in any order."""

    admission: Admission

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.out: list[Permit] = []
        self.done: list[Permit] = []
        self.waiting: list[Ticket] = []
        self.woken = 0
        self.most = 0

    @initialize(start=st.integers(LEAST, MOST))
    def make(self, start: int) -> None:
        limit = AdaptiveLimit(start, LEAST, MOST, slack=0.1)
        self.admission = Admission(limit, 0.25)

    def wake(self) -> None:
        self.woken += 1

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(priority=st.sampled_from(Priority), left=st.sampled_from([0.01, 1, math.inf]))
    def one_comes(self, priority: Priority, left: float) -> None:
        answer = self.admission.admit(self.now, priority, self.wake, left)
        self.see_who_is_in()  # as time has passed, there may be places for those first
        is_free = len(self.out) < self.admission.snapshot().limit
        assert isinstance(answer, Permit) == (is_free and not self.waiting)
        if isinstance(answer, Permit):
            self.out.append(answer)
        elif isinstance(answer, Ticket):
            self.waiting.append(answer)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_response_begins(self, data: st.DataObject) -> None:
        self.admission.answered(data.draw(st.sampled_from(self.out)), self.now)
        self.see_who_is_in()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_response_ends(self, data: st.DataObject) -> None:
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        assert self.admission.release(permit, self.now)
        self.done.append(permit)
        self.see_who_is_in()

    @rule(count=st.integers(1, 60), seconds=st.floats(0, 3))
    def many_are_served(self, count: int, seconds: float) -> None:
        for _ in range(count):
            answer = self.admission.admit(self.now, Priority.NORMAL, list, math.inf)
            self.now += seconds
            if isinstance(answer, Ticket):
                self.admission.leave(answer, self.now, in_vain=seconds > 0.25)
            if isinstance(answer, Permit):
                self.admission.release(answer, self.now)
                self.see_who_is_in()

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def one_ends_again(self, data: st.DataObject) -> None:
        before = self.admission.snapshot()
        assert not self.admission.release(
            data.draw(st.sampled_from(self.done)), self.now
        )
        assert self.admission.snapshot() == before

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), in_vain=st.booleans())
    def one_gives_up(self, data: st.DataObject, in_vain: bool) -> None:
        ticket = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.admission.leave(ticket, self.now, in_vain=in_vain)
        self.see_who_is_in()

    @precondition(lambda self: self.out and self.waiting)
    @rule()
    def one_is_cancelled_as_it_is_woken(self) -> None:
        waited = list(self.waiting)
        permit = self.out.pop(0)
        self.admission.release(permit, self.now)
        for ticket in waited:
            if ticket.permit is not None:
                self.waiting.remove(ticket)
                self.admission.leave(ticket, self.now, in_vain=False)
        self.see_who_is_in()

    def see_who_is_in(self) -> None:
        for ticket in list(self.waiting):
            if ticket.permit is not None:
                self.waiting.remove(ticket)
                self.out.append(ticket.permit)

    @invariant()
    def those_in_flight_are_counted_once(self) -> None:
        if not hasattr(self, "admission"):
            return
        seen = self.admission.snapshot()
        assert seen.in_flight == len(self.out)
        assert seen.waiting == len(self.waiting)
        assert LEAST <= seen.limit <= MOST
        # A cut leaves in flight who was let in before it.
        assert len(self.out) <= max(seen.limit, self.most)
        self.most = max(seen.limit, len(self.out))

    @invariant()
    def nobody_waits_while_a_place_is_free(self) -> None:
        if self.waiting:
            assert len(self.out) >= self.admission.snapshot().limit

    def teardown(self) -> None:
        """See that whatever happened, the next is let in when all are done."""
        for ticket in list(self.waiting):
            self.admission.leave(ticket, self.now, in_vain=True)
        self.see_who_is_in()
        for permit in self.out:
            self.admission.release(permit, self.now)
        if hasattr(self, "admission"):
            seen = self.admission.snapshot()
            assert (seen.in_flight, seen.waiting) == (0, 0)
            for _ in range(LEAST):
                answer = self.admission.admit(self.now, Priority.SHEDDABLE, list, 0)
                assert not isinstance(answer, Ticket | Refusal)


TestAnyCrowd = pytest.mark.property(AnyCrowd.TestCase)
