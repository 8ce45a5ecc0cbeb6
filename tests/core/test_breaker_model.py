"""The breaker against anything Hypothesis can think of."""

from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilient_http._core.breaker import (
    TRANSITIONS,
    Breaker,
    BreakerState,
    Permit,
    Refusal,
)
from resilient_http.policy import BreakerConfig

CONFIG = BreakerConfig(
    minimum_calls=4,
    failure_threshold=3,
    window=10,
    slow_call=8,
    recovery_timeout=5,
    max_recovery_timeout=20,
    success_threshold=2,
    half_open_max_calls=2,
    probe_lease=6,
    ramp=10,
)
STEPS = {(start, end) for (start, _), end in TRANSITIONS.items()}


class AnyTraffic(RuleBasedStateMachine):
    """Calls start, end, fail, hang, are cancelled or handed in twice, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(CONFIG, Random(1))
        self.now = 0.0
        self.out: list[Permit] = []
        self.done: list[Permit] = []
        self.was = (BreakerState.CLOSED, 0)

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_break_ends(self) -> None:
        self.now += self.breaker.retry_after(self.now)

    @rule(crowd=st.integers(1, 5))
    def calls_start(self, crowd: int) -> None:
        for _ in range(crowd):
            alone = self.breaker.snapshot(self.now).in_flight == 0
            granted = self.breaker.admit(self.now)
            if isinstance(granted, Permit):
                assert granted.is_probe == (
                    self.breaker.state is BreakerState.HALF_OPEN
                )
                self.out.append(granted)
            else:
                assert not alone or self.breaker.state is BreakerState.OPEN

    @precondition(lambda self: self.out)
    @rule(
        data=st.data(),
        failed=st.booleans(),
        concluded=st.booleans(),
        asked=st.sampled_from([0.0, 0.0, 12.0]),
    )
    def a_send_ends(
        self, *, data: st.DataObject, failed: bool, concluded: bool, asked: float
    ) -> None:
        permit = self._pick(data)
        current = permit.era == self.breaker.era
        counted = self.breaker.settle(
            permit, failed=failed, now=self.now, retry_after=asked
        )
        assert current or not counted
        if concluded:
            self.breaker.conclude(permit, failed=failed, now=self.now)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), answered=st.booleans())
    def a_send_is_abandoned(self, data: st.DataObject, *, answered: bool) -> None:
        self.breaker.abandon(self._pick(data), self.now, answered=answered)

    @precondition(lambda self: self.done)
    @rule(data=st.data(), failed=st.booleans())
    def a_permit_is_handed_in_again(self, data: st.DataObject, *, failed: bool) -> None:
        again = data.draw(st.sampled_from(self.done))
        before = self.breaker.snapshot(self.now)
        assert not self.breaker.settle(again, failed=failed, now=self.now)
        self.breaker.abandon(again, self.now, answered=True)
        assert self.breaker.snapshot(self.now) == before

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_call_hangs_for_ever(self, data: st.DataObject) -> None:
        self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))

    def _pick(self, data: st.DataObject) -> Permit:
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.done.append(permit)
        return permit

    @invariant()
    def only_the_table_moves_it(self) -> None:
        state, era = self.breaker.state, self.breaker.era
        was, was_era = self.was
        assert era >= was_era
        if era == was_era:
            assert state is was
        elif era == was_era + 1:
            assert (was, state) in STEPS
        self.was = (state, era)

    @invariant()
    def probes_are_few(self) -> None:
        if self.breaker.state is BreakerState.HALF_OPEN:
            probes = self.breaker.snapshot(self.now).in_flight
            assert probes <= CONFIG.half_open_max_calls

    @invariant()
    def nothing_is_in_flight_while_open(self) -> None:
        if self.breaker.state is BreakerState.OPEN:
            assert self.breaker.snapshot(self.now).in_flight == 0

    @invariant()
    def looking_changes_nothing(self) -> None:
        view = self.breaker.snapshot(self.now)
        assert self.breaker.snapshot(self.now) == view
        assert 0 <= view.failures <= view.calls
        assert 0 <= view.slow <= view.calls

    def teardown(self) -> None:
        """Whatever happened, a healthy dependency gets its traffic back."""
        for permit in self.out:
            self.breaker.abandon(permit, self.now)
        for _ in range(20):
            self.now += max(CONFIG.probe_lease, self.breaker.retry_after(self.now))
            granted = self.breaker.admit(self.now)
            if isinstance(granted, Permit):
                self.breaker.settle(granted, failed=False, now=self.now)
        assert self.breaker.state is BreakerState.CLOSED
        crowd = [self.breaker.admit(self.now) for _ in range(100)]
        assert not any(isinstance(answer, Refusal) for answer in crowd)


TestAnyTraffic = pytest.mark.property(AnyTraffic.TestCase)


def test_every_call_that_is_handed_in_leaves_nothing_in_flight() -> None:
    breaker, rng, now = Breaker(CONFIG, Random(1)), Random(7), 0.0
    out = list[Permit]()
    for _ in range(3_000):
        now += rng.uniform(0, 1)
        granted = breaker.admit(now)
        if isinstance(granted, Permit):
            out.append(granted)
        if out and rng.random() < 0.6:
            permit = out.pop(rng.randrange(len(out)))
            breaker.settle(permit, failed=rng.random() < 0.3, now=now)
    assert breaker.era > 10  # it was an eventful life
    for permit in out:
        breaker.settle(permit, failed=False, now=now)
    assert breaker.snapshot(now).in_flight == 0
