"""The concurrency limit against anything Hypothesis can think of."""

from typing import Literal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from resilient_http._core.concurrency import (
    MOST_GROWTH,
    Limiter,
    Slot,
    Ticket,
)
from resilient_http._core.verdict import Load
from resilient_http.policy import ConcurrencyLimit

LIMIT, QUEUE = 4, 3


class AnyCrowd(RuleBasedStateMachine):
    """Calls start, wait, end, are cancelled or handed in twice, in any order."""

    limiter: Limiter

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.out: list[Slot] = []
        self.done: list[Slot] = []
        self.waiting: list[Ticket] = []

    @initialize(adaptive=st.sampled_from([None, "aimd", "gradient2"]))
    def make(self, adaptive: Literal["gradient2", "aimd"] | None) -> None:
        config = ConcurrencyLimit(limit=LIMIT, adaptive=adaptive, queue=QUEUE)
        self.limiter = Limiter(config)
        self.adaptive = adaptive

    @rule(seconds=st.floats(0, 5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(crowd=st.integers(1, 6))
    def calls_start(self, crowd: int) -> None:
        for _ in range(crowd):
            free = len(self.out) < self.limiter.limit and not self.waiting
            taken = self.limiter.acquire(self.now)
            assert (taken is not None) == free
            if taken is not None:
                self.out.append(taken)
            elif (ticket := self.limiter.enter(print)) is not None:
                self.waiting.append(ticket)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), ended=st.sampled_from(Load))
    def a_call_ends(self, data: st.DataObject, ended: Load) -> None:
        slot = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        assert self.limiter.release(slot, self.now, ended)
        self.done.append(slot)
        self.wake()

    @rule(count=st.integers(1, 30), rtt=st.floats(0, 5))
    def many_calls_end_well(self, count: int, rtt: float) -> None:
        for _ in range(count):
            slot = self.limiter.acquire(self.now)
            self.now += rtt
            if slot is not None:
                self.limiter.release(slot, self.now, Load.FINE)
        self.wake()

    @precondition(lambda self: self.done)
    @rule(data=st.data(), ended=st.sampled_from(Load))
    def a_slot_is_handed_in_again(self, data: st.DataObject, ended: Load) -> None:
        before = self.limiter.snapshot()
        again = data.draw(st.sampled_from(self.done))
        assert not self.limiter.release(again, self.now, ended)
        assert self.limiter.snapshot() == before

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def a_waiter_is_cancelled(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.waiting) - 1))
        self.limiter.leave(self.waiting.pop(at), self.now)

    @precondition(lambda self: self.out and self.waiting)
    @rule()
    def a_waiter_is_cancelled_as_it_is_woken(self) -> None:
        self.limiter.release(self.out.pop(), self.now, Load.UNKNOWN)
        if (ticket := self.limiter.hand_over(self.now)) is not None:
            assert ticket is self.waiting.pop(0)
            self.limiter.leave(ticket, self.now)
        self.wake()

    def wake(self) -> None:
        while (ticket := self.limiter.hand_over(self.now)) is not None:
            assert ticket is self.waiting.pop(0)
            assert ticket.slot is not None
            assert len(self.out) < self.limiter.limit
            self.out.append(ticket.slot)

    @invariant()
    def every_slot_is_where_it_should_be(self) -> None:
        view = self.limiter.snapshot()
        assert view.in_flight == len(self.out)
        assert view.waiting == len(self.waiting) <= QUEUE

    @invariant()
    def the_limit_has_bounds(self) -> None:
        assert 1 <= self.limiter.limit <= LIMIT * MOST_GROWTH
        assert self.adaptive is not None or self.limiter.limit == LIMIT

    @invariant()
    def nobody_waits_for_a_free_slot(self) -> None:
        assert not self.waiting or len(self.out) >= self.limiter.limit

    def teardown(self) -> None:
        """Whatever happened, a healthy origin gets its traffic back."""
        if not hasattr(self, "limiter"):
            return
        for ticket in self.waiting:
            self.limiter.leave(ticket, self.now)
        for slot in self.out:
            self.limiter.release(slot, self.now, Load.UNKNOWN)
        # A span lasts a round trip, and one may have lasted all this time.
        pause = max(1.0, self.now / 20)
        for _ in range(100):
            taken = [self.limiter.acquire(self.now) for _ in range(LIMIT)]
            self.now += 0.01
            for each in taken:
                if each is not None:
                    self.limiter.release(each, self.now, Load.FINE)
            self.now += pause
        assert self.limiter.limit >= LIMIT


TestAnyCrowd = pytest.mark.property(AnyCrowd.TestCase)
