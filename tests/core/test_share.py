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

    def learn_to_go_at(self, rate: float, reset: float = 60) -> None:
        """Have it go so fast at 2 s, when as much is left as should be."""
        self.learn()
        self.share.rate = rate
        self.hear(9, 2, reset)

    @property
    def gap(self) -> float:
        """Seconds between two places in line."""
        now = self.share._at  # noqa: SLF001 - so that no time passes
        place = self.share.take(now)
        assert place is not None
        return self.share.wait(now) - self.share.wait_of(place, now)


def test_who_was_told_nothing_waits_for_nothing() -> None:
    share = Share()
    assert not share.is_paced
    assert share.rate == math.inf
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


def test_a_refusal_of_a_quota_that_nobody_told_of_paces_nobody() -> None:
    share = Share()
    share.refuse(5, now=2)
    assert not share.is_paced
    assert share.wait(2) == 0  # it is others who hold for it


def test_who_was_in_line_has_gone_at_the_rate_of_then() -> None:
    told = Told()
    told.learn_to_go_at(10)
    places = [told.share.take(2) or 0 for _ in range(3)]
    waits = [told.share.wait_of(it, 2) for it in places]
    assert waits == pytest.approx([0.1, 0.2, 0.3])
    told.hear(1, 2.2)
    waits = [told.share.wait_of(it, 2.2) for it in places]
    assert waits == pytest.approx([0, 0, told.gap])
    assert told.gap > 0.1


def test_a_refusal_takes_back_none_of_those_that_have_gone() -> None:
    told = Told()
    told.learn_to_go_at(10)
    last = [told.share.take(2) or 0 for _ in range(3)][-1]
    told.share.refuse(2.5, now=2.2)
    assert told.share.wait_of(last, 2.5) == pytest.approx(told.gap)


def test_a_place_is_behind_whoever_would_have_gone_by_now() -> None:
    told = Told()
    told.learn_to_go_at(10)
    told.share.take(2)
    told.share.take(2.55)
    assert told.share.wait(2.55) == pytest.approx(0.1)


def test_nobody_takes_a_place_once_all_is_long_ago() -> None:
    told = Told()
    told.learn()
    for _ in range(100):
        told.share.take(2)
    assert told.share.wait(4) > 0  # a window after the reset
    assert told.share.take(4.01) is None


def test_an_answer_is_looked_out_for_as_far_as_two_places() -> None:
    told = Told()
    told.learn_to_go_at(8)
    assert told.share.nap(0.25) == 0.25
    assert told.share.nap(0.26) == 0.13
    assert told.share.nap(0.31) == 0.155


@pytest.mark.parametrize(("taken", "paced"), [(81, True), (82, False)])
@pytest.mark.parametrize("at", [2, 12])
def test_a_tenth_is_seen_and_less_is_not(at: int, taken: int, *, paced: bool) -> None:
    share, quota = Share(), (QUOTA, 10)
    share.hear(100, 10, quota, 0)
    share.count(taken, at)
    share.hear(10, at + 10, quota, at)
    assert share.is_paced == paced


@pytest.mark.parametrize(("left", "paced"), [(18, True), (18.1, False)])
def test_little_is_twice_of_what_should_be_left(left: float, *, paced: bool) -> None:
    told = Told()
    told.hear(99, 0)
    told.hear(left, 2)
    assert told.share.is_paced == paced


def test_it_learns_for_no_longer_than_a_window() -> None:
    share, quota = Share(), (QUOTA, 0.5)
    share.hear(99, 0.5, quota, 0)
    share.hear(5, 1, quota, 0.5)
    assert share.is_paced


def test_nor_for_longer_than_a_second() -> None:
    share, quota = Share(), (QUOTA, 60)
    share.hear(99, 60, quota, 0)
    share.hear(50, 60, quota, 0.99)
    share.hear(5, 60, quota, 1)
    assert share.is_paced  # though what was taken in that second may be ours


@pytest.mark.parametrize(("now", "paced"), [(59.9, False), (60, True)])
def test_what_may_have_been_ours_is_not_once_it_is_a_window_old(
    now: float, *, paced: bool
) -> None:
    share, quota = Share(), (QUOTA, 60)
    share.hear(5, 60, quota, 0)
    share.hear(4, 120, quota, now)
    assert share.is_paced == paced


def test_what_may_have_been_ours_grows_with_the_limit() -> None:
    share = Share()
    share.hear(10, 60, (QUOTA, 60), 0)
    share.hear(20, 60, (2 * QUOTA, 60), 2)
    assert not share.is_paced


def test_a_call_is_ours_until_it_is_a_window_old() -> None:
    told = Told()
    told.hear(99, 0)
    told.share.count(95, 2.02)
    told.hear(5, 3.01)
    assert not told.share.is_paced


@pytest.mark.parametrize("counts", [(90, 5), (5, 90)])
def test_calls_that_went_one_after_the_other_are_all_forgotten(
    counts: tuple[int, int],
) -> None:
    told = Told()
    told.hear(99, 0)
    for count in counts:
        told.share.count(count, 2)
    told.hear(5, 2.5)
    assert not told.share.is_paced
    told.hear(5, 3.1)
    assert told.share.is_paced


def test_calls_and_answers_are_remembered_in_few_numbers() -> None:
    told = Told()
    told.hear(99, 0)
    share = told.share
    gone, answered = share._gone, share._answered  # noqa: SLF001 - is the point
    for n in range(1_000):
        told.share.count(1, 2 + n / 100)
    assert len(gone._slices) <= 34  # noqa: SLF001 - likewise
    for n in range(1_000):
        told.hear(99, 12 + n / 1_000)
    assert len(answered._slices) <= 34  # noqa: SLF001 - likewise


def test_what_is_left_after_a_reset_has_not_come_back_bit_by_bit() -> None:
    told = Told()
    told.learn()
    told.hear(5, 2.1, reset=1)
    told.hear(80, 3.2, reset=20)
    told.hear(0, 3.3, reset=20)
    assert told.share.wait(3.3) >= 20


def test_it_has_if_more_is_left_some_time_before_the_reset() -> None:
    told = Told()
    told.learn()
    told.hear(5, 2.1, reset=2.2)
    told.hear(8, 2.2, reset=20)
    told.hear(0, 2.3, reset=20)
    assert told.share.wait(2.3) <= WINDOW


def test_it_has_not_if_there_are_never_more() -> None:
    told = Told()
    told.learn()
    for left in (5, 5, 4, 0):
        told.hear(left, 2.1, reset=20)
    assert told.share.wait(2.1) >= 20


def test_one_that_is_left_is_not_none() -> None:
    told = Told()
    told.learn()
    told.hear(1, 2.1, reset=20)
    assert told.share.wait(2.1) <= WINDOW


@pytest.mark.parametrize(("reset", "stops"), [(1, False), (2, True)])
def test_a_reset_that_is_next_does_not_stop_the_line(
    reset: float, *, stops: bool
) -> None:
    told = Told()
    told.learn()
    told.hear(0, 2, reset)
    assert (told.share.wait(2) > reset) == stops


def test_with_as_much_left_as_should_be_the_usual_share_stays() -> None:
    told = Told()
    told.learn_to_go_at(5)
    for step in range(1, 9):
        told.hear(9, 2 + step / 4)
    assert told.share.rate == pytest.approx(5)
    assert told.gap == pytest.approx(0.2)


def moved(rate: float, left: float, *, seconds: float = 1.0) -> float:
    """Return how far a rate moves, in powers of e, if so much is left."""
    told = Told()
    told.learn_to_go_at(rate)
    told.hear(left, 2, reset=60)
    told.hear(left, 2 + seconds, reset=60)
    return math.log(told.share.rate / rate)


def test_the_farther_it_is_from_the_usual_share_the_faster_it_is_drawn() -> None:
    up = [moved(rate, left=9) for rate in (4, 2, 1.25)]
    assert up == sorted(up)
    assert up[0] > 0
    assert up[-1] < 0.3  # by a quarter in a window, and not by more
    down = [moved(rate, left=9) for rate in (6, 20, 80)]
    assert down == sorted(down, reverse=True)
    assert down[0] < 0
    assert down[-1] > -0.5


def test_the_less_is_left_the_faster_a_rate_falls() -> None:
    falls = [moved(5, left) for left in (9, 6, 3, 1)]
    assert falls == sorted(falls, reverse=True)
    assert falls[0] == pytest.approx(0)
    assert -0.3 < falls[-1] < 0


def test_a_rate_moves_with_the_time_but_for_no_more_than_a_window() -> None:
    whole = moved(20, left=9)
    assert moved(20, left=9, seconds=0.5) == pytest.approx(whole / 2)
    assert moved(20, left=9, seconds=3) == pytest.approx(whole)


def test_half_of_a_rate_has_to_be_used_for_more_of_it() -> None:
    told = Told()
    told.learn_to_go_at(10)
    for n in range(4):
        told.hear(30, 4 + n / 10, reset=60)
        assert told.share.rate == 10
    told.hear(30, 4.4, reset=60)
    assert told.share.rate > 10


def test_who_has_much_goes_up_as_well_where_much_is_left() -> None:
    told = Told()
    told.learn_to_go_at(20)
    for n in range(30):
        told.hear(30, 4 + n / 50, reset=60)
    assert told.share.rate > 20


def test_after_a_refusal_and_a_window_the_rate_rises_again() -> None:
    told = Told()
    told.learn_to_go_at(10)
    told.share.refuse(3, now=2)
    for now in (3.5, 3.75, 4):
        for _ in range(8):
            told.hear(30, now, reset=60)
        assert told.share.rate == pytest.approx(7)
    told.hear(30, 4.25, reset=60)
    assert told.share.rate > 7


def test_a_window_after_a_refusal_the_next_one_counts() -> None:
    told = Told()
    told.learn_to_go_at(10)
    for now in (2, 2.5, 2.99):
        told.share.refuse(now, now)
        assert told.share.rate == pytest.approx(7)
    told.share.refuse(3, now=3)
    assert told.share.rate == pytest.approx(4.9)


def test_what_is_off_right_now_moves_the_line_a_little_at_once() -> None:
    gaps = []
    for left in (1, 9, 18, 45):
        told = Told()
        told.learn_to_go_at(10)
        told.hear(left, 2)
        assert told.share.rate == 10
        gaps.append(told.gap)
    least, usual, most, more = gaps
    assert 0.1 < least < 0.125
    assert usual == pytest.approx(0.1)
    assert 0.08 < most < 0.1
    assert more == pytest.approx(most)


def test_a_rate_is_at_most_the_limit_and_at_least_one_a_window() -> None:
    told = Told()
    told.learn_to_go_at(1_000)
    assert told.share.rate == QUOTA
    told = Told()
    told.learn_to_go_at(0.1)
    assert told.share.rate == 1
    told.hear(1, 2)
    assert told.gap == pytest.approx(WINDOW)  # and nobody waits for longer


def test_half_of_it_is_plenty() -> None:
    told = Told()
    told.learn()
    told.hear(50, 3)
    for now in (3.5, 4):
        told.hear(50, now)
        assert told.share.is_paced
    told.hear(50, 4.01)
    assert not told.share.is_paced


def test_plenty_that_was_not_for_a_window_begins_anew() -> None:
    told = Told()
    told.learn()
    for left, now in ((60, 3), (10, 3.75), (60, 4.25), (60, 5.25)):
        told.hear(left, now)
        assert told.share.is_paced
    told.hear(60, 5.5)
    assert not told.share.is_paced


@pytest.mark.parametrize(
    ("heard", "rises"),
    [
        ([(1, 2.25), (40, 2.5), (40, 2.75)], False),
        ([(1, 2.25), (40, 2.5), (40, 2.75), (40, 3)], True),
        ([(1, 2.25), (40, 2.875)], False),
        ([(1, 2.25), (40, 3)], True),
    ],
)
def test_a_low_level_is_forgotten_after_half_a_window_to_a_whole_one(
    heard: list[tuple[float, float]], *, rises: bool
) -> None:
    told = Told()
    told.learn_to_go_at(2)
    for left, now in heard[:-1]:
        told.hear(left, now, reset=60)
    before = told.share.rate
    told.hear(*heard[-1], reset=60)
    assert (told.share.rate > before) == rises


@pytest.mark.parametrize("window", [8.0, 64.0])
def test_a_longer_window_is_the_same_more_slowly(window: float) -> None:
    def course(window: float) -> list[float]:
        share, seen = Share(), list[float]()

        def hear(left: float, at: float) -> None:
            until = (at + 4) * window
            share.hear(left, until, (QUOTA, window), at * window)
            seen.extend((share.rate * window, share.wait(at * window) / window))

        for left, at in ((99, 0), (10, 2), (5, 2.5), (30, 2.75)):
            hear(left, at)
        for start, rate in ((3, 6), (5, 12), (7, 1_000), (9, 0.1)):
            share.rate = rate / window
            for step in range(8):
                hear(30, start + step / 8)
            for step in range(8, 16):
                hear(2, start + step / 8)
        share.refuse(11.5 * window, 11 * window)
        for step in range(20):
            share.take((11 + step / 8) * window)
            hear(30, 11 + step / 8)
        return seen

    assert course(window) == pytest.approx(course(1.0))
