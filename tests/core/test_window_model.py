"""The window against anything Hypothesis can think of."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from resilient_http._core.window import SLICES, SlidingWindow

SPAN = 10.0
WIDTH = SPAN / SLICES


class AnyTraffic(RuleBasedStateMachine):
    """Calls end in crowds and after pauses, and somebody looks, or nobody does."""

    def __init__(self) -> None:
        super().__init__()
        self.window = SlidingWindow(SPAN)
        self.now = 0.0
        self.seen: list[tuple[float, bool, bool]] = []

    @rule(seconds=st.floats(0, 2 * WIDTH) | st.floats(0, 3 * SPAN) | st.just(WIDTH))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(crowd=st.integers(1, 5), failed=st.booleans(), slow=st.booleans())
    def calls_end(self, crowd: int, *, failed: bool, slow: bool) -> None:
        for _ in range(crowd):
            self.window.record(failed=failed, slow=slow, now=self.now)
            self.seen.append((self.now, failed, slow))

    @rule()
    def somebody_looks(self) -> None:
        tally = self.window.tally(self.now)
        assert tally == self.window.tally(self.now)
        young = [each for each in self.seen if each[0] > self.now - SPAN + WIDTH]
        all_of_it = [each for each in self.seen if each[0] > self.now - SPAN]
        for at, count in enumerate(tally):
            flags = [lambda _: True, lambda each: each[1], lambda each: each[2]][at]
            assert sum(map(flags, young)) <= count <= sum(map(flags, all_of_it))

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.window._slices) <= SLICES + 1  # noqa: SLF001 - memory has no other face

    def teardown(self) -> None:
        """Whatever happened, a span later nothing is left of it."""
        assert self.window.tally(self.now + SPAN) == (0, 0, 0)


TestAnyTraffic = pytest.mark.property(AnyTraffic.TestCase)
