"""The window against the slow and obvious way of counting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http._core.window import SLICES, SlidingWindow, Tally

SPAN = 10.0
WIDTH = SPAN / SLICES

steps = st.lists(
    st.tuples(st.floats(0, 3 * SPAN), st.booleans(), st.booleans()), max_size=50
)


@pytest.mark.property
@given(steps=steps, later=st.floats(0, 3 * SPAN))
def test_counts_what_a_list_would(
    steps: list[tuple[float, bool, bool]], later: float
) -> None:
    window, seen, now = SlidingWindow(SPAN), list[tuple[int, bool, bool]](), 0.0
    for gap, failed, slow in steps:
        now += gap
        window.record(failed=failed, slow=slow, now=now)
        seen.append((int(now // WIDTH), failed, slow))
    now += later
    oldest = int(now // WIDTH) - SLICES
    recent = [(failed, slow) for at, failed, slow in seen if at > oldest]
    assert window.tally(now) == Tally(
        calls=len(recent),
        failures=sum(failed for failed, _ in recent),
        slow=sum(slow for _, slow in recent),
    )


@pytest.mark.case("C18")
def test_forgets_by_the_clock_and_not_by_traffic() -> None:
    window = SlidingWindow(SPAN)
    for _ in range(10):
        window.record(failed=True, slow=True, now=0)
    window.record(failed=False, now=10 * SPAN)
    assert window.tally(10 * SPAN) == Tally(calls=1, failures=0, slow=0)


@pytest.mark.case("C18")
def test_forgets_when_nobody_calls() -> None:
    window = SlidingWindow(SPAN)
    window.record(failed=True, now=0)
    assert window.tally(3600) == Tally(0, 0, 0)


def test_a_call_counts_for_nine_tenths_of_the_window_at_least() -> None:
    window = SlidingWindow(SPAN)
    window.record(failed=True, now=0.99)
    assert window.tally(0.99 + 0.9 * SPAN).failures == 1
    assert window.tally(0.99 + SPAN + WIDTH).failures == 0


def test_stays_small_under_any_traffic() -> None:
    window = SlidingWindow(SPAN)
    for tick in range(1_000):
        window.record(failed=True, now=tick * 0.05)
        window.record(failed=True, now=max(0, tick * 0.05 - WIDTH))  # a slow thread
        assert len(window._slices) <= SLICES  # noqa: SLF001 - memory has no other face


def test_a_clock_read_before_anothers_does_not_lose_the_call() -> None:
    window = SlidingWindow(SPAN)
    window.record(failed=False, now=2.0)
    window.record(failed=True, now=0.5)  # read first, recorded second
    assert window.tally(2.0) == Tally(calls=2, failures=1, slow=0)
    assert window.tally(2.0 + 2 * SPAN) == Tally(0, 0, 0)


@pytest.mark.parametrize(("failed", "slow"), [(True, False), (False, True)])
def test_is_troubled_until_the_last_that_failed_or_was_slow_is_forgotten(
    *, failed: bool, slow: bool
) -> None:
    window = SlidingWindow(SPAN)
    window.record(failed=False, now=0)
    assert window.is_troubled is False
    window.record(failed=failed, slow=slow, now=1)
    assert window.is_troubled is True
    window.record(failed=failed, slow=slow, now=5)
    window.record(failed=False, now=12)
    assert window.is_troubled is True
    window.record(failed=False, now=16)
    assert window.is_troubled is False
