"""Waits between sends, drawn many times."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http._core.backoff import delay
from resilient_http.policy import RetryConfig

CONFIG = RetryConfig(base_delay=0.1, max_delay=5)


class Longest(Random):
    """Always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def test_the_ceiling_doubles_up_to_its_cap() -> None:
    ceilings = [delay(CONFIG, n, Longest()) for n in range(1, 9)]
    assert ceilings == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])


@pytest.mark.case("C32")
def test_the_cap_is_inside_the_jitter() -> None:
    rng = Random(1)
    waits = [delay(CONFIG, 20, rng) for _ in range(1_000)]
    at_the_cap = sum(wait >= CONFIG.max_delay * 0.999 for wait in waits)
    assert at_the_cap < 10
    assert max(waits) - min(waits) > 0.3 * CONFIG.max_delay
    assert min(waits) < 0.1  # evenly from 0, and not from half


@pytest.mark.case("C33", "RA-9")
def test_a_retry_after_does_not_bring_every_client_back_at_once() -> None:
    rng = Random(1)
    waits = [delay(CONFIG, 1, rng, throttled=True, retry_after=10) for _ in range(1000)]
    assert min(waits) >= 10
    assert max(waits) <= 11
    assert max(waits) - min(waits) > 0.99


def test_a_retry_after_may_be_longer_than_any_wait_of_ours() -> None:
    assert delay(CONFIG, 1, Random(1), retry_after=60) >= 60


@pytest.mark.parametrize("number", [1, 2, 20])
def test_a_short_retry_after_is_kept_to_late_in_the_call_too(number: int) -> None:
    wait = delay(CONFIG, number, Longest(), throttled=True, retry_after=1)
    assert wait == pytest.approx(1.1)


def test_a_retry_after_of_nothing_leaves_the_draw_as_it_was() -> None:
    assert delay(CONFIG, 3, Longest(), retry_after=0) == delay(CONFIG, 3, Longest())


def test_a_throttled_answer_starts_from_a_second() -> None:
    waits = [delay(CONFIG, n, Longest(), throttled=True) for n in (1, 2, 3, 4)]
    assert waits == [1, 2, 4, 5]


def test_a_throttled_answer_keeps_to_max_delay() -> None:
    none = RetryConfig(base_delay=0, max_delay=0)
    assert delay(none, 5, Longest(), throttled=True) == 0


def test_a_longer_base_than_a_second_is_kept_when_throttled() -> None:
    slow = RetryConfig(base_delay=3, max_delay=60)
    assert delay(slow, 1, Longest(), throttled=True) == 3


@pytest.mark.property
@given(
    number=st.integers(1, 10_000),
    base=st.floats(0, 1e308),
    cap=st.floats(0, 1e308),
    throttled=st.booleans(),
    asked=st.none() | st.floats(0, 1e300),
    seed=st.integers(),
)
def test_no_wait_overflows_or_leaves_its_bounds(  # noqa: PLR0913 - one per input
    *,
    number: int,
    base: float,
    cap: float,
    throttled: bool,
    asked: float | None,
    seed: int,
) -> None:
    config = RetryConfig(base_delay=base, max_delay=cap)
    wait = delay(config, number, Random(seed), throttled=throttled, retry_after=asked)
    low, high = (asked, 1.1 * asked) if asked else (0, cap)
    assert low <= wait <= high
