"""How many calls may be in flight, and what moves that."""

import math
from typing import Literal

import pytest

from resilient_http._core.concurrency import (
    Limiter,
    LimiterSnapshot,
    Slot,
)
from resilient_http._core.verdict import Load
from resilient_http.policy import ConcurrencyLimit

Kind = Literal["gradient2", "aimd"]
KINDS: tuple[Kind, ...] = ("gradient2", "aimd")


def limiter_of(
    limit: int = 20, adaptive: Kind | None = None, queue: int = 0
) -> Limiter:
    return Limiter(ConcurrencyLimit(limit=limit, adaptive=adaptive, queue=queue))


def slot(limiter: Limiter, now: float = 0.0) -> Slot:
    taken = limiter.acquire(now)
    assert taken is not None
    return taken


def fill(limiter: Limiter, now: float, most: int = 10_000) -> list[Slot]:
    taken = list[Slot]()
    while len(taken) < most and (slot := limiter.acquire(now)) is not None:
        taken.append(slot)
    return taken


def round_trips(
    limiter: Limiter, count: int, now: float, rtt: float, crowd: int = 10_000
) -> float:
    """Keep `crowd` calls in flight, or as many as may be, each for `rtt` seconds."""
    for _ in range(count):
        slots = fill(limiter, now, crowd)
        now += rtt
        for each in slots:
            limiter.release(each, now, Load.FINE)
    return now


def test_refuses_the_call_past_the_limit() -> None:
    limiter = limiter_of(2)
    assert len(fill(limiter, 0)) == 2
    assert limiter.acquire(0) is None


def test_a_place_is_free_again_when_its_call_has_ended() -> None:
    limiter = limiter_of(1)
    for ended in Load:
        taken = slot(limiter)
        assert limiter.acquire(0) is None
        assert limiter.release(taken, 1, ended)


def test_a_slot_handed_in_twice_frees_one_place() -> None:
    limiter = limiter_of(2)
    first, _ = fill(limiter, 0)
    assert limiter.release(first, 1, Load.FINE)
    assert not limiter.release(first, 1, Load.FINE)
    assert len(fill(limiter, 1)) == 1


@pytest.mark.parametrize("ended", Load)
def test_a_fixed_limit_stays(ended: Load) -> None:
    limiter = limiter_of(20)
    for now in range(100):
        for each in fill(limiter, now):
            limiter.release(each, now + 0.5, ended)
    assert limiter.limit == 20


@pytest.mark.case("C49")
@pytest.mark.parametrize("kind", KINDS)
def test_a_burst_of_refusals_lowers_the_limit_once(kind: Kind) -> None:
    limiter = limiter_of(50, kind)
    for each in fill(limiter, 0):
        limiter.release(each, 0.1, Load.HIGH)
    assert limiter.limit == 25


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_of_the_next_round_trip_lower_it_again(kind: Kind) -> None:
    limiter = limiter_of(50, kind)
    for now in range(3):
        for each in fill(limiter, now):
            limiter.release(each, now + 0.1, Load.HIGH)
    assert limiter.limit == 50 // 8


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_never_less_than_one(kind: Kind) -> None:
    limiter = limiter_of(50, kind)
    for now in range(100):
        limiter.release(slot(limiter, now), now + 0.1, Load.HIGH)
    assert limiter.limit == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_left_before_a_cut_does_not_raise_the_limit_again(kind: Kind) -> None:
    limiter = limiter_of(50, kind)
    first, *others = fill(limiter, 0)
    limiter.release(first, 0.1, Load.HIGH)
    for tick, each in enumerate(others):
        limiter.release(each, 1 + tick, Load.FINE)
    assert limiter.limit == 25


@pytest.mark.parametrize("kind", KINDS)
def test_calls_that_say_nothing_move_nothing(kind: Kind) -> None:
    limiter = limiter_of(20, kind)
    for now in range(100):
        for each in fill(limiter, now):
            limiter.release(each, now + 1, Load.UNKNOWN)
    assert limiter.limit == 20


@pytest.mark.case("C50")
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_a_second_for_ten_minutes_leaves_the_limit_as_it_is(kind: Kind) -> None:
    limiter = limiter_of(20, kind)
    round_trips(limiter, 600, now=0.0, rtt=1.0, crowd=1)
    assert limiter.limit == 20


@pytest.mark.case("C50")
@pytest.mark.parametrize("kind", KINDS)
def test_less_than_half_of_the_limit_in_use_does_not_raise_it(kind: Kind) -> None:
    limiter = limiter_of(20, kind)
    now = round_trips(limiter, 600, now=0.0, rtt=1.0, crowd=9)
    assert limiter.limit == 20
    round_trips(limiter, 60, now=now, rtt=1.0, crowd=10)
    assert limiter.limit == 20  # and half of it raises it to where that is less
    assert limiter._limit.value > 20  # noqa: SLF001 - part of one more


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_origin_gets_ten_times_the_limit_at_most(kind: Kind) -> None:
    limiter = limiter_of(5, kind)
    round_trips(limiter, 100, now=0.0, rtt=1.0)
    assert limiter.limit == 50


def test_aimd_raises_the_limit_by_one_for_each_round_trip() -> None:
    limiter = limiter_of(20, "aimd")
    round_trips(limiter, 10, now=0.0, rtt=0.1)
    assert 29 <= limiter.limit <= 30


def test_gradient2_lowers_the_limit_as_answers_slow_down() -> None:
    limiter = limiter_of(20, "gradient2")
    now = round_trips(limiter, 200, now=0.0, rtt=0.1)
    before = limiter.limit
    assert before > 20
    round_trips(limiter, 20, now=now, rtt=1.0)
    assert limiter.limit < before / 2


def test_gradient2_keeps_room_for_a_queue() -> None:
    """At half the limit, the least gradient, 4 = 4 / 2 + sqrt(4) is where it rests."""
    limiter = limiter_of(20, "gradient2")
    now = round_trips(limiter, 200, now=0.0, rtt=0.1)
    round_trips(limiter, 60, now=now, rtt=10.0)
    assert limiter.limit in {4, 5}


def test_gradient2_takes_answers_half_as_slow_again_for_noise() -> None:
    limiter = limiter_of(20, "gradient2")
    now = round_trips(limiter, 100, now=0.0, rtt=0.1)
    before = limiter.limit
    round_trips(limiter, 100, now=now, rtt=0.149)
    assert limiter.limit > before


def test_gradient2_gets_used_to_an_origin_that_stays_slow() -> None:
    limiter = limiter_of(20, "gradient2")
    now = round_trips(limiter, 200, now=0.0, rtt=0.3)
    now = round_trips(limiter, 10, now=now, rtt=1.0)
    low = limiter.limit
    round_trips(limiter, 400, now=now, rtt=1.0)
    assert limiter.limit > 2 * low


def test_gradient2_does_not_remember_a_bad_time_as_normal() -> None:
    """Else it would take the next slow answers for quick ones."""
    limiter = limiter_of(20, "gradient2")
    now = round_trips(limiter, 100, now=0.0, rtt=10.0)
    now = round_trips(limiter, 1_200, now=now, rtt=0.1)
    before = limiter.limit
    round_trips(limiter, 20, now=now, rtt=1.0)
    assert limiter.limit < before / 2


def test_gradient2_moves_once_for_each_round_trip_of_slow_calls() -> None:
    limiter = limiter_of(100, "gradient2")
    now, seen = 0.0, set[float]()
    for _ in range(3):  # the first tells how long a round trip is
        slots = fill(limiter, now)
        for tick, each in enumerate(slots):
            limiter.release(each, now + 30 + tick * 0.1, Load.FINE)
            seen.add(limiter._limit.value)  # noqa: SLF001 - between whole numbers
        now += 30 + len(slots) * 0.1
    assert len(seen) < 10


def test_gradient2_takes_an_answer_before_its_question_for_one_at_once() -> None:
    """Two threads may read the clock in one order, and be heard in the other."""
    at_once, before = limiter_of(20, "gradient2"), limiter_of(20, "gradient2")
    for now in range(10):
        for limiter, asked in ((at_once, now), (before, now + 0.1)):
            for each in fill(limiter, asked):
                limiter.release(each, now, Load.FINE)
    assert before.limit == at_once.limit > 20


def test_gradient2_goes_by_the_numbers_of_its_authors() -> None:
    limiter = limiter_of(10_000, "gradient2")
    fill(limiter, 0, most=6_000)  # in use, or nothing would move
    value, long, short, now = 10_000.0, 0.0, 0.0, 0.0
    rtts = [0.1, 0.35, 0.1, 0.1, 2.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1, 0.4, 0.1]
    for span, rtt in enumerate(rtts, start=1):
        slots = [slot(limiter, now) for _ in range(10)]
        limiter.release(slots[0], now, Load.FINE, seconds=rtt)  # begins the span
        for each in slots[1:9]:
            limiter.release(each, now + 0.5, Load.FINE, seconds=rtt)
        now += max(1.0, short)  # as long as a round trip, and a second at least
        assert limiter.limit == math.floor(value)
        limiter.release(slots[9], now, Load.FINE, seconds=rtt)
        short = rtt
        long += (1 / span if span <= 10 else 2 / 601) * (short - long)
        if long > 2 * short:
            long *= 0.95
        gradient = max(0.5, min(1.0, 1.5 * long / short))
        value += 0.2 * (value * gradient + math.sqrt(value) - value)
        assert limiter.limit == math.floor(value)
    assert 6_010 < value < 12_000


def test_gradient2_is_not_moved_by_a_few_answers() -> None:
    limiter = limiter_of(4, "gradient2")
    now = round_trips(limiter, 2, now=0.0, rtt=5.0)
    assert limiter._limit.value == 4  # noqa: SLF001 - between whole numbers
    round_trips(limiter, 2, now=now, rtt=5.0)
    assert limiter._limit.value > 4  # noqa: SLF001 - between whole numbers


@pytest.mark.case("C50")
@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_time_does_not_raise_the_limit_in_the_quiet_after_it(kind: Kind) -> None:
    limiter = limiter_of(20, kind)
    now = round_trips(limiter, 10, now=0.0, rtt=1.0)
    before = limiter.limit
    round_trips(limiter, 100, now=now, rtt=1.0, crowd=1)
    assert before <= limiter.limit <= before + 3  # the last busy span may yet end


@pytest.mark.parametrize("kind", KINDS)
def test_a_lowered_limit_holds_until_enough_calls_have_ended(kind: Kind) -> None:
    limiter = limiter_of(10, kind)
    first, *others = fill(limiter, 0)
    limiter.release(first, 1, Load.HIGH)
    for each in others[:4]:
        limiter.release(each, 1, Load.FINE)
        assert limiter.acquire(1) is None  # 8, 7, 6 and 5 are in flight
    limiter.release(others[4], 1, Load.FINE)
    assert len(fill(limiter, 1)) == 1


def test_the_queue_takes_as_many_as_it_may() -> None:
    assert limiter_of(1, queue=0).enter(print) is None
    limiter = limiter_of(1, queue=2)
    assert [limiter.enter(print) is None for _ in range(3)] == [False, False, True]


@pytest.mark.case("C10")
def test_is_busy_while_calls_are_in_flight_or_wait() -> None:
    limiter = limiter_of(1, queue=1)
    assert not limiter.is_busy
    taken = slot(limiter)
    assert limiter.is_busy
    assert limiter.enter(print) is not None
    limiter.release(taken, 0, Load.FINE)
    assert limiter.is_busy
    ticket = limiter.hand_over(0)
    assert ticket is not None
    assert ticket.wake is print
    limiter.leave(ticket, 0)
    assert not limiter.is_busy


def test_one_release_wakes_one_and_the_first() -> None:
    limiter = limiter_of(1, queue=2)
    held, first, second = slot(limiter), limiter.enter(print), limiter.enter(print)
    assert limiter.hand_over(0) is None  # none is free
    limiter.release(held, 1, Load.FINE)
    woken = limiter.hand_over(1)
    assert woken is not None
    assert woken is first
    assert limiter.hand_over(1) is None
    assert woken.slot is not None
    limiter.release(woken.slot, 2, Load.FINE)
    assert limiter.hand_over(2) is second
    assert limiter.hand_over(2) is None


def test_nobody_overtakes_the_queue() -> None:
    limiter = limiter_of(1, queue=1)
    held = slot(limiter)
    limiter.enter(print)
    limiter.release(held, 1, Load.FINE)
    assert limiter.acquire(1) is None
    assert limiter.hand_over(1) is not None


@pytest.mark.case("C10")
def test_a_waiter_that_is_cancelled_takes_no_place_with_it() -> None:
    limiter = limiter_of(1, queue=1)
    held, ticket = slot(limiter), limiter.enter(print)
    assert ticket is not None
    limiter.leave(ticket, 1)
    limiter.leave(ticket, 1)
    limiter.release(held, 2, Load.FINE)
    assert limiter.hand_over(2) is None
    assert limiter.snapshot() == LimiterSnapshot(limit=1, in_flight=0, waiting=0)
    assert limiter.enter(print) is not None


@pytest.mark.case("C10")
def test_a_waiter_cancelled_as_it_is_woken_passes_its_slot_on() -> None:
    limiter = limiter_of(1, queue=2)
    held, first, second = slot(limiter), limiter.enter(print), limiter.enter(print)
    assert first is not None
    limiter.release(held, 1, Load.FINE)
    assert limiter.hand_over(1) is first
    limiter.leave(first, 1)
    limiter.leave(first, 1)
    assert limiter.hand_over(1) is second
    assert limiter.hand_over(1) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_waiter_that_gives_up_says_nothing_of_the_origin(kind: Kind) -> None:
    limiter = limiter_of(2, kind, queue=1)
    held = fill(limiter, 0)
    for now in range(1, 50):
        ticket = limiter.enter(print)
        limiter.release(held.pop(), now, Load.UNKNOWN)
        assert limiter.hand_over(now) is ticket
        assert ticket is not None
        limiter.leave(ticket, now)
        held += fill(limiter, now)
    assert limiter.limit == 2
