"""What a client holds back by itself, and when it stops to."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http._core.throttle import Throttler
from resilient_http.policy import Throttle

WINDOW = 10.0


def throttler_of(k: float = 2.0, max_reject: float = 0.75) -> Throttler:
    return Throttler(Throttle(k=k, window=WINDOW, max_reject=max_reject))


def note(throttler: Throttler, accepted: int, refused: int, now: float = 0) -> None:
    for outcome in [True] * accepted + [False] * refused:
        throttler.note(accepted=outcome, now=now)


def held_back(throttler: Throttler, calls: int, now: float = 0) -> int:
    rng = Random(1)
    return sum(not throttler.admit(now, rng) for _ in range(calls))


def test_a_client_that_knows_nothing_holds_nothing_back() -> None:
    assert throttler_of().share_held_back(0) == 0
    assert held_back(throttler_of(), 1_000) == 0


@pytest.mark.parametrize(
    ("accepted", "refused", "share"),
    [
        (100, 0, 0.0),
        (50, 50, 0.0),  # k = 2 lets twice as many calls go as are accepted
        (40, 60, (100 - 2 * 40) / 101),
        (30, 70, (100 - 2 * 30) / 101),
        (0, 1, 1 / 2),
        (0, 3, 0.75),
        (0, 100, 0.75),
    ],
)
def test_the_share_is_that_of_the_book(
    accepted: int, refused: int, share: float
) -> None:
    throttler = throttler_of()
    note(throttler, accepted, refused)
    assert throttler.share_held_back(0) == pytest.approx(share)


def test_k_says_how_many_calls_go_for_each_accepted_one() -> None:
    strict, lenient = throttler_of(k=1.0), throttler_of(k=4.0)
    for throttler in (strict, lenient):
        note(throttler, accepted=30, refused=70)
    assert strict.share_held_back(0) == pytest.approx(70 / 101)
    assert lenient.share_held_back(0) == 0


def test_some_calls_always_go_to_find_out() -> None:
    throttler = throttler_of(max_reject=0.75)
    note(throttler, accepted=0, refused=1_000)
    assert 0.7 < held_back(throttler, 1_000) / 1_000 < 0.8


def test_what_is_held_back_counts_as_a_request() -> None:
    throttler = throttler_of(max_reject=1.0)
    note(throttler, accepted=10, refused=30)
    before = throttler.share_held_back(0)
    assert held_back(throttler, 10) > 0
    assert throttler.share_held_back(0) > before


def test_calls_in_flight_do_not_count() -> None:
    throttler = throttler_of()
    note(throttler, accepted=1, refused=0)
    assert held_back(throttler, 1_000) == 0


@pytest.mark.case("C18")
def test_forgets_by_the_clock_and_not_by_traffic() -> None:
    throttler = throttler_of()
    note(throttler, accepted=0, refused=100)
    assert throttler.share_held_back(WINDOW / 2) == 0.75
    assert throttler.share_held_back(2 * WINDOW) == 0


def test_an_origin_that_has_recovered_gets_its_traffic_back() -> None:
    throttler, rng, now = throttler_of(), Random(1), 0.0
    went = list[bool]()
    for tick in range(3_000):  # 50 calls a second, for 60 s; refused for the first 30
        now = tick / 50
        went.append(throttler.admit(now, rng))
        if went[-1]:
            throttler.note(accepted=now >= 30, now=now)
    assert sum(went[500:1_500]) < 0.35 * 1_000
    assert all(went[-700:])  # 16 s later at most


def test_where_nothing_is_held_back_the_least_draw_goes_too() -> None:
    class Least(Random):
        def random(self) -> float:
            return 0.0

    assert throttler_of().admit(0, Least())


@pytest.mark.property
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 20), st.sampled_from(["good", "bad", "ask"])),
        max_size=60,
    ),
    k=st.floats(1, 5),
    most=st.floats(0.01, 1),
    rng=st.randoms(use_true_random=False),
)
def test_the_share_has_bounds_and_the_past_passes(
    steps: list[tuple[float, str]], k: float, most: float, rng: Random
) -> None:
    throttler, now = throttler_of(k, most), 0.0
    only_good = all(step != "bad" for _, step in steps)
    for gap, step in steps:
        now += gap
        if step == "ask":
            assert throttler.admit(now, rng) or not only_good
        else:
            throttler.note(accepted=step == "good", now=now)
        assert 0 <= throttler.share_held_back(now) <= most
    assert throttler.share_held_back(now + 2 * WINDOW) == 0
