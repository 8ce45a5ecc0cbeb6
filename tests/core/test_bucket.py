"""When calls may go, by our own rate and by what the server announces."""

from random import Random

import pytest

from resilient_http._core.bucket import Bucket
from resilient_http.policy import RateLimit

NAN, INF = float("nan"), float("inf")


def bucket_of(limit: int, window: float, burst: int | None = None) -> Bucket:
    return Bucket(RateLimit(limit, window, burst=burst))


def waits(bucket: Bucket, count: int, now: float = 0.0) -> list[float]:
    return [bucket.reserve(now).at - now for _ in range(count)]


def test_lets_a_burst_go_and_then_one_at_a_time() -> None:
    assert waits(bucket_of(10, 5.0, burst=3), 6) == [0, 0, 0, 0.5, 1.0, 1.5]


def test_a_burst_is_the_limit_where_none_was_chosen() -> None:
    assert waits(bucket_of(2, 1.0), 4) == [0, 0, 0.5, 1.0]


def test_a_burst_of_one_is_evenly_spaced() -> None:
    assert waits(bucket_of(4, 1.0, burst=1), 4) == [0, 0.25, 0.5, 0.75]


def test_a_pause_earns_the_burst_again_and_not_more() -> None:
    bucket = bucket_of(2, 1.0)
    waits(bucket, 10)
    assert waits(bucket, 4, now=1_000.0) == [0, 0, 0.5, 1.0]


def test_half_a_pause_earns_half_the_burst() -> None:
    bucket = bucket_of(4, 1.0)
    waits(bucket, 4)
    assert waits(bucket, 3, now=0.5) == [0, 0, 0.25]


@pytest.mark.case("C43")
def test_a_thousand_waiters_never_exceed_burst_and_rate() -> None:
    burst, rate = 10, 50.0
    bucket, rng = bucket_of(50, 1.0, burst=burst), Random(1)
    asked = sorted(rng.choice([0.0, 0.0, rng.uniform(0, 30)]) for _ in range(1_000))
    went = sorted(bucket.reserve(now).at for now in asked)
    for first, start in enumerate(went):
        for count, end in enumerate(went[first:], start=1):
            assert count <= burst + rate * (end - start) + 1e-6


@pytest.mark.case("C43")
def test_a_crowd_waits_no_longer_than_its_rate_asks() -> None:
    went = waits(bucket_of(50, 1.0, burst=10), 1_000)
    assert went[-1] == pytest.approx((1_000 - 10) / 50)


def test_nobody_waits_for_a_rounding_error() -> None:
    rng = Random(1)
    for start in [rng.uniform(0, 1e6) for _ in range(100)]:
        bucket = bucket_of(10, 1.0, burst=3)
        assert waits(bucket, 3, now=start) == [0, 0, 0]
        told = bucket.wait(start)
        assert told == pytest.approx(0.1)
        assert bucket.wait(start + told) == 0


@pytest.mark.case("C43")
def test_each_of_a_crowd_has_a_time_of_its_own_to_wake() -> None:
    places = waits(bucket_of(10, 1.0, burst=1), 100)
    assert len(set(places)) == 100


def test_to_ask_how_long_takes_nothing() -> None:
    bucket = bucket_of(1, 10.0)
    assert [bucket.wait(0), bucket.wait(0)] == [0, 0]
    bucket.reserve(0)
    assert [bucket.wait(4), bucket.wait(4)] == [6, 6]
    assert bucket.wait(11) == 0


def test_the_last_place_given_back_is_given_again() -> None:
    bucket = bucket_of(1, 10.0)
    bucket.reserve(0)
    place = bucket.reserve(0)
    assert bucket.cancel(place, 1)
    assert bucket.wait(1) == 9


def test_a_place_given_back_twice_is_given_again_once() -> None:
    bucket = bucket_of(1, 10.0)
    bucket.reserve(0)
    place = bucket.reserve(0)
    bucket.cancel(place, 1)
    assert bucket.reserve(1).at == 10
    assert not bucket.cancel(place, 1)
    assert bucket.wait(1) == 19


def test_a_place_in_the_middle_is_given_to_the_next_who_asks() -> None:
    bucket = bucket_of(1, 10.0)
    _, middle, _ = (bucket.reserve(0) for _ in range(3))
    assert bucket.cancel(middle, 1)
    assert [bucket.wait(1), bucket.reserve(1).at] == [9, 10]
    assert bucket.reserve(1).at == 30


def test_a_place_in_the_middle_is_lost_once_its_time_has_passed() -> None:
    bucket = bucket_of(1, 10.0)
    _, middle, _ = (bucket.reserve(0) for _ in range(3))
    assert not bucket.cancel(middle, 11)
    assert bucket.reserve(11).at == 30


def test_a_place_in_the_middle_can_be_had_until_its_time() -> None:
    bucket = bucket_of(1, 10.0)
    _, middle, _ = (bucket.reserve(0) for _ in range(3))
    assert bucket.cancel(middle, 10)
    assert bucket.reserve(10).at == 10


def test_a_place_that_was_given_again_can_be_given_back() -> None:
    bucket = bucket_of(1, 10.0)
    first, second = bucket.reserve(0), bucket.reserve(0)
    bucket.cancel(first, 0)
    again = bucket.reserve(0)
    assert bucket.cancel(second, 0)
    assert bucket.cancel(again, 0)
    assert bucket.wait(1) == 0


def test_a_place_that_was_given_back_in_time_is_lost_when_nobody_asks() -> None:
    bucket = bucket_of(1, 10.0)
    _, middle, _ = (bucket.reserve(0) for _ in range(3))
    bucket.cancel(middle, 1)
    assert bucket.reserve(11).at == 30


@pytest.mark.parametrize("order", [1, -1])
def test_a_crowd_that_gives_up_leaves_no_line_behind(order: int) -> None:
    bucket = bucket_of(1, 10.0)
    bucket.reserve(0)
    crowd = [bucket.reserve(0) for _ in range(1_000)]
    for place in crowd[::order]:
        bucket.cancel(place, 1)
    assert bucket.wait(1) == 9
    assert bucket.wait(10) == 0
