"""Our share of a quota that others use too."""

import math
from random import Random

import pytest

from resilient_http._core.pacer import Pacer
from resilient_http._core.share import Share

QUOTA, WINDOW = 100, 1.0


class Told:
    """A share of 100 calls a second, told of them in few words."""

    def __init__(self) -> None:
        self.share = Share()

    def hear(self, left: float, now: float, reset: float = 1.0) -> None:
        self.share.hear(left, now + reset, (QUOTA, WINDOW), now)

    def learn(self, now: float = 2.0) -> None:
        """Have it find that 90 of 100 calls were made, and one of them by us."""
        self.hear(99, now - 2)
        self.hear(10, now)
        assert self.share.is_paced


def test_who_was_told_nothing_waits_for_nothing() -> None:
    share = Share()
    assert not share.is_paced
    assert share.wait(0) == 0
    assert share.take(0) is None


def test_what_others_took_tells_us_of_them() -> None:
    told = Told()
    told.learn()
    assert told.share.rate == pytest.approx(0.91 * QUOTA / 90, rel=0.01)


def test_what_we_took_ourselves_does_not() -> None:
    told = Told()
    told.hear(99, 0)
    for taken in range(100):
        told.share.count(1, 2)
        told.hear(99 - taken, 2)
        assert not told.share.is_paced


def test_nor_what_we_are_told_out_of_order() -> None:
    told = Told()
    told.hear(99, 0)
    told.share.count(100, 2)
    for taken in (99, 50, 95, 0):
        told.hear(QUOTA - 1 - taken, 2.2)
        assert not told.share.is_paced


def test_what_we_took_is_ours_for_a_window() -> None:
    told = Told()
    told.hear(99, 0)
    told.share.count(95, 2)
    told.hear(5, 2.99)
    assert not told.share.is_paced
    told.hear(5, 3.1)
    assert told.share.is_paced


def test_what_was_taken_before_we_looked_may_have_been_ours() -> None:
    told = Told()
    told.hear(80, 0)
    told.hear(5, 0.1)  # whoever was out already comes home in any order
    told.hear(4, 0.99)
    assert not told.share.is_paced


def test_it_may_have_been_ours_until_it_is_a_window_old() -> None:
    share = Share()
    for left, now in ((50, 0.0), (6, 0.5), (5, 30.0)):
        share.hear(left, 60, (QUOTA, 60.0), now)
        assert not share.is_paced
    share.hear(5, 120, (QUOTA, 60.0), 61)
    assert share.is_paced


@pytest.mark.parametrize("left", [19, 49, 99])
def test_nobody_waits_while_there_is_more_than_little_left(left: int) -> None:
    told = Told()
    told.hear(99, 0)
    told.hear(left, 2)
    assert not told.share.is_paced


def test_calls_go_one_by_one_at_the_rate() -> None:
    told = Told()
    told.learn()
    places = [told.share.take(2) for _ in range(4)]
    gap = told.share.wait_of(places[0] or 0, 2)
    waits = [told.share.wait_of(place or 0, 2) for place in places]
    assert waits == pytest.approx([gap, 2 * gap, 3 * gap, 4 * gap])
    waits = [told.share.wait_of(place or 0, 2 + 2 * gap) for place in places]
    assert waits == pytest.approx([0, 0, gap, 2 * gap])


def test_a_line_that_nobody_stands_in_saves_nothing_up() -> None:
    told = Told()
    told.learn()
    told.share.take(2)
    for now in (3, 4, 5, 6):
        told.hear(9, now)
    assert told.share.wait(6) == 0
    told.share.take(6)
    assert told.share.wait(6) == pytest.approx(1 / told.share.rate, rel=0.2)


def test_the_rate_rises_while_more_is_left_than_should_be_and_falls_else() -> None:
    told = Told()
    told.learn()
    rates = [told.share.rate]
    for step in range(1, 5):
        told.hear(30, 2 + step / 2)
        rates.append(told.share.rate)
    assert rates == sorted(set(rates))
    for step in range(5, 9):
        told.hear(0, 2 + step / 2)
    assert told.share.rate < rates[-1]


def test_who_does_not_use_its_rate_is_not_given_more() -> None:
    told = Told()
    told.learn()
    told.share.rate = 5.0
    for now in (2.8, 3.6, 4.4):
        told.hear(30, now)
    assert told.share.rate == 5


def test_nobody_is_drawn_into_a_quota_that_is_used_up() -> None:
    told = Told()
    told.learn()
    told.share.rate = 1.5
    told.hear(0, 2.5)
    assert told.share.rate < 1.5


def test_the_line_moves_faster_at_once_while_more_is_left() -> None:
    gaps = []
    for left in (5, 10, 15):
        told = Told()
        told.learn()
        told.share.rate = 10.0
        told.hear(left, 2)
        gaps.append(told.share.wait(2))
    assert gaps == sorted(set(gaps), reverse=True)


@pytest.mark.parametrize("then", [(2.1, 2.2, 2.4), (2.4, 2.6, 2.9)])
def test_a_low_level_is_remembered_for_a_while(
    then: tuple[float, float, float],
) -> None:
    """Used in bursts, a quota is full most of the time."""
    told = Told()
    told.learn()
    told.share.rate = 2.0
    told.hear(0, then[0])
    told.hear(60, then[1])
    rate = told.share.rate
    told.hear(60, then[2])
    assert told.share.rate < rate


def test_who_stands_far_back_looks_again_halfway() -> None:
    told = Told()
    told.learn()
    gap = told.share.wait(2)
    assert told.share.nap(gap) == gap
    assert told.share.nap(10 * gap) == 5 * gap


def test_who_has_little_gains_on_who_has_much() -> None:
    """Told the same, they come closer."""
    little, much = Told(), Told()
    for told, ours in ((little, 2), (much, 20)):
        told.hear(99, 0)
        for _ in range(ours):
            told.hear(50, 1.9)
        told.hear(10, 2)
    apart = much.share.rate / little.share.rate
    for step in range(1, 400):
        now = 2 + step / 20
        little.hear(9, now)
        much.hear(9, now)
    assert much.share.rate / little.share.rate < apart / 3


def test_refusals_that_come_together_count_once() -> None:
    told = Told()
    told.learn()
    rate = told.share.rate = 10.0
    for _ in range(5):
        told.share.refuse(3, now=2)
    assert told.share.rate == pytest.approx(0.7 * rate)
    told.share.refuse(4, now=3.1)
    assert told.share.rate == pytest.approx(0.7 * 0.7 * rate)


def test_the_line_stands_still_until_a_refusal_is_over() -> None:
    told = Told()
    told.learn()
    told.share.refuse(2.5, now=2)
    place = told.share.take(2) or 0
    before = told.share.wait_of(place, 2)
    assert told.share.wait_of(place, 2.4) == pytest.approx(before - 0.4)
    assert told.share.wait_of(place, 2.5) == pytest.approx(WINDOW)
    assert told.share.wait_of(place, 2.6) == pytest.approx(WINDOW - 0.1)


def test_the_rate_does_not_rise_on_the_silence_after_a_refusal() -> None:
    told = Told()
    told.learn()
    told.share.refuse(3, now=2)
    rate = told.share.rate
    told.hear(95, 3.5)
    assert told.share.rate <= rate
    assert told.share.is_paced


def test_a_quota_that_is_used_up_until_its_reset_stops_the_line() -> None:
    told = Told()
    told.learn()
    told.hear(0, 2.1, reset=20)
    assert told.share.wait(2.1) >= 20


def test_one_that_comes_back_bit_by_bit_does_not() -> None:
    told = Told()
    told.learn()
    told.hear(5, 2.1, reset=20)
    told.hear(8, 2.2, reset=20)
    told.hear(0, 2.3, reset=20)
    assert told.share.wait(2.3) <= WINDOW


def test_plenty_for_a_window_ends_all_pacing() -> None:
    told = Told()
    told.learn()
    place = [told.share.take(2) for _ in range(100)][-1] or 0
    told.hear(60, 3)
    assert told.share.wait_of(place, 3) > 0
    told.hear(60, 4.1)
    assert not told.share.is_paced
    assert told.share.rate == math.inf
    assert told.share.wait_of(place, 4.1) == 0


def test_so_does_being_alone_for_a_window() -> None:
    told = Told()
    told.learn()
    for step in range(41):
        for _ in range(4):
            told.hear(60, 3 + step / 20)
    told.hear(20, 5.1)
    assert not told.share.is_paced


def test_what_was_told_long_ago_holds_nobody_back() -> None:
    told = Told()
    told.learn()
    for _ in range(100):
        told.share.take(2)
    assert told.share.wait(3.9) > 0
    assert told.share.wait(4.1) == 0


def test_whoever_stood_in_line_then_is_not_waited_for_later() -> None:
    told = Told()
    told.learn()
    for _ in range(100):
        told.share.take(2)
    told.share.wait(10)
    told.hear(10, 10.1)
    told.hear(10, 11.2)
    assert told.share.is_paced
    assert told.share.wait(11.2) <= WINDOW


@pytest.mark.parametrize(("quota", "factor"), [(50, 0.5), (200, 2)])
def test_another_limit_changes_the_rate_with_it(quota: int, factor: float) -> None:
    told = Told()
    told.learn()
    told.share.rate = 20
    told.share.hear(0.05 * quota, 3.1, (quota, WINDOW), 2.0)
    assert told.share.rate == pytest.approx(factor * 20, rel=0.2)


def test_another_window_is_another_quota() -> None:
    told = Told()
    told.learn()
    told.share.hear(5, 62, (QUOTA, 60), 2.1)
    assert not told.share.is_paced


def test_a_share_takes_the_place_of_what_is_left() -> None:
    """Of ten that are left for a second one is ours."""
    pacer, rng = Pacer(), Random(1)
    pacer.announce(99, 1, 0, (QUOTA, WINDOW))
    pacer.announce(10, 1, 2, (QUOTA, WINDOW))
    waits = [pacer.reserve(2, rng) for _ in range(3)]
    assert all(wait > 0 for wait in waits)
    assert waits[2] > 2


def test_a_longer_quota_holds_beside_a_share() -> None:
    pacer, rng = Pacer(), Random(1)
    pacer.announce(99, 1, 0, (QUOTA, WINDOW))
    pacer.announce(0, 3_000, 1.9)
    pacer.announce(10, 1, 2, (QUOTA, WINDOW))
    assert pacer.reserve(2, rng) > 2_900


def half(pacer: Pacer) -> None:
    """Have it told that 90 of 100 calls were made, and about half of them by us."""
    pacer.announce(99, 1, 0, (QUOTA, WINDOW))
    for _ in range(50):
        pacer.announce(50, 1, 1.5, (QUOTA, WINDOW))
    pacer.announce(3, 1, 1.9)
    pacer.announce(10, 1, 2, (QUOTA, WINDOW))


def test_what_was_left_before_is_for_all_as_well() -> None:
    pacer, rng = Pacer(), Random(1)
    half(pacer)
    assert max(pacer.reserve(2, rng) for _ in range(10)) < 0.5


def test_who_stands_in_line_is_held_by_a_refusal_too() -> None:
    pacer, rng = Pacer(), Random(1)
    half(pacer)
    pacer.reserve(2, rng)
    place = pacer.place
    assert place is not None
    pacer.hold(5, 2)
    assert pacer.again(place, 2.5, rng) >= 4.5
    assert pacer.again(place, 7.5, rng) == 0


class MostJitter(Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def test_a_place_in_line_is_spread_by_a_tenth_of_its_wait_and_asks_again() -> None:
    pacer = Pacer()
    assert pacer.place is None
    half(pacer)
    pacer.reserve(2, MostJitter())
    pacer.hold(0.5, 2)
    assert pacer.place is not None
    left = pacer.again(pacer.place, 2.25, MostJitter())
    assert left == pytest.approx(1.1 * 0.25, abs=0.05)
    assert pacer.nap(10) == 5
    assert pacer.nap(0.001) == 0.001


@pytest.mark.parametrize("window", [60, 86_400])
def test_a_share_is_learned_of_a_window_of_up_to_a_day(window: float) -> None:
    pacer, rng = Pacer(), Random(1)
    pacer.announce(99, window, 0, (QUOTA, window))
    pacer.announce(10, window, 2, (QUOTA, window))
    pacer.reserve(2, rng)
    assert pacer.place is not None


@pytest.mark.parametrize(("ours", "paced"), [(84, False), (45, True)])
@pytest.mark.parametrize("hold", [0, 1])
def test_what_is_out_together_may_all_be_ours(
    ours: int, hold: float, *, paced: bool
) -> None:
    """Whether it went at once, or after a hold: no answer has come to it yet."""
    pacer, rng, quota = Pacer(), MostJitter(), (QUOTA, 10)
    pacer.announce(99, 10, 0, quota)
    pacer.hold(hold, 2)
    for _ in range(ours):
        pacer.reserve(2, rng)
    pacer.announce(10, 8, 3.5, quota)
    pacer.reserve(3.5, rng)
    assert (pacer.place is not None) == paced
