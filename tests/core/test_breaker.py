"""When the breaker opens, by example. Time is a number, so no test sleeps."""

import math
from dataclasses import replace
from random import Random

import pytest

from resilient_http._core.breaker import (
    Breaker,
    BreakerState,
    Cause,
    Mode,
    Permit,
    Refusal,
)
from resilient_http.policy import BreakerConfig
from tests.core.breakers import (
    CONFIG,
    breaker_with,
    call,
    opened_at,
    permit,
    send,
    state_of,
)

# The failure rate of sends


def test_opens_at_the_failure_rate() -> None:
    breaker = breaker_with()
    for failed in (False, True, False):
        send(breaker, 0, failed=failed)
    assert state_of(breaker) is BreakerState.CLOSED
    send(breaker, 0, failed=True)
    assert state_of(breaker) is BreakerState.OPEN


def test_stays_closed_just_below_the_failure_rate() -> None:
    breaker = breaker_with()
    for failed in (False, False, False, True) * 25:
        send(breaker, 0, failed=failed)
    assert state_of(breaker) is BreakerState.CLOSED


def test_seven_in_twenty_five_are_28_percent() -> None:
    breaker = breaker_with(replace(CONFIG, failure_rate=0.28, minimum_calls=25))
    for number in range(25):
        send(breaker, 0, failed=number < 7)
    assert state_of(breaker) is BreakerState.OPEN


def test_stays_closed_below_the_minimum_of_sends() -> None:
    breaker = breaker_with()
    for _ in range(3):
        send(breaker, 0, failed=True)
    assert state_of(breaker) is BreakerState.CLOSED


def test_failures_older_than_the_window_do_not_count() -> None:
    breaker = breaker_with()
    for _ in range(3):
        send(breaker, 0, failed=True)
    send(breaker, 11, failed=True)
    assert state_of(breaker) is BreakerState.CLOSED


@pytest.mark.case("C18")
def test_an_idle_window_remembers_nothing() -> None:
    breaker = breaker_with(replace(CONFIG, minimum_calls=11))
    for _ in range(10):
        send(breaker, 0, failed=True)
    send(breaker, 10 * CONFIG.window, failed=False)
    view = breaker.snapshot(10 * CONFIG.window)
    assert (view.calls, view.failures) == (1, 0)


# Failed calls in a row, on a quiet dependency


def test_a_quiet_dependency_opens_on_failed_calls_in_a_row() -> None:
    breaker = breaker_with()
    for now in (0, 100, 200):
        assert state_of(breaker) is BreakerState.CLOSED
        call(breaker, now, failed=True)
    assert state_of(breaker) is BreakerState.OPEN


@pytest.mark.case("C27")
def test_one_call_a_second_that_always_fails_opens_within_the_window() -> None:
    config = BreakerConfig()
    breaker = breaker_with(config)
    now = 0.0
    while state_of(breaker) is BreakerState.CLOSED:
        call(breaker, now, failed=True)
        now += 1
    assert now <= config.window


def test_failed_sends_of_a_call_that_succeeded_are_not_failed_calls() -> None:
    breaker = breaker_with()
    for now in range(0, 1_000, 100):
        first = permit(breaker, now)
        breaker.settle(first, failed=True, now=now)
        send(breaker, now, failed=False)
        breaker.conclude(first, failed=False, now=now)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_success_anywhere_ends_the_row() -> None:
    breaker = breaker_with()
    for now in (0, 100):
        call(breaker, now, failed=True)
    send(breaker, 150, failed=False)
    call(breaker, 200, failed=True)
    assert state_of(breaker) is BreakerState.CLOSED
    assert breaker.snapshot(200).failed_in_row == 1


def test_a_call_that_ended_well_ends_the_row() -> None:
    breaker = breaker_with()
    for now in (0, 100):
        call(breaker, now, failed=True)
    first = permit(breaker, 150)
    breaker.abandon(first, 150)
    breaker.conclude(first, failed=False, now=150)
    assert breaker.snapshot(150).failed_in_row == 0


def test_on_a_busy_dependency_a_row_of_failed_calls_is_the_rates_business() -> None:
    breaker = breaker_with()
    for _ in range(20):
        send(breaker, 0, failed=False)
    for _ in range(4):
        call(breaker, 0, failed=True)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_dependency_is_busy_at_the_minimum_of_sends() -> None:
    breaker = breaker_with(replace(CONFIG, failure_rate=1))
    send(breaker, 0, failed=False)
    for _ in range(3):
        call(breaker, 0, failed=True)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_call_from_an_older_era_is_no_part_of_the_row() -> None:
    breaker = breaker_with()
    old = [permit(breaker, 0) for _ in range(3)]
    for _ in range(3):
        call(breaker, 0, failed=True)
    send(breaker, 30, failed=False)
    for first in old:
        breaker.conclude(first, failed=True, now=30)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_call_does_not_reopen_what_is_half_open() -> None:
    breaker = opened_at(0, replace(CONFIG, failure_threshold=1))
    probe = permit(breaker, 30)
    breaker.conclude(probe, failed=True, now=30)
    assert state_of(breaker) is BreakerState.HALF_OPEN


# Slow calls


def test_opens_at_the_slow_rate() -> None:
    breaker = breaker_with(replace(CONFIG, slow_call=2, slow_rate=0.5))
    for took in (2.5, 2, 2.5):
        send(breaker, 0, failed=False, took=took)
    assert breaker.snapshot(0).slow == 2  # 2 is not longer than 2
    assert state_of(breaker) is BreakerState.CLOSED
    send(breaker, 0, failed=False, took=1)
    assert state_of(breaker) is BreakerState.OPEN


def test_stays_closed_just_below_the_slow_rate() -> None:
    breaker = breaker_with(replace(CONFIG, slow_call=2, slow_rate=0.5))
    for took in (1, 1, 1, 2.5, 2.5):
        send(breaker, 0, failed=False, took=took)
    assert breaker.snapshot(0).slow == 2
    assert state_of(breaker) is BreakerState.CLOSED


def test_no_call_is_slow_unless_that_was_asked_for() -> None:
    breaker = breaker_with()
    for _ in range(10):
        send(breaker, 0, failed=False, took=3600)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_slow_probe_has_not_passed() -> None:
    config = replace(CONFIG, slow_call=2)
    breaker = opened_at(0, config)
    send(breaker, 30, failed=False, took=3)
    assert state_of(breaker) is BreakerState.OPEN


# Decided by hand


def test_forced_open_nothing_passes_however_long_it_waits() -> None:
    breaker = breaker_with()
    breaker.force(Mode.FORCED_OPEN)
    assert breaker.admit(0) == Refusal(math.inf)
    assert breaker.retry_after(0) == math.inf
    assert breaker.snapshot(0).mode is Mode.FORCED_OPEN
    assert breaker.snapshot(0).in_flight == 0


@pytest.mark.parametrize("mode", [Mode.FORCED_CLOSED, Mode.METRICS_ONLY])
def test_what_passes_though_it_is_open_counts_for_nothing(mode: Mode) -> None:
    breaker = opened_at(0)
    breaker.force(mode)
    assert breaker.retry_after(1) == 0
    granted = breaker.admit(1)
    assert isinstance(granted, Permit)
    assert (granted.admitted_at, granted.is_probe) == (1, False)
    breaker.conclude(granted, failed=True, now=1)
    assert not breaker.settle(granted, failed=True, now=1)
    view = breaker.snapshot(1)
    assert (view.state, view.calls, view.in_flight) == (BreakerState.OPEN, 0, 0)


def test_forced_closed_it_counts_nothing_and_stays_as_it_was() -> None:
    breaker = breaker_with()
    breaker.force(Mode.FORCED_CLOSED)
    for _ in range(10):
        granted = permit(breaker, 0)
        assert not granted.is_probe
        assert not breaker.settle(granted, failed=True, now=0)
        breaker.conclude(granted, failed=True, now=0)
    view = breaker.snapshot(0)
    assert (view.state, view.calls, view.failed_in_row) == (BreakerState.CLOSED, 0, 0)


def test_for_metrics_only_it_counts_and_moves_as_ever() -> None:
    breaker = breaker_with(replace(CONFIG, metrics_only=True))
    assert breaker.mode is Mode.METRICS_ONLY
    for _ in range(4):
        send(breaker, 0, failed=True)
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.snapshot(0).retry_after == 30
    assert permit(breaker, 30).is_probe
    assert state_of(breaker) is BreakerState.HALF_OPEN


@pytest.mark.parametrize("metrics_only", [False, True])
def test_let_go_it_decides_again_as_it_was_made_to(*, metrics_only: bool) -> None:
    breaker = breaker_with(replace(CONFIG, metrics_only=metrics_only))
    breaker.force(Mode.FORCED_OPEN)
    breaker.force(None)
    own = Mode.METRICS_ONLY if metrics_only else Mode.NORMAL
    assert breaker.snapshot(0).mode is own
    assert isinstance(breaker.admit(0), Permit)


# What it says of itself


def test_what_events_and_metrics_show_is_spelled_so() -> None:
    assert [*BreakerState] == ["closed", "open", "half_open"]
    assert [*Mode] == ["normal", "metrics_only", "forced_open", "forced_closed"]
    assert [*Cause] == [
        *("failure_rate", "slow_rate", "calls_failed"),
        *("break_over", "probe_failed", "probes_passed"),
    ]


def test_tells_how_often_it_has_moved_and_why_it_last_did() -> None:
    breaker = breaker_with()
    assert (breaker.era, breaker.cause) == (0, None)
    for _ in range(4):
        send(breaker, 0, failed=True)
    assert (breaker.era, breaker.cause) == (1, Cause.FAILURE_RATE)
    send(breaker, 30, failed=False)
    assert (breaker.era, breaker.cause) == (3, Cause.PROBES_PASSED)


def test_a_closed_breaker_refuses_nobody_for_any_time() -> None:
    assert breaker_with().retry_after(0) == 0


def test_a_break_lasts_up_to_a_fifth_longer_unless_it_is_told_otherwise() -> None:
    class Longest(Random):
        def uniform(self, a: float, b: float) -> float:
            return max(a, b)

    breaker = Breaker(CONFIG, Longest())
    for _ in range(4):
        send(breaker, 0, failed=True)
    assert breaker.retry_after(0) == pytest.approx(36)
