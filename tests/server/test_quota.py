"""Quotas as values, and the machines that count them, by example."""

import math
from dataclasses import FrozenInstanceError, replace
from random import Random
from typing import Any

import pytest

from server_kit.ratelimit.machines import Algorithm
from server_kit.ratelimit.quota import (
    Charge,
    Decision,
    Quota,
    check_cost,
    microseconds,
    seconds_until,
)
from tests.server.accounts import ALGORITHMS, InSeconds

WINDOW = 60.0


def take(machine: InSeconds, now: float, times: int = 1, cost: int = 1) -> int:
    """Ask `times` times; return how often there was room."""
    taken = 0
    for _ in range(times):
        if machine.wait(cost, now) == 0:
            machine.charge(cost, now)
            taken += 1
    return taken


both = pytest.mark.parametrize("algorithm", ALGORITHMS)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("key", 7, TypeError),
        ("limit", 0, ValueError),
        ("limit", -1, ValueError),
        ("limit", 1.0, TypeError),
        ("limit", True, TypeError),
        ("window", 0, ValueError),
        ("window", -1.0, ValueError),
        ("window", math.inf, ValueError),
        ("window", math.nan, ValueError),
        ("window", "60", TypeError),
        ("window", True, TypeError),
        ("cost", 0.5, TypeError),
        ("cost", False, TypeError),
        ("limit", [], TypeError),  # which cannot even be looked up
        ("window", [], TypeError),
        ("cost", [], TypeError),
        pytest.param("cost", -1, ValueError, marks=pytest.mark.case("S15")),
        pytest.param("cost", 11, ValueError, marks=pytest.mark.case("S14")),
    ],
)
def test_a_bad_field_is_named_and_shown(
    field: str, value: object, error: type[Exception]
) -> None:
    kwargs: dict[str, Any] = {"key": "k", "limit": 10, "window": WINDOW, field: value}
    with pytest.raises(error, match=rf"^{field} must") as refused:
        Quota(**kwargs)
    assert repr(value) in str(refused.value)


def test_a_window_may_be_a_thousandth_of_a_second() -> None:
    assert Quota("k", 10, 0.001).window == 0.001


@pytest.mark.parametrize(
    ("limit", "said"),
    [(None, "cost must be at least 0"), (10, "cost must be from 0 to the limit of 10")],
)
def test_a_bad_cost_is_told_what_it_may_be(limit: int | None, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}, got -1$"):
        check_cost(-1, limit)


def test_a_cost_may_be_nothing_or_all() -> None:
    quota = Quota("k", 10, WINDOW)
    assert (quota.cost, replace(quota, cost=0).cost, replace(quota, cost=10).cost) == (
        1,
        0,
        10,
    )


def test_only_a_decision_that_refuses_makes_a_refusal() -> None:
    quota = Quota("k", 10, WINDOW)
    allowed = Decision(
        allowed=True,
        limit=10,
        remaining=9,
        reset_after=1.0,
        retry_after=0.0,
        window=WINDOW,
    )
    assert not Charge("p", quota, allowed).is_refusal
    assert Charge("p", quota, allowed._replace(allowed=False)).is_refusal
    assert not Charge("p", quota, None).is_refusal  # it was not even asked about
    assert Charge("p", quota, None).partition is None
    assert allowed.outage is None


@pytest.mark.parametrize("began", [0.0, 1e6, 1.7e9])
def test_who_adds_a_wait_to_its_clock_is_there_and_hardly_later(began: float) -> None:
    rng = Random(1)
    for _ in range(1_000):
        seconds, ticks = began + rng.uniform(0, 1e3), rng.randrange(60_000_000)
        now = microseconds(seconds)
        left = seconds_until(ticks, seconds, now)
        assert microseconds(seconds + left) >= now + ticks
        assert 0 <= left - ticks / 1e6 < 3e-6


def test_quotas_and_decisions_do_not_change() -> None:
    quota = Quota("k", 10, WINDOW)
    decision = Decision(
        allowed=True,
        limit=10,
        remaining=9,
        reset_after=1.0,
        retry_after=0.0,
        window=WINDOW,
    )
    with pytest.raises(FrozenInstanceError):
        quota.limit = 11  # type: ignore[misc] # that is the claim
    with pytest.raises(AttributeError):
        decision.allowed = False  # type: ignore[misc] # that is the claim


@both
def test_the_101st_call_of_a_minute_waits_no_longer_than_the_window(
    algorithm: Algorithm,
) -> None:
    machine = InSeconds(algorithm, 100, WINDOW)
    assert take(machine, now=5, times=110) == 100
    assert 0 < machine.wait(1, now=5) <= WINDOW


def test_nothing_comes_back_before_the_window_is_over() -> None:
    machine = InSeconds("sliding_window", 100, WINDOW)
    take(machine, now=0, times=60)
    take(machine, now=6, times=40)
    assert take(machine, now=59.9, times=10) == 0
    assert machine.wait(1, now=59.9) == pytest.approx(0.1)
    assert take(machine, now=60, times=100) == 60
    assert take(machine, now=66, times=100) == 40


def test_what_is_used_comes_back_in_tenths() -> None:
    machine = InSeconds("sliding_window", 100, WINDOW)
    for second in range(50):
        take(machine, now=second, times=2)
    # Ten slices of ten; the one forgotten last is five seconds wide.
    assert [machine.used(now) for now in (59, 60, 64, 65, 70)] == [100, 90, 90, 80, 70]


def test_a_window_that_begins_late_in_a_slice_does_not_hold_twice_the_limit() -> None:
    machine = InSeconds("sliding_window", 100, WINDOW)
    take(machine, now=0)
    assert take(machine, now=5.9, times=200) == 99
    # On a fixed grid, or with two weighted counters, most of it would be back here.
    assert take(machine, now=60, times=200) <= 10
    assert take(machine, now=65.8, times=200) <= 10


def test_what_is_used_slowly_comes_back_as_slowly() -> None:
    machine = InSeconds("sliding_window", 100, WINDOW)
    for now in (0, 7, 14):
        take(machine, now)
    assert [machine.used(now) for now in (59, 60, 66, 67, 73, 74)] == [3, 2, 2, 1, 1, 0]


@pytest.mark.parametrize(
    ("limit", "window", "now"), [(10, 60.0, -1e6), (10, 60.0, 0.0), (1_000, 0.001, 2e9)]
)
@both
def test_a_new_machine_has_all_its_room_at_any_time(
    algorithm: Algorithm, limit: int, window: float, now: float
) -> None:
    machine = InSeconds(algorithm, limit, window)
    assert (machine.used(now), machine.reset(now)) == (0, 0)
    assert machine.wait(limit, now) == 0


@pytest.mark.case("S17")
@both
def test_refused_calls_do_not_put_off_the_next_allowed_one(
    algorithm: Algorithm,
) -> None:
    machine = InSeconds(algorithm, 10, WINDOW)
    take(machine, now=0, times=10)
    free = machine.wait(1, now=0)
    for tick in range(1, 10):
        now = free * tick / 10
        assert take(machine, now, times=100) == 0
        assert machine.wait(1, now) == pytest.approx(free - now)
    assert take(machine, now=free) == 1


@pytest.mark.case("S15")
@both
def test_a_cost_of_nothing_takes_nothing(algorithm: Algorithm) -> None:
    machine = InSeconds(algorithm, 10, WINDOW)
    assert take(machine, now=0, times=100, cost=0) == 100
    assert (machine.used(now=0), machine.reset(now=0)) == (0, 0)
    take(machine, now=0, times=10)
    assert machine.wait(0, now=0) == 0


def test_a_large_cost_waits_for_all_it_needs() -> None:
    machine = InSeconds("sliding_window", 10, WINDOW)
    for second in range(10):
        take(machine, now=second)
    assert [machine.wait(cost, now=10) for cost in (1, 4, 10)] == [50, 53, 59]


def test_the_reset_is_when_the_last_use_is_a_window_old() -> None:
    machine = InSeconds("sliding_window", 10, WINDOW)
    assert machine.reset(now=0) == 0
    take(machine, now=0)
    take(machine, now=20)
    assert [machine.reset(now) for now in (20, 50, 80)] == [60, 30, 0]


def test_a_bucket_gives_back_evenly() -> None:
    bucket = InSeconds("token_bucket", 10, WINDOW)
    assert take(bucket, now=0, times=20) == 10
    assert bucket.wait(1, now=0) == 6
    assert [take(bucket, now, times=20) for now in (5.9, 6, 17.9, 18)] == [0, 1, 1, 1]
    assert bucket.reset(now=18) == 60


def test_a_bucket_counts_what_is_not_back_yet_as_used() -> None:
    bucket = InSeconds("token_bucket", 10, WINDOW)
    take(bucket, now=0)
    assert [bucket.used(now) for now in (0, 5.9, 6)] == [1, 1, 0]


@both
def test_a_clock_set_back_locks_nobody_out_for_longer_than_a_window(
    algorithm: Algorithm,
) -> None:
    machine = InSeconds(algorithm, 10, WINDOW)
    take(machine, now=1_000_000, times=10)
    assert take(machine, now=0, times=10) == 0
    assert machine.wait(10, now=0) <= WINDOW
    assert take(machine, now=WINDOW, times=10) == 10


def test_a_clock_set_back_a_little_takes_no_more_of_a_bucket_than_there_is() -> None:
    bucket = InSeconds("token_bucket", 10, WINDOW)
    take(bucket, now=0, times=10)
    assert take(bucket, now=30, times=10) == 5
    assert (bucket.used(now=12), bucket.reset(now=12)) == (10, WINDOW)
    assert bucket.wait(10, now=12) == WINDOW


@both
def test_what_is_back_by_itself_is_not_given_back_again(algorithm: Algorithm) -> None:
    machine = InSeconds(algorithm, 10, WINDOW)
    take(machine, now=0, times=10)
    machine.refund(3, now=90)
    assert (machine.used(now=90), machine.reset(now=90)) == (0, 0)
