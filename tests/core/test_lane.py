"""The machines of an origin, as one hop goes through them."""

from random import Random
from typing import Any, Literal

import pytest

from resilient_http._core.breaker import Breaker, Mode, Permit, Refusal
from resilient_http._core.bucket import Bucket
from resilient_http._core.budget import Budget
from resilient_http._core.concurrency import Limiter, Slot
from resilient_http._core.lane import FULL, HeldBack, Lane, Pass, TooSoon
from resilient_http._core.origin import Origin
from resilient_http._core.pacer import Pacer
from resilient_http._core.quantile import Latencies
from resilient_http._core.throttle import Throttler
from resilient_http._core.verdict import Answer, Fault, Load, Outcome
from resilient_http.policy import (
    BreakerConfig,
    ConcurrencyLimit,
    Hedge,
    Policy,
    RateLimit,
    RetryBudget,
    Throttle,
)

CALM = BreakerConfig(ramp=None, minimum_calls=100, failure_threshold=100)
FRAGILE = BreakerConfig(ramp=None, minimum_calls=1, recovery_timeout=0)
LATER = 1e9
ALL: dict[str, Any] = {
    "breaker": CALM,
    "budget": RetryBudget(),
    "rate_limit": RateLimit(1, 10.0),
    "throttle": Throttle(),
    "concurrency": ConcurrencyLimit(limit=1),
    "hedge": Hedge(),
}


class Drawn(Random):
    """Draws the longest wait, and this number."""

    def __init__(self, number: float = 0.5) -> None:
        super().__init__()
        self.number = number

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)

    def random(self) -> float:
        return self.number


RNG = Drawn()


class Road:
    """An origin, with what is asked for, and the lanes to it."""

    def __init__(self, **asked: Any) -> None:
        self.policy = policy_of(**asked)
        self.origin = Origin()
        self.origin.equip(self.policy, Random(1))

    def lane(
        self,
        pacer: Pacer | None = None,
        *,
        is_new_call: bool = True,
        granted: Permit | None = None,
        policy: Policy | None = None,
    ) -> Lane:
        return Lane(
            self.origin,
            self.policy if policy is None else policy,
            pacer,
            is_new_call=is_new_call,
            granted=granted,
        )

    @property
    def breaker(self) -> Breaker:
        assert self.origin.breaker is not None
        return self.origin.breaker

    @property
    def bucket(self) -> Bucket:
        assert self.origin.bucket is not None
        return self.origin.bucket

    @property
    def budget(self) -> Budget:
        assert self.origin.budget is not None
        return self.origin.budget

    @property
    def limiter(self) -> Limiter:
        assert self.origin.limiter is not None
        return self.origin.limiter

    @property
    def latencies(self) -> Latencies:
        assert self.origin.latencies is not None
        return self.origin.latencies

    @property
    def throttler(self) -> Throttler:
        assert self.origin.throttler is not None
        return self.origin.throttler

    @property
    def counted(self) -> tuple[int, int, int]:
        """Calls, failures, and what is out, as the breaker has them at 0."""
        known = self.breaker.snapshot(0)
        return known.calls, known.failures, known.in_flight

    @property
    def in_flight(self) -> int:
        return self.limiter.snapshot().in_flight


def policy_of(**asked: Any) -> Policy:
    return Policy(**{"breaker": None, "budget": None, **asked})


def passed(lane: Lane, now: float = 0, slot: Slot | None = None) -> Pass:
    found = lane.admit(now, slot)
    assert isinstance(found, Pass)
    return found


def held(seconds: float, now: float = 0) -> Pacer:
    pacer = Pacer()
    pacer.hold(seconds, now)
    return pacer


def announced(left: int, reset: float) -> Pacer:
    pacer = Pacer()
    pacer.announce(left, reset, 0)
    return pacer


def shared() -> Pacer:
    """Return one that forms a line at 10, as others use most of its quota."""
    pacer = Pacer()
    pacer.announce(99, 60, 0, (100, 60))
    pacer.announce(10, 60, 10, (100, 60))
    return pacer


# What there is.


@pytest.mark.parametrize(
    ("asked", "is_open", "hedges", "is_observant"),
    [
        ({}, True, False, False),
        ({"breaker": CALM}, True, False, False),
        ({"budget": RetryBudget()}, True, False, False),
        ({"concurrency": ConcurrencyLimit()}, True, False, False),
        ({"hedge": Hedge(delay=1)}, True, True, True),
        ({"hedge": Hedge()}, True, True, True),
        ({"rate_limit": RateLimit(1, 1.0)}, False, False, False),
        ({"throttle": Throttle()}, False, False, True),
    ],
)
def test_a_lane_says_what_stands_in_it(
    asked: dict[str, Any], *, is_open: bool, hedges: bool, is_observant: bool
) -> None:
    lane = Road(**asked).lane()
    assert lane.is_open is is_open
    assert lane.hedges is hedges
    assert lane.is_observant is is_observant


def test_what_a_server_announced_stands_before_a_call() -> None:
    assert Road().lane(Pacer()).is_open is False


def test_a_redirect_is_no_new_call_for_what_counts_those() -> None:
    road = Road(rate_limit=RateLimit(1, 10.0), throttle=Throttle())
    lane = road.lane(held(60), is_new_call=False)
    assert lane.is_open
    assert not lane.is_observant
    assert lane.paced(1, 0, RNG) == 1
    lane.observe(Load.HIGH, 0, 0)
    assert road.throttler.share_held_back(0) == 0
    assert road.bucket.wait(0) == 0


def test_who_asks_for_nothing_is_asked_nothing_and_tells_nothing() -> None:
    road = Road(**ALL)
    road.breaker.force(Mode.FORCED_OPEN)
    road.budget.spend()
    for _ in range(20):
        road.throttler.note(accepted=False, now=0)
        road.latencies.record(2, 0)
    lane = road.lane(policy=policy_of())
    assert lane.turn(0, LATER, RNG) == 0
    assert lane.is_let_through(0, RNG) is None
    first = passed(lane)
    assert (first.permit, first.slot, first.took) == (None, None, None)
    assert lane.queue(print) is None
    assert not lane.is_shut_for(0, 0)
    assert lane.hedge_after(0) is None
    assert lane.pay() is True
    assert road.budget.tokens == 486
    for _ in range(20):
        lane.observe(Load.FINE, 1, 0)
    lane.settle(first, Outcome.FAILURE, 0)
    lane.release(first, Load.HIGH, 0)
    lane.succeed(first, 0)
    lane.conclude(Outcome.FAILURE, 0)
    lane.refund()
    lane.leave(0)
    assert road.bucket.wait(0) == 0
    assert road.counted == (0, 0, 0)
    assert road.budget.tokens == 486
    assert road.in_flight == 0
    assert road.latencies.estimate(0) == 2
    assert road.throttler.share_held_back(0) == 0.75


# Its turn.


def test_who_is_first_goes_at_once_and_the_next_waits() -> None:
    road = Road(rate_limit=RateLimit(1, 10.0))
    assert road.lane().turn(0, LATER, RNG) == 0
    assert road.lane().turn(3, LATER, RNG) == 7
    assert road.lane().turn(3, LATER, RNG) == 17


@pytest.mark.parametrize(("until", "turn"), [(10, TooSoon(7)), (10.5, 7.0)])
def test_a_turn_that_comes_when_time_is_over_is_refused(
    until: float, turn: TooSoon | float
) -> None:
    road = Road(rate_limit=RateLimit(1, 10.0))
    road.lane().turn(0, LATER, RNG)
    assert road.lane().turn(3, until, RNG) == turn


@pytest.mark.parametrize("gap", [0.5, 10.0])
def test_who_may_not_wait_is_refused_and_takes_no_place(gap: float) -> None:
    road = Road(rate_limit=RateLimit(1, gap, mode="reject"))
    pacer = announced(2, 60)
    assert road.lane(pacer).turn(0, LATER, RNG) == 0
    refused = road.lane(pacer).turn(0, LATER, RNG)
    assert refused == TooSoon(gap)
    assert isinstance(refused, TooSoon)
    assert refused.is_ours is True
    assert road.bucket.wait(0) == gap
    assert pacer.wait(0) == 0


def test_who_need_not_wait_goes_though_it_may_not_and_time_is_over() -> None:
    road = Road(rate_limit=RateLimit(2, 10.0, mode="reject"))
    assert road.lane(Pacer()).turn(0, LATER, RNG) == 0
    assert road.lane(Pacer()).turn(0, 0, RNG) == 0


@pytest.mark.parametrize("mode", ["wait", "reject"])
@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_what_the_server_asks_for_refuses_as_our_own_limit_does(
    mode: Literal["wait", "reject"], seconds: float
) -> None:
    road = Road(rate_limit=RateLimit(1, 10.0, mode=mode))
    until = LATER if mode == "reject" else 2 + seconds
    refused = road.lane(held(seconds, now=2)).turn(2, until, RNG)
    assert refused == TooSoon(seconds, is_ours=False)
    assert road.bucket.wait(2) == 0


def test_a_call_waits_for_the_later_of_its_own_turn_and_the_servers() -> None:
    road = Road(rate_limit=RateLimit(1, 10.0))
    pacer = held(5, now=2)
    # What the server asked for is exceeded by up to a tenth, not to come all at once.
    assert road.lane(pacer).turn(2, 7.1, RNG) == pytest.approx(5.5)
    assert road.lane(pacer).turn(2, LATER, RNG) == 10


def test_where_nobody_asked_for_a_limit_who_has_no_time_to_wait_goes() -> None:
    lane = Road().lane(held(5))
    assert lane.turn(1, 5, RNG) == 0
    assert lane.turn(1, 5.1, RNG) == pytest.approx(4.5)


def test_who_goes_too_late_takes_nothing_of_what_is_left() -> None:
    pacer = announced(1, 10)
    assert Road().lane(pacer).turn(0, 0, RNG) == 0
    assert pacer.wait(0) == 0
    assert Road().lane(pacer).turn(0, LATER, RNG) == 0
    assert pacer.wait(0) == 10


def test_a_wait_for_our_own_turn_is_slept_through() -> None:
    lane = Road(rate_limit=RateLimit(1, 10.0)).lane()
    assert lane.nap(8) == 8
    assert lane.again(1, LATER, RNG) == 0


def test_so_is_a_wait_in_no_line_of_the_servers() -> None:
    lane = Road().lane(held(5))
    lane.turn(0, LATER, RNG)
    assert lane.nap(5) == 5
    assert lane.again(1, LATER, RNG) == 0


def test_a_line_that_may_move_faster_is_looked_at_again() -> None:
    pacer = shared()
    for _ in range(3):
        Road().lane(pacer).turn(10, LATER, RNG)
    lane = Road().lane(pacer)
    turn = lane.turn(10, LATER, RNG)
    assert isinstance(turn, float)
    assert pacer.place is not None
    ahead = pacer.again(pacer.place, 20, RNG)
    assert 0 < ahead < turn
    assert lane.nap(turn) == turn / 2
    assert lane.again(20, LATER, RNG) == ahead
    assert lane.again(20, 20 + ahead + 0.1, RNG) == ahead
    assert lane.again(20, 20 + ahead, RNG) == 0  # or it would come too late
    assert lane.again(20 + turn, LATER, RNG) == 0


def test_who_waits_in_both_lines_waits_for_the_longer() -> None:
    road = Road(rate_limit=RateLimit(1, 100.0))
    pacer = shared()
    road.bucket.reserve(10)
    lane = road.lane(pacer)
    assert lane.turn(10, LATER, RNG) == 100
    assert lane.again(20, LATER, RNG) == 90
    assert lane.again(60, LATER, RNG) == 50


def test_who_has_a_turn_at_once_is_in_no_line() -> None:
    road = Road(rate_limit=RateLimit(1, 100.0))
    lane = road.lane(Pacer())
    assert lane.turn(10, LATER, RNG) == 0
    assert lane.nap(8) == 8
    assert lane.again(10, LATER, RNG) == 0


def test_a_turn_that_is_not_used_goes_back_once() -> None:
    road = Road(rate_limit=RateLimit(1, 10.0))
    lane = road.lane()
    lane.leave(0)  # has none yet
    lane.turn(0, LATER, RNG)
    road.lane().turn(0, LATER, RNG)
    lane.leave(0)
    lane.leave(0)
    assert road.bucket.wait(0) == 0
    assert road.lane().turn(0, LATER, RNG) == 0
    assert road.lane().turn(0, LATER, RNG) == 20


def test_a_retry_waits_as_long_as_the_server_announced() -> None:
    lane = Road().lane(held(5))
    assert lane.paced(1, 0, RNG) == 5.5
    assert lane.paced(7, 0, RNG) == 7
    assert Road().lane().paced(1, 0, RNG) == 1


def test_a_retry_takes_of_what_is_left() -> None:
    pacer = announced(1, 10)
    assert Road().lane(pacer).paced(1, 0, RNG) == 1
    assert pacer.wait(0) == 10


def test_a_share_of_calls_is_held_back_and_told() -> None:
    road = Road(throttle=Throttle(k=1))
    for accepted in [True] * 10 + [False] * 10:
        road.throttler.note(accepted=accepted, now=0)
    lane = road.lane()
    assert lane.is_let_through(0, Drawn(0.9)) is None
    assert lane.is_let_through(0, Drawn(0.1)) == HeldBack(11 / 22)
    assert lane.is_let_through(100, Drawn(0.1)) is None


# Leave to send.


def test_leave_takes_of_what_there_is() -> None:
    road = Road(breaker=CALM, concurrency=ConcurrencyLimit(limit=1))
    first = passed(road.lane(), 5)
    assert isinstance(first.permit, Permit)
    assert isinstance(first.slot, Slot)
    assert (first.permit.admitted_at, first.slot.acquired_at) == (5, 5)
    assert first.took is None
    assert (road.counted, road.in_flight) == ((0, 0, 1), 1)


def test_who_finds_no_place_keeps_no_permit() -> None:
    road = Road(breaker=CALM, concurrency=ConcurrencyLimit(limit=1))
    passed(road.lane())
    full = road.lane().admit(0)
    assert full is FULL
    assert full.value == "full"
    assert (road.counted, road.in_flight) == ((0, 0, 1), 1)


def test_who_finds_no_place_has_not_begun() -> None:
    road = Road(breaker=CALM, concurrency=ConcurrencyLimit(limit=1))
    busy = road.lane()
    there = passed(busy)
    lane = road.lane()
    assert lane.admit(0) is FULL
    lane.conclude(Outcome.FAILURE, 0)
    assert road.breaker.snapshot(0).failed_in_row == 0
    busy.release(there, Load.FINE, 0)
    passed(lane)
    lane.conclude(Outcome.FAILURE, 0)
    assert road.breaker.snapshot(0).failed_in_row == 1


def test_who_is_refused_takes_no_place() -> None:
    road = Road(breaker=CALM, concurrency=ConcurrencyLimit(limit=1))
    road.breaker.force(Mode.FORCED_OPEN)
    assert isinstance(road.lane().admit(0), Refusal)
    assert road.in_flight == 0


def test_a_slot_that_was_waited_for_is_used_or_goes_back() -> None:
    limit = ConcurrencyLimit(limit=2, adaptive="aimd")
    road = Road(breaker=CALM, concurrency=limit)
    for refused in (False, True):
        slot = road.limiter.acquire(0)
        assert slot is not None
        if refused:
            road.breaker.force(Mode.FORCED_OPEN)
            assert isinstance(road.lane().admit(0, slot), Refusal)
        else:
            assert passed(road.lane(), 0, slot).slot is slot
        assert road.in_flight == 1
        assert road.limiter.limit == 2


def test_leave_that_was_had_before_is_for_the_first_send_alone() -> None:
    road = Road(breaker=CALM)
    granted = road.breaker.admit(0)
    assert isinstance(granted, Permit)
    lane = road.lane(granted=granted)
    assert passed(lane).permit is granted
    assert road.counted == (0, 0, 1)
    assert passed(lane).permit is not granted
    assert road.counted == (0, 0, 2)


def test_a_place_in_the_queue_wakes_who_took_it() -> None:
    road = Road(concurrency=ConcurrencyLimit(limit=1, queue=1))
    slot = passed(road.lane()).slot
    assert slot is not None
    woken: list[int] = []
    ticket = road.lane().queue(lambda: woken.append(1))
    assert ticket is not None
    assert road.lane().queue(print) is None
    road.limiter.release(slot, 1, Load.FINE)
    handed = road.limiter.hand_over(1)
    assert handed is ticket
    handed.wake()
    assert woken == [1]


@pytest.mark.parametrize("handed_over", [False, True])
def test_who_gives_up_waiting_leaves_nothing_behind(*, handed_over: bool) -> None:
    road = Road(concurrency=ConcurrencyLimit(limit=1, queue=1))
    slot = passed(road.lane()).slot
    assert slot is not None
    lane = road.lane()
    ticket = lane.queue(print)
    assert ticket is not None
    road.limiter.release(slot, 1, Load.FINE)
    if handed_over:
        assert road.limiter.hand_over(1) is ticket
    lane.unqueue(ticket, 1)
    known = road.limiter.snapshot()
    assert (known.in_flight, known.waiting) == (0, 0)
    road.lane(policy=policy_of()).unqueue(ticket, 1)


# What came of it.


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (Outcome.SUCCESS, (1, 0, 0)),
        (Outcome.FAILURE, (1, 1, 0)),
        (Outcome.ANSWERED, (0, 0, 0)),
        (Outcome.NEUTRAL, (0, 0, 0)),
    ],
)
def test_what_came_of_a_send_is_told_once(
    outcome: Outcome, counted: tuple[int, int, int]
) -> None:
    road = Road(breaker=CALM)
    lane = road.lane()
    first = passed(lane)
    lane.settle(first, outcome, 0)
    assert road.counted == counted
    assert first.permit is None
    lane.settle(first, Outcome.FAILURE, 0)
    lane.succeed(first, 0)
    assert road.counted == counted


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.SUCCESS, "closed"),
        (Outcome.ANSWERED, "closed"),
        (Outcome.NEUTRAL, "half_open"),
        (Outcome.FAILURE, "open"),
    ],
)
def test_a_probe_asks_only_whether_anybody_is_at_home(
    outcome: Outcome, state: str
) -> None:
    probed = BreakerConfig(minimum_calls=1, recovery_timeout=0, success_threshold=1)
    road = Road(breaker=probed)
    lane = road.lane()
    lane.settle(passed(lane), Outcome.FAILURE, 0)
    lane = road.lane()
    lane.settle(passed(lane), outcome, 1)
    assert road.breaker.state == state


def test_traffic_comes_back_by_and_by_from_when_the_probe_was_answered() -> None:
    probed = BreakerConfig(
        minimum_calls=1, recovery_timeout=0, success_threshold=1, ramp=10
    )
    road = Road(breaker=probed)
    lane = road.lane()
    lane.settle(passed(lane), Outcome.FAILURE, 0)
    lane = road.lane()
    lane.settle(passed(lane, 1), Outcome.ANSWERED, 3)
    passed(road.lane(), 3)
    assert isinstance(road.lane().admit(3), Refusal)
    passed(road.lane(), 4)
    assert isinstance(road.lane().admit(4), Refusal)


def test_a_breaker_stays_open_as_long_as_was_asked_for() -> None:
    road = Road(breaker=FRAGILE)
    lane = road.lane()
    lane.settle(passed(lane), Outcome.FAILURE, 0, 60)
    assert road.breaker.retry_after(0) == 60
    assert lane.is_shut_for(59.9, 0)
    assert not lane.is_shut_for(60, 0)
    assert lane.is_shut_for(49.9, 10)
    assert not lane.is_shut_for(50, 10)


def test_or_no_longer_than_it_would_where_nothing_was() -> None:
    road = Road(breaker=FRAGILE)
    lane = road.lane()
    lane.settle(passed(lane), Outcome.FAILURE, 0)
    assert road.breaker.state == "open"
    assert road.breaker.retry_after(0) == 0
    assert not lane.is_shut_for(0, 0)


def test_a_slow_send_is_slow_from_leave_to_end() -> None:
    road = Road(breaker=BreakerConfig(slow_call=5, minimum_calls=100))
    for took in (5, 6):
        lane = road.lane()
        lane.succeed(passed(lane, 10), 10 + took)
    assert road.breaker.snapshot(16).slow == 1


def test_a_slot_goes_back_once_with_what_its_send_tells() -> None:
    road = Road(concurrency=ConcurrencyLimit(limit=8, adaptive="aimd"))
    lane = road.lane()
    first, other = passed(lane), passed(lane)
    lane.release(first, Load.UNKNOWN, 1)
    assert first.slot is None
    assert (road.in_flight, road.limiter.limit) == (1, 8)
    lane.release(first, Load.HIGH, 1)
    assert (road.in_flight, road.limiter.limit) == (1, 8)
    lane.release(other, Load.HIGH, 1)
    assert (road.in_flight, road.limiter.limit) == (0, 4)


def test_how_busy_an_origin_seems_is_told_to_who_wants_to_know() -> None:
    road = Road(throttle=Throttle(k=1), hedge=Hedge())
    lane = road.lane()
    for _ in range(19):
        lane.observe(Load.FINE, 0.5, 0)
    for load, seconds in [(Load.HIGH, 9.0), (Load.UNKNOWN, 9.0)]:
        for _ in range(30):
            lane.observe(load, seconds, 0)
    assert road.throttler.share_held_back(0) == 30 / 50
    assert lane.hedge_after(0) is None
    lane.observe(Load.FINE, 0.5, 0)
    assert road.throttler.share_held_back(0) == 30 / 51
    assert lane.hedge_after(0) == 0.5
    assert lane.hedge_after(1e6) is None


def test_each_of_them_may_be_alone() -> None:
    lane = Road(throttle=Throttle()).lane()
    lane.observe(Load.FINE, 0.5, 0)
    lane = Road(hedge=Hedge(delay=0.25)).lane()
    lane.observe(Load.FINE, 0.5, 0)
    assert lane.hedge_after(0) == 0.25


def test_a_delay_that_was_chosen_holds_where_others_learn_theirs() -> None:
    road = Road(hedge=Hedge())
    lane = road.lane(policy=policy_of(hedge=Hedge(delay=2)))
    assert lane.hedge_after(0) == 2
    for _ in range(20):
        lane.observe(Load.FINE, 0.5, 0)
    assert lane.hedge_after(0) == 2
    assert road.lane().hedge_after(0) == 0.5


def test_a_success_at_once_counts_and_earns_a_token() -> None:
    road = Road(breaker=CALM, budget=RetryBudget(capacity=100))
    road.budget.spend()
    lane = road.lane()
    first = passed(lane)
    lane.succeed(first, 0)
    assert first.permit is None
    assert road.counted == (1, 0, 0)
    assert road.budget.tokens == 100 - 14 + 1


def test_a_success_after_retries_gets_the_last_payment_back() -> None:
    road = Road(budget=RetryBudget(capacity=100))
    lane = road.lane()
    assert lane.pay() is True
    assert lane.pay(Answer(status=429)) is True
    assert road.budget.tokens == 100 - 14 - 5
    lane.succeed(passed(lane), 0)
    assert road.budget.tokens == 100 - 14


def failed_in_row(road: Road) -> int:
    return road.breaker.snapshot(0).failed_in_row


@pytest.mark.parametrize(
    ("outcome", "row"),
    [
        (Outcome.SUCCESS, 0),
        (Outcome.FAILURE, 2),
        (Outcome.NEUTRAL, 1),
        (Outcome.ANSWERED, 1),
    ],
)
def test_what_came_of_a_call_is_told_apart_from_its_sends(
    outcome: Outcome, row: int
) -> None:
    road = Road(breaker=CALM)
    lane = road.lane()
    lane.conclude(Outcome.FAILURE, 0)  # was never admitted
    assert failed_in_row(road) == 0
    passed(lane)
    lane.conclude(Outcome.FAILURE, 0)
    assert failed_in_row(road) == 1
    lane = road.lane()
    passed(lane)
    lane.conclude(outcome, 0)
    assert failed_in_row(road) == row
    assert road.breaker.snapshot(0).calls == 0


@pytest.mark.parametrize("forced", [False, True])
def test_a_call_that_succeeds_in_the_end_ends_a_row_of_failures(
    *, forced: bool
) -> None:
    road = Road(breaker=CALM)
    lane = road.lane()
    passed(lane)
    lane.conclude(Outcome.FAILURE, 0)
    lane = road.lane()
    lane.settle(passed(lane), Outcome.FAILURE, 0)
    if forced:  # the send that succeeds counts for nothing, and the call does
        road.breaker.force(Mode.FORCED_CLOSED)
    lane.succeed(passed(lane), 0)
    assert failed_in_row(road) == 0


def test_a_call_is_as_old_as_its_first_send() -> None:
    road = Road(breaker=FRAGILE)
    lane = road.lane()
    lane.settle(passed(lane), Outcome.FAILURE, 0)
    for now in (1, 2):  # two probes pass
        probe = road.lane()
        probe.succeed(passed(probe, now), now)
    assert road.breaker.state == "closed"
    passed(lane, 3)
    lane.conclude(Outcome.FAILURE, 3)
    assert failed_in_row(road) == 0


# Once more.


def test_a_forced_breaker_is_shut_for_ever() -> None:
    road = Road(breaker=CALM)
    assert not road.lane().is_shut_for(0, 0)
    road.breaker.force(Mode.FORCED_OPEN)
    assert road.lane().is_shut_for(1e9, 0)


@pytest.mark.parametrize(
    ("ending", "price"),
    [
        (None, 14),
        (Fault(retryable=True), 14),
        (Answer(status=500), 14),
        (Answer(status=429), 5),
    ],
)
def test_a_retry_costs_what_its_send_ended_with(
    ending: Answer | Fault | None, price: int
) -> None:
    road = Road(budget=RetryBudget())
    assert road.lane().pay(ending) is True
    assert road.budget.tokens == 500 - price


def test_where_there_is_no_room_refusals_are_not_paid_for() -> None:
    road = Road(budget=RetryBudget())
    shed = Answer(status=503, work_not_started=True)
    assert [road.lane().pay(shed) for _ in range(5)] == [True] * 4 + [False]
    assert road.budget.tokens == 500 - 4 * 14


def test_who_cannot_pay_again_gets_its_last_payment_back_once() -> None:
    road = Road(budget=RetryBudget(capacity=20))
    lane = road.lane()
    assert lane.pay() is True
    assert lane.pay() is False
    assert road.budget.tokens == 6
    lane.refund()
    assert road.budget.tokens == 20


def test_who_paid_nothing_earns_a_token() -> None:
    road = Road(budget=RetryBudget(capacity=20))
    road.budget.spend()
    road.lane().refund()
    assert road.budget.tokens == 7
