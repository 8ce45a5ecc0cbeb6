"""How the breaker comes back, by example: breaks, probes, the ramp."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilient_http._core.breaker import (
    Breaker,
    BreakerState,
    Permit,
    Refusal,
)
from resilient_http.policy import BreakerConfig
from tests.core.breakers import (
    CONFIG,
    breaker_with,
    call,
    closed_again_at,
    opened_at,
    permit,
    send,
    state_of,
)

# Breaks


def test_a_refusal_says_what_is_left_of_the_break() -> None:
    breaker = opened_at(100)
    assert breaker.admit(110) == Refusal(retry_after=20)
    assert breaker.retry_after(110) == 20


def test_breaks_double_up_to_the_longest_and_start_over_once_it_was_well() -> None:
    breaker, now, breaks = opened_at(0), 0.0, list[float]()
    for _ in range(4):
        breaks.append(breaker.retry_after(now))
        now += breaks[-1]
        send(breaker, now, failed=True)
    assert breaks == [30, 60, 100, 100]
    now += 100
    send(breaker, now, failed=False)
    for _ in range(4):
        send(breaker, now, failed=True)
    assert breaker.retry_after(now) == 30


def test_a_relapse_during_the_ramp_is_the_same_outage() -> None:
    breaker = closed_again_at(30, replace(CONFIG, ramp=10))
    for _ in range(4):
        send(breaker, 39, failed=True)
    assert breaker.retry_after(39) == 60


def test_a_first_break_longer_than_the_longest_is_as_asked() -> None:
    config = replace(CONFIG, recovery_timeout=120, max_recovery_timeout=60)
    assert opened_at(0, config).retry_after(0) == 120


def test_breaks_are_spread_and_never_short() -> None:
    lengths = []
    for seed in range(200):
        breaker = breaker_with(spread=0.2, seed=seed)
        for _ in range(4):
            send(breaker, 0, failed=True)
        lengths.append(breaker.retry_after(0))
    assert 30 <= min(lengths) < 31
    assert 35 < max(lengths) <= 36


def test_a_break_is_drawn_once() -> None:
    breaker = breaker_with(spread=0.2)
    for _ in range(4):
        send(breaker, 0, failed=True)
    ends = breaker.retry_after(0)
    assert breaker.retry_after(1) == ends - 1
    assert breaker.admit(2) == Refusal(ends - 2)


def test_a_break_lasts_at_least_as_long_as_the_dependency_asked() -> None:
    breaker = breaker_with()
    for retry_after in (90.0, 0, 0, 0):
        sent = permit(breaker, 5)
        breaker.settle(sent, failed=True, now=5, retry_after=retry_after)
    assert breaker.retry_after(5) == 90


def test_a_dependency_that_asked_for_nothing_gets_no_more_than_the_break() -> None:
    assert opened_at(5, replace(CONFIG, recovery_timeout=0.5)).retry_after(5) == 0.5


def test_what_was_asked_before_a_success_is_forgotten() -> None:
    breaker = breaker_with()
    sent = permit(breaker, 0)
    breaker.settle(sent, failed=True, now=0, retry_after=90)
    for failed in (False, True, True):
        send(breaker, 0, failed=failed)
    assert breaker.retry_after(0) == 30


@pytest.mark.property
@given(
    opened=st.floats(0, 1e6),
    asked_after=st.floats(0, 1e3),
    length=st.floats(0.001, 1e3),
)
@example(opened=0.4, asked_after=0.9, length=3)  # 1.3 + (3.4 - 1.3) is less than 3.4
def test_who_waits_as_told_is_let_through(
    opened: float, asked_after: float, length: float
) -> None:
    config = replace(CONFIG, recovery_timeout=length)
    breaker = opened_at(opened, config)
    now = opened + asked_after
    refusal = breaker.admit(now)
    if isinstance(refusal, Refusal):
        permit(breaker, now + refusal.retry_after)


def test_an_outage_may_last_for_ever() -> None:
    breaker, now = opened_at(0), 0.0
    for _ in range(1_100):
        now += breaker.retry_after(now)
        send(breaker, now, failed=True)
    assert breaker.retry_after(now) == pytest.approx(100)


def test_closing_starts_with_an_empty_window_and_no_row() -> None:
    breaker = breaker_with(replace(CONFIG, recovery_timeout=1))
    for _ in range(3):
        call(breaker, 0, failed=True)
    breaker.abandon(permit(breaker, 1), 1, answered=True)
    call(breaker, 1, failed=True)
    view = breaker.snapshot(1)
    assert (view.state, view.calls, view.failed_in_row) == (BreakerState.CLOSED, 1, 1)


def test_an_open_breaker_is_open_until_a_call_asks() -> None:
    breaker = opened_at(0)
    assert breaker.snapshot(31).state is BreakerState.OPEN
    assert breaker.snapshot(31).retry_after == 0
    permit(breaker, 31)
    assert breaker.snapshot(31).state is BreakerState.HALF_OPEN


@pytest.mark.case("C17")
def test_only_the_time_it_is_told_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in (-3600.0, 3600.0):
        monkeypatch.setattr("time.time", lambda hour=hour: hour)
        breaker = opened_at(100)
        assert isinstance(breaker.admit(129), Refusal)
        permit(breaker, 130)


# Half-open


@pytest.mark.case("C15", "R19")
@pytest.mark.parametrize("places", [1, 3])
def test_of_a_crowd_only_the_probes_get_through(places: int) -> None:
    breaker = opened_at(0, replace(CONFIG, half_open_max_calls=places))
    answers = [breaker.admit(30) for _ in range(50)]
    assert sum(isinstance(answer, Permit) for answer in answers) == places
    assert answers[-1] == Refusal(0)  # a place may become free at any moment


def test_closes_after_enough_probes_have_passed() -> None:
    breaker = opened_at(0, replace(CONFIG, success_threshold=2))
    send(breaker, 30, failed=False)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    send(breaker, 31, failed=False)
    assert state_of(breaker) is BreakerState.CLOSED


def test_any_failed_probe_reopens_it() -> None:
    breaker = opened_at(0, replace(CONFIG, success_threshold=2))
    send(breaker, 30, failed=False)
    send(breaker, 31, failed=True)
    assert state_of(breaker) is BreakerState.OPEN


def test_passed_probes_do_not_outlive_a_relapse() -> None:
    breaker = opened_at(0, replace(CONFIG, success_threshold=2))
    send(breaker, 30, failed=False)
    send(breaker, 31, failed=True)
    send(breaker, 91, failed=False)
    assert state_of(breaker) is BreakerState.HALF_OPEN


@pytest.mark.case("C8", "C11", "R19")
def test_a_cancelled_probe_gives_its_place_back_and_says_nothing() -> None:
    breaker = opened_at(0)
    breaker.abandon(permit(breaker, 30), 31)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    assert permit(breaker, 31).is_probe


def test_a_probe_that_was_answered_has_passed_whatever_the_answer() -> None:
    breaker = opened_at(0)
    breaker.abandon(permit(breaker, 30), 31, answered=True)
    assert state_of(breaker) is BreakerState.CLOSED


def test_an_abandoned_send_counts_nothing() -> None:
    breaker = breaker_with()
    for _ in range(100):
        breaker.abandon(permit(breaker, 0), 1)
        breaker.abandon(permit(breaker, 0), 1, answered=True)
    view = breaker.snapshot(1)
    assert (view.state, view.calls, view.in_flight) == (BreakerState.CLOSED, 0, 0)


@pytest.mark.case("C14")
def test_a_probe_that_never_answers_loses_its_place() -> None:
    breaker = opened_at(0)
    lost = permit(breaker, 30)
    assert isinstance(breaker.admit(39.9), Refusal)
    permit(breaker, 40)
    assert not breaker.settle(lost, failed=False, now=41)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    assert isinstance(breaker.admit(41), Refusal)


@pytest.mark.case("C14")
def test_the_late_failure_of_a_lost_probe_is_ignored_too() -> None:
    breaker = opened_at(0)
    lost = permit(breaker, 30)
    second = permit(breaker, 40)
    breaker.settle(lost, failed=True, now=41)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.settle(second, failed=False, now=42)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_slow_answer_counts_while_nobody_else_wants_its_place() -> None:
    breaker = opened_at(0)
    send(breaker, 30, failed=False, took=60)
    assert state_of(breaker) is BreakerState.CLOSED


@pytest.mark.case("C12")
@pytest.mark.parametrize("failed", [False, True])
def test_a_late_answer_from_before_the_trip_is_not_a_probe(*, failed: bool) -> None:
    breaker = breaker_with()
    slow = permit(breaker, 0)
    for _ in range(4):
        send(breaker, 0, failed=True)
    permit(breaker, 30)
    assert not breaker.settle(slow, failed=failed, now=31)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    # Nor does its end make room for one more.
    assert isinstance(breaker.admit(31), Refusal)


@pytest.mark.case("C12")
def test_a_late_answer_does_not_count_against_the_next_era() -> None:
    breaker = breaker_with()
    late = [permit(breaker, 0) for _ in range(10)]
    for _ in range(4):
        send(breaker, 0, failed=True)
    send(breaker, 30, failed=False)
    for sent in late:
        breaker.settle(sent, failed=True, now=31)
    assert state_of(breaker) is BreakerState.CLOSED
    assert breaker.snapshot(31).calls == 0


@pytest.mark.parametrize("first_end", ["settle", "abandon"])
def test_a_permit_handed_in_twice_counts_once(first_end: str) -> None:
    breaker = breaker_with()
    other, sent = permit(breaker, 0), permit(breaker, 0)
    if first_end == "settle":
        assert breaker.settle(sent, failed=False, now=0)
    else:
        breaker.abandon(sent, 0)
    assert not breaker.settle(sent, failed=True, now=0)
    breaker.abandon(sent, 0)
    view = breaker.snapshot(0)
    assert (view.failures, view.in_flight) == (0, 1)
    breaker.abandon(other, 0)


# The ramp


def in_flight_at(breaker: Breaker, now: float) -> int:
    """Say how many calls get through at once, and give them all back."""
    granted = list[Permit]()
    while len(granted) < 5_000:
        answer = breaker.admit(now)
        if isinstance(answer, Refusal):
            break
        granted.append(answer)
    for sent in granted:
        breaker.abandon(sent, now)
    return len(granted)


def test_after_closing_calls_in_flight_double_with_each_tenth_of_the_ramp() -> None:
    breaker = closed_again_at(100, replace(CONFIG, ramp=20))
    assert in_flight_at(breaker, 101.9) == 1  # and not yet more
    bounds = [in_flight_at(breaker, 100 + 2 * tenth) for tenth in range(11)]
    assert bounds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 5_000]


def test_a_lone_caller_is_never_refused_by_the_ramp() -> None:
    breaker = closed_again_at(100, replace(CONFIG, ramp=20))
    for step in range(200):
        send(breaker, 99.99 + step / 10, failed=False)


@pytest.mark.parametrize("ramp", [None, 0])
def test_without_a_ramp_everybody_is_back_at_once(ramp: float | None) -> None:
    breaker = closed_again_at(100, replace(CONFIG, ramp=ramp))
    assert in_flight_at(breaker, 100) == 5_000


def test_calls_of_an_older_era_take_no_place_on_the_ramp() -> None:
    breaker = breaker_with(replace(CONFIG, ramp=20))
    for _ in range(100):
        permit(breaker, 0)
    for _ in range(4):
        send(breaker, 0, failed=True)
    send(breaker, 30, failed=False)
    assert in_flight_at(breaker, 30) == 1


def test_a_breaker_that_never_opened_has_no_ramp() -> None:
    assert in_flight_at(breaker_with(BreakerConfig()), 0) == 5_000
