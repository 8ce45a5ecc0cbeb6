"""The bucket against anything Hypothesis can think of."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilient_http._core.bucket import Bucket, Place
from resilient_http.policy import RateLimit

BURST, RATE = 3, 2.0
ROUNDING = 1e-6


class AnyCallers(RuleBasedStateMachine):
    """Calls take places, use them, give them back late, early or twice."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket(RateLimit(4, 2.0, burst=BURST))
        self.now = 0.0
        self.taken: list[Place] = []
        self.back: list[Place] = []

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(crowd=st.integers(1, 6))
    def calls_ask(self, crowd: int) -> None:
        for _ in range(crowd):
            told = self.bucket.wait(self.now)
            place = self.bucket.reserve(self.now)
            assert place.at == pytest.approx(self.now + told)
            assert place.at >= self.now
            self.taken.append(place)

    @precondition(lambda self: any(place.at > self.now for place in self.taken))
    @rule(data=st.data())
    def a_waiter_gives_up(self, data: st.DataObject) -> None:
        waiting = [place for place in self.taken if place.at > self.now]
        place = data.draw(st.sampled_from(waiting))
        assert self.bucket.cancel(place, self.now)
        self.taken.remove(place)
        self.back.append(place)

    @precondition(lambda self: self.taken)
    @rule()
    def the_last_who_asked_was_not_sent(self) -> None:
        place = self.taken.pop()
        self.bucket.cancel(place, self.now)
        self.back.append(place)

    @precondition(lambda self: self.taken)
    @rule()
    def a_whole_crowd_gives_up(self) -> None:
        for place in [place for place in self.taken if place.at > self.now]:
            self.bucket.cancel(place, self.now)
            self.taken.remove(place)
        assert self.bucket.wait(self.now) <= 1 / RATE + ROUNDING

    @precondition(lambda self: self.back)
    @rule(data=st.data())
    def a_place_is_given_back_again(self, data: st.DataObject) -> None:
        before = self.bucket.wait(self.now)
        again = data.draw(st.sampled_from(self.back))
        assert not self.bucket.cancel(again, self.now)
        assert self.bucket.wait(self.now) == before

    @invariant()
    def never_more_than_burst_and_rate(self) -> None:
        went = sorted(place.at for place in self.taken)
        for first, start in enumerate(went):
            for count, end in enumerate(went[first:], start=1):
                assert count <= BURST + RATE * (end - start) + ROUNDING

    def teardown(self) -> None:
        """Whatever happened, after the line and a pause there is a burst again."""
        last = max((place.at for place in self.taken), default=self.now)
        self.now = max(self.now, last) + BURST / RATE
        crowd = [self.bucket.reserve(self.now).at for _ in range(BURST + 1)]
        assert crowd[:BURST] == [self.now] * BURST
        assert crowd[BURST] > self.now


TestAnyCallers = pytest.mark.property(AnyCallers.TestCase)
