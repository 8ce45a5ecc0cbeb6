"""When the breaker opens, by example. Time is a number, so no test sleeps."""

from dataclasses import replace

import pytest

from resilient_http._core.breaker import (
    BreakerState,
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
