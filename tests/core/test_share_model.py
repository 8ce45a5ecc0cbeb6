"""A share of a quota against anything Hypothesis can think of."""

import math
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from resilient_http._core.pacer import Pacer
from resilient_http._core.share import Share

NOISE = 1e-6
SOON = 0.1
"""Of a window: no answer is out for much longer while nobody calls."""


class AnyUse(RuleBasedStateMachine):
    """One quota, of which anything may be told, and calls that line up for it."""

    @initialize(quota=st.integers(1, 200), window=st.sampled_from([1.0, 10.0, 60.0]))
    def a_quota(self, quota: int, window: float) -> None:
        self.share = Share()
        self.quota, self.window = quota, window
        self.now = self.held_until = self.told_until = 0.0
        self.line: list[float] = []

    @rule(seconds=st.floats(0, 3) | st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(level=st.floats(0, 1), reset=st.integers(0, 60), times=st.integers(1, 5))
    def answers_say_what_is_left(self, level: float, reset: int, times: int) -> None:
        self.told_until = self.now + reset
        for _ in range(times):
            left = math.floor(level * self.quota)
            quota = (self.quota, self.window)
            self.share.hear(left, self.told_until, quota, self.now)
        if left == 0:
            self.held_until = max(self.held_until, self.told_until)

    @rule(quota=st.integers(1, 200))
    def the_limit_changes(self, quota: int) -> None:
        self.quota = quota

    @rule(seconds=st.integers(0, 20))
    def a_call_is_refused(self, seconds: int) -> None:
        self.held_until = max(self.held_until, self.now + seconds)
        self.share.refuse(self.now + seconds, self.now)

    @rule(crowd=st.integers(1, 6))
    def calls_line_up(self, crowd: int) -> None:
        for _ in range(crowd):
            wait = self.share.wait(self.now)
            place = self.share.take(self.now)
            assert (place is None) == (not self.share.is_paced)
            if place is None:
                assert wait == 0
            else:
                assert wait == self.share.wait_of(place, self.now)
                self.line.append(place)

    @rule()
    def those_go_whose_turn_it_is(self) -> None:
        self.line = [p for p in self.line if self.share.wait_of(p, self.now) > 0]

    @invariant()
    def the_rate_is_within_the_limit(self) -> None:
        if self.share.is_paced:
            assert 1 / self.window - NOISE <= self.share.rate
            # What changed since is told with the next answer.
            assert self.share.rate <= 200 / self.window + NOISE

    @invariant()
    def nobody_waits_longer_than_a_window_behind_the_one_before(self) -> None:
        held = max(0.0, self.held_until - self.now)
        waits = [self.share.wait_of(place, self.now) for place in self.line]
        waits = [wait for wait in waits if wait > 0]
        assert all(0 <= wait < math.inf for wait in waits)
        assert waits == sorted(waits)
        for ahead, wait in enumerate(waits, start=1):
            assert wait <= held + ahead * self.window + NOISE
        nobody = len(waits)
        assert self.share.wait(self.now) <= held + (nobody + 1) * self.window + NOISE

    def teardown(self) -> None:
        """Whatever was told, plenty that is told for a window ends it."""
        if not hasattr(self, "share"):
            return
        self.now = max(self.now, self.held_until) + self.window
        for _ in range(4):
            self.quota, left = 100, 90
            quota = (self.quota, self.window)
            until = self.now + self.window
            self.share.hear(left, until, quota, self.now)
            self.now += 0.4 * self.window
        assert not self.share.is_paced
        assert [self.share.wait_of(p, self.now) for p in self.line] == [0] * len(
            self.line
        )


class Alone(RuleBasedStateMachine):
    """The only caller of a server, whose answers come soon, and in any order.

    Its quota comes back in one of the three ways there are.
    """

    @initialize(
        kind=st.sampled_from(["fixed", "sliding", "bucket"]),
        quota=st.integers(2, 30),
        window=st.sampled_from([1, 10]),
        seed=st.integers(0, 99),
    )
    def a_server(self, kind: str, quota: int, window: int, seed: int) -> None:
        self.pacer, self.rng = Pacer(), Random(seed)
        self.kind, self.quota, self.window = kind, quota, window
        self.now = 100.0
        self.taken: list[float] = []
        self.level, self.level_at = float(quota), self.now
        self.out: list[tuple[int, int]] = []
        self.waiting: list[float] = []
        self.call()
        self.answers(crowd=1)

    @rule(crowd=st.integers(1, 40))
    def calls(self, crowd: int) -> None:
        for _ in range(crowd):
            wait = self.pacer.reserve(self.now, self.rng)
            assert self.pacer.place is None
            if wait == 0:
                self.call()
            else:
                self.waiting.append(self.now + wait)

    @rule(crowd=st.integers(1, 40))
    def answers(self, crowd: int) -> None:
        for _ in range(min(crowd, len(self.out))):
            left, reset = self.out.pop(self.rng.randrange(len(self.out)))
            quota = (self.quota, float(self.window))
            self.pacer.announce(left, reset, self.now, quota)

    @rule(share=st.floats(0, 1.5))
    def time_passes(self, share: float) -> None:
        self.answers(crowd=len(self.out))
        until = self.now + share * self.window
        for moment in sorted(self.waiting):
            if moment <= until:
                self.waiting.remove(moment)
                if moment - self.now > SOON * self.window:
                    self.answers(crowd=len(self.out))
                self.now = moment
                self.call()
        self.answers(crowd=len(self.out))
        self.now = until

    def call(self) -> None:
        """Have the server decide; what it refuses, it says nothing of."""
        left = self.left()
        if left >= 1:
            self.taken.append(self.now)
            self.level -= 1
            self.out.append((left - 1, self.reset()))

    def left(self) -> int:
        if self.kind == "bucket":
            back = (self.now - self.level_at) * self.quota / self.window
            self.level = min(self.quota, self.level + back)
            self.level_at = self.now
            return math.floor(self.level)
        since = self.now - self.window
        if self.kind == "fixed":
            since = math.nextafter(self.now // self.window * self.window, 0)
        return self.quota - sum(moment > since for moment in self.taken)

    def reset(self) -> int:
        if self.kind == "bucket":
            return math.ceil((self.quota - self.level) * self.window / self.quota)
        if self.kind == "fixed":
            return math.ceil(self.window - self.now % self.window)
        return self.window

    @invariant()
    def it_is_never_paced(self) -> None:
        assert not self.pacer._share.is_paced  # noqa: SLF001 - is the point


TestAnyUse = pytest.mark.property(AnyUse.TestCase)
TestAlone = pytest.mark.property(Alone.TestCase)
