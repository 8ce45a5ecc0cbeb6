"""The pacer against anything Hypothesis can think of."""

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from resilient_http._core.pacer import Pacer

SAME = 1.5  # seconds between two accounts of one reset
ROUNDING = 1e-6
DAY = 86_400.0


@dataclass
class Said:
    """One announcement, and the calls that it is about."""

    end: float
    """When its window ends, as it was first told."""
    until: float
    left: int


class AnyServer(RuleBasedStateMachine):
    """Answers and calls come in any order, beside a list of all that was said."""

    def __init__(self) -> None:
        super().__init__()
        self.pacer = Pacer()
        self.now = 0.0
        self.held_until = 0.0
        self.hold = 0.0
        self.stands: list[Said] = []
        self.goes: list[float] = []

    @initialize(seed=st.integers(0, 99))
    def with_a_seed(self, seed: int) -> None:
        self.rng = Random(seed)

    @rule(seconds=st.floats(0, 3) | st.floats(0, 2 * DAY) | st.just(0.25))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        remaining=st.integers(0, 8) | st.integers(0, 10**15),
        reset=st.integers(0, 12) | st.integers(0, 10**15),
    )
    def an_answer_announces(self, remaining: int, reset: float) -> None:
        self.pacer.announce(remaining, reset, self.now)
        until = self.now + min(reset, DAY)
        self.stands = [
            said
            for said in self.stands
            if self.now < said.end and until <= said.end + SAME
        ]
        ends = [said.end for said in self.stands if said.end - SAME <= until]
        waiting = sum(self.now < moment < until for moment in self.goes)
        left = max(0, remaining - waiting)
        self.stands.append(Said(min(ends, default=until), until, left))

    @precondition(lambda self: self.stands)
    @rule(data=st.data(), remaining=st.integers(0, 8), off=st.floats(-2, 2))
    def an_answer_tells_of_a_reset_again(
        self, data: st.DataObject, remaining: int, off: float
    ) -> None:
        until = data.draw(st.sampled_from(self.stands)).until
        self.an_answer_announces(remaining, max(0.0, until - self.now + off))

    @rule(seconds=st.integers(0, 20) | st.integers(0, 10**15))
    def an_answer_says_retry_after(self, seconds: int) -> None:
        self.pacer.hold(seconds, self.now)
        until = self.now + min(seconds, DAY)
        if until > self.held_until:
            self.held_until, self.hold = until, min(seconds, DAY)
        self.stands.clear()

    @rule(crowd=st.integers(1, 6))
    def calls_ask(self, crowd: int) -> None:
        for _ in range(crowd):
            least = self.pacer.wait(self.now)
            wait = self.pacer.reserve(self.now, self.rng)
            assert least <= wait <= least + 0.1 * max(least, self.hold) + ROUNDING
            assert self.now + wait >= self.held_until - ROUNDING
            assert wait <= 1.1 * self.longest() + ROUNDING
            self.count(self.now + wait)

    def longest(self) -> float:
        """Return how long a call may have to wait by what stands."""
        held = self.held_until + 0.1 * self.hold if self.held_until > self.now else 0.0
        ends = [said.until for said in self.stands]
        return min(DAY, max(0.0, *(end - self.now for end in [held, *ends])))

    def count(self, moment: float) -> None:
        self.goes.append(moment)
        for said in self.stands:
            if moment < said.until - ROUNDING:
                said.left -= 1

    @invariant()
    def no_more_than_were_left_go_before_the_reset(self) -> None:
        assert all(said.left >= 0 for said in self.stands)

    def teardown(self) -> None:
        """Whatever was said, after the last reset everybody goes at once."""
        resets = [self.held_until, *(said.until for said in self.stands)]
        self.now = max(self.now, *resets)
        assert [self.pacer.reserve(self.now, self.rng) for _ in range(20)] == [0] * 20


TestAnyServer = pytest.mark.property(AnyServer.TestCase)
