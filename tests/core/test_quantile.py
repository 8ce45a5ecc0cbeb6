"""How long answers take of late, against a plain sorted list."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http._core.quantile import MOST_SAMPLES, SPAN, Latencies


def fed(quantile: float, *samples: float, now: float = 0.0) -> Latencies:
    latencies = Latencies(quantile)
    for seconds in samples:
        latencies.record(seconds, now)
    return latencies


def test_says_nothing_until_it_has_seen_twenty() -> None:
    latencies = fed(0.95, *range(19))
    assert latencies.estimate(0) is None
    latencies.record(19, 0)
    assert latencies.estimate(0) == 18


@pytest.mark.parametrize(
    ("quantile", "needed"), [(0.01, 20), (0.5, 20), (0.9, 20), (0.96, 25), (0.98, 50)]
)
def test_a_higher_quantile_takes_more_samples(quantile: float, needed: int) -> None:
    assert fed(quantile, *range(needed - 1)).estimate(0) is None
    assert fed(quantile, *range(needed)).estimate(0) is not None


@pytest.mark.parametrize("quantile", [0.999, 1 - 1e-16])
def test_the_highest_quantiles_take_all_that_is_kept(quantile: float) -> None:
    assert fed(quantile, *range(MOST_SAMPLES - 1)).estimate(0) is None
    assert fed(quantile, *range(MOST_SAMPLES)).estimate(0) == MOST_SAMPLES - 1


@pytest.mark.parametrize(
    ("quantile", "value"), [(0.95, 95), (0.5, 50), (0.9, 90), (0.001, 1)]
)
def test_is_the_nearest_rank(quantile: float, value: float) -> None:
    assert fed(quantile, *range(100, 0, -1)).estimate(0) == value


def test_one_sample_in_twenty_may_take_any_time() -> None:
    assert fed(0.95, *[0.1] * 95, *[60.0] * 5).estimate(0) == 0.1


def test_the_latest_samples_count() -> None:
    latencies = fed(0.95, *[5.0] * 1_000)
    for _ in range(MOST_SAMPLES):
        latencies.record(0.1, 1)
    assert latencies.estimate(1) == 0.1


@pytest.mark.case("C18")
def test_forgets_by_the_clock_and_not_by_traffic() -> None:
    latencies = fed(0.95, *[5.0] * 100)
    assert latencies.estimate(SPAN - 1) == 5.0
    assert latencies.estimate(SPAN) is None
    latencies.record(0.1, SPAN)
    assert latencies.estimate(SPAN) is None


@pytest.mark.property
@given(
    quantile=st.floats(0.001, 0.999),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 20.0, SPAN]) | st.floats(0, 5),
            st.sampled_from([0.1, 0.2]) | st.floats(0, 60),
            st.sampled_from([1, 1, 30, 200]),
        ),
        max_size=30,
    ),
)
def test_says_what_a_list_would(
    quantile: float, steps: list[tuple[float, float, int]]
) -> None:
    latencies, seen, now = Latencies(quantile), list[tuple[float, float]](), 0.0
    for gap, seconds, times in steps:
        now += gap
        for _ in range(times):
            latencies.record(seconds, now)
            seen.append((now, seconds))
        recent = sorted(s for at, s in seen[-MOST_SAMPLES:] if at > now - SPAN)
        told = latencies.estimate(now)
        if told is None:
            assert len(recent) < max(20, min(MOST_SAMPLES, 1 / (1 - quantile)))
        else:
            assert told == recent[math.ceil(quantile * len(recent)) - 1]
