"""Pacing by what a server announced."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http._core.pacer import MOST_RESET, Pacer

INF, NAN = float("inf"), float("nan")


class Told:
    """A pacer, and places in line without their jitter."""

    def __init__(self) -> None:
        self.pacer = Pacer()
        self.hold = self.pacer.hold
        self.announce = self.pacer.announce

    def wait(self, now: float) -> float:
        return self.pacer.reserve(now, NoJitter())


class NoJitter(Random):
    def uniform(self, a: float, b: float) -> float:
        assert a <= b
        return a


class MostJitter(Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def test_a_server_that_said_nothing_holds_nobody_back() -> None:
    told = Told()
    assert [told.wait(now) for now in (0, 0, 1, 1)] == [0, 0, 0, 0]


def test_what_is_left_may_go_at_once() -> None:
    told = Told()
    told.announce(5, 10, now=0)
    assert [told.wait(0) for _ in range(5)] == [0] * 5


def test_who_calls_seldom_is_not_held_back() -> None:
    told = Told()
    told.announce(5, 10, now=0)
    assert [told.wait(now) for now in (0, 2.5, 5, 7.5)] == [0, 0, 0, 0]


@pytest.mark.case("RL-30")
def test_no_more_than_what_is_left_go_before_the_reset() -> None:
    told = Told()
    told.announce(5, 10, now=0)
    went = [told.wait(0) for _ in range(8)]
    assert sum(wait < 10 for wait in went) == 5
    assert went[5:] == [10, 10, 10]


@pytest.mark.case("RL-30")
def test_answers_that_overtake_one_another_add_nothing_to_what_is_left() -> None:
    told = Told()
    told.announce(10, 60, now=0)
    assert [told.wait(now) for now in (0, 6, 12, 18, 24)] == [0] * 5
    for remaining in (6, 9, 8, 7):
        told.announce(remaining, 36, now=24.4)
    assert sum(told.wait(24.4) < 35.6 for _ in range(20)) == 5


@pytest.mark.case("RL-30")
def test_who_waits_already_is_among_those_who_use_what_is_left() -> None:
    told = Told()
    told.announce(1, 10, now=0)
    assert [told.wait(0) for _ in range(4)] == [0, 10, 10, 10]
    told.announce(5, 20, now=1)
    assert [told.wait(1), told.wait(1)] == [0, 0]
    assert told.wait(1) == 20


@pytest.mark.case("RL-30")
def test_who_waited_for_a_hold_to_end_uses_what_is_left_after_it() -> None:
    told = Told()
    told.hold(5, now=0)
    assert [told.wait(0) for _ in range(3)] == [5] * 3
    told.announce(2, 20, now=1)
    assert told.wait(1) == 20


@pytest.mark.case("RL-30")
def test_a_quota_for_a_shorter_time_is_kept_beside_the_longer() -> None:
    """A day's quota, and one for each second."""
    told = Told()
    for less in (0, 0.4, 0.8, 1.2, 1.4):  # five accounts of one reset
        told.announce(3, 80_000 - less, now=0)
    told.announce(0, 1, now=10)
    assert told.wait(10) == 1
    went = [told.wait(11.5) for _ in range(4)]
    assert went[:2] == [0, 0]
    assert sum(wait < 79_988 for wait in went) == 2


def test_a_late_answer_of_the_last_window_does_not_use_up_the_next() -> None:
    told = Told()
    told.announce(0, 1, now=0)
    told.announce(100, 60, now=0.9)
    told.announce(0, 1, now=1)
    assert told.wait(1) == 1
    assert told.wait(2) < 1


def test_a_quota_of_no_time_says_nothing() -> None:
    told = Told()
    told.announce(9, 1, now=0)
    told.announce(0, 0, now=0.5)
    assert told.wait(0.5) == 0


def test_word_of_a_reset_now_ends_a_window_that_is_over_as_first_told() -> None:
    pacer = Pacer()
    pacer.announce(0, 1, now=0)
    pacer.announce(0, 2, now=0)  # the same reset, rounded otherwise
    assert pacer.wait(1) == 1
    pacer.announce(0, 0, now=1)
    assert pacer.wait(1) == 0


@pytest.mark.case("RL-31")
def test_quotas_without_end_are_not_kept_one_by_one() -> None:
    told = Told()
    for reset in range(1_000, 0, -2):
        told.announce(reset, reset, now=0)
    assert len(told.pacer._windows) == 4  # noqa: SLF001 - what is kept is the point
    assert [told.wait(0) for _ in range(3)] == [0, 0, 994]


def test_to_ask_for_the_wait_takes_no_place() -> None:
    told = Told()
    told.announce(1, 10, now=0)
    assert [told.pacer.wait(0) for _ in range(5)] == [0] * 5
    assert told.wait(0) == 0
    assert [told.pacer.wait(now) for now in (0, 4, 10)] == [10, 6, 0]


def test_who_waited_is_forgotten_when_it_has_gone() -> None:
    told = Told()
    told.hold(10, now=0)
    for now in range(100):
        told.wait(now)
    assert told.pacer._waiting == []  # noqa: SLF001 - what is kept is the point


@pytest.mark.case("C33", "RA-9")
@pytest.mark.parametrize("now", [0, 9.9])
def test_a_retry_after_does_not_bring_everybody_back_at_once(now: float) -> None:
    """Nor those who come when the hold is nearly over."""
    pacer, rng = Pacer(), Random(1)
    pacer.hold(10, now=0)
    back = [now + pacer.reserve(now, rng) for _ in range(1_000)]
    assert min(back) >= 10
    assert max(back) <= 11
    assert max(back) - min(back) > 0.99


@pytest.mark.case("RL-29")
def test_a_server_that_takes_back_what_it_left_is_believed() -> None:
    told = Told()
    told.announce(100, 60, now=0)
    told.announce(0, 60, now=1)
    assert told.wait(1) >= 59


@pytest.mark.case("RL-29")
def test_a_reset_is_not_a_promise_of_a_full_quota() -> None:
    told = Told()
    told.announce(0, 10, now=0)
    assert told.wait(1) == 9
    assert told.wait(10) == 0
    told.announce(0, 5, now=10.1)  # so said the answer to that one
    assert told.wait(10.1) == pytest.approx(5)


def test_a_later_window_is_not_held_to_what_the_earlier_one_left() -> None:
    told = Told()
    told.announce(0, 10, now=0)
    told.announce(2, 10, now=9)
    assert [told.wait(9) for _ in range(3)] == [0, 0, 10]


def test_a_window_that_has_passed_does_not_bind_the_next_however_short() -> None:
    told = Told()
    told.announce(0, 10, now=0)
    told.announce(5, 1, now=10.2)
    assert told.wait(10.2) == 0


def test_nor_does_one_that_has_passed_as_it_was_first_told() -> None:
    told = Told()
    told.announce(0, 10, now=0)
    told.announce(0, 10, now=0.9)
    told.announce(5, 1, now=10.2)
    assert told.wait(10.2) == 0


@pytest.mark.case("RL-30")
@pytest.mark.parametrize(("reset", "wait"), [(101.4, 101.4), (101.6, 0)])
def test_a_reset_a_little_later_is_the_same(reset: float, wait: float) -> None:
    told = Told()
    told.announce(0, 100, now=0)
    told.announce(5, reset, now=0)
    assert told.wait(0) == wait


def test_a_later_window_does_not_wait_for_the_turns_of_the_earlier_one() -> None:
    told = Told()
    told.announce(1, 100, now=0)
    told.wait(0)
    told.announce(100, 200, now=1)
    assert told.wait(1) == 0


def test_the_latest_of_the_resets_told_for_one_window_holds() -> None:
    """A server rounds to whole seconds: coming early is the worse mistake."""
    told = Told()
    told.announce(0, 10, now=0)
    told.announce(0, 10, now=0.9)
    assert told.wait(0.9) == 10
    told.announce(0, 9, now=1.5)
    assert told.wait(1.5) == pytest.approx(9.4)


def test_a_quota_that_refills_all_the_time_is_not_used_up() -> None:
    """Each answer says 50 for the next 30 s, as a bucket does at a steady rate."""
    told, now = Told(), 0.0
    for _ in range(500):
        now += 0.6
        assert told.wait(now) < 1
        told.announce(50, 30, now=now)


@pytest.mark.case("R15", "RL-27")
def test_retry_after_goes_before_the_rest_of_the_answer() -> None:
    told = Told()
    told.announce(0, 60, now=0)
    told.hold(10, now=0)
    assert told.wait(4) == 6
    assert told.wait(10) == 0


def test_of_two_that_end_together_the_longer_says_how_widely_to_spread() -> None:
    pacer = Pacer()
    pacer.hold(10, now=0)
    pacer.hold(1, now=9)
    assert pacer.reserve(9, MostJitter()) == 2  # a tenth of ten seconds later


def test_who_has_gone_already_uses_nothing_of_what_is_left() -> None:
    told = Told()
    told.hold(10, now=0)
    told.wait(0)
    told.announce(1, 10, now=11)
    assert told.wait(11) == 0


def test_of_two_retry_afters_the_longer_holds() -> None:
    told = Told()
    told.hold(10, now=0)
    told.hold(1, now=1)
    told.hold(0, now=1)
    assert told.wait(1) == 9


def test_what_is_announced_holds_after_a_retry_after() -> None:
    told = Told()
    told.hold(5, now=0)
    told.announce(0, 20, now=0)
    assert told.wait(0) == 20
    assert told.wait(5) == 15


@pytest.mark.parametrize("kind", [NoJitter, MostJitter, Random])
def test_jitter_only_ever_adds(kind: type[Random]) -> None:
    rng = kind(1)
    held, quota = Pacer(), Pacer()
    held.hold(10, now=0)
    quota.announce(0, 10, now=0)
    for pacer in (held, quota):
        seen = [pacer.reserve(0, rng) for _ in range(100)]
        assert all(10 <= wait <= 11 for wait in seen)
        assert (len(set(seen)) == 1) == (kind is not Random)


@pytest.mark.case("RL-31")
@pytest.mark.parametrize("reset", [1e9, 1e15, INF])
def test_no_reset_is_longer_than_a_day(reset: float) -> None:
    told, held = Told(), Told()
    told.announce(0, reset, now=0)
    held.hold(reset, now=0)
    assert [told.wait(0), held.wait(0)] == [86_400, 86_400]


@pytest.mark.case("RL-31")
@pytest.mark.parametrize("remaining", [1e14, 10**400, INF])
def test_any_plenty_holds_nobody_back(remaining: float) -> None:
    told = Told()
    told.announce(remaining, 60, now=0)
    assert [told.wait(0) for _ in range(100)] == pytest.approx([0] * 100, abs=1e-4)


@pytest.mark.case("R15", "RL-31")
@pytest.mark.parametrize("garbage", [NAN, -1, -INF])
def test_garbage_is_taken_for_nothing(garbage: float) -> None:
    told = Told()
    told.hold(garbage, now=0)
    told.announce(5, garbage, now=0)
    assert told.wait(0) == 0
    told.announce(garbage, 10, now=0)
    assert told.wait(0) == 10


NUMBERS = st.floats() | st.integers()


@pytest.mark.property
@pytest.mark.case("R15")
@given(
    said=st.lists(
        st.tuples(st.floats(0, 1e5), NUMBERS, NUMBERS, st.none() | NUMBERS),
        max_size=20,
    ),
    rng=st.randoms(use_true_random=False),
)
def test_whatever_a_server_says_the_wait_has_bounds(
    said: list[tuple[float, float, float, float | None]], rng: Random
) -> None:
    pacer, now = Pacer(), 0.0
    for gap, remaining, reset, retry_after in said:
        now += gap
        pacer.announce(remaining, reset, now)
        if retry_after is not None:
            pacer.hold(retry_after, now)
        assert 0 <= pacer.reserve(now, rng) <= MOST_RESET * 1.1 + 1e-6
    now += MOST_RESET + 1
    assert pacer.reserve(now, rng) == 0  # whatever was said, it passes
