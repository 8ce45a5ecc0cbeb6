"""A hop played by hand: what it asks for, given what it was told."""

from typing import Any, Literal

import pytest

from resilient_http._core.breaker import Refusal
from resilient_http._core.bucket import Bucket
from resilient_http._core.lane import TooSoon
from resilient_http._core.origin import Origin
from resilient_http._core.steps import (
    Discard,
    Done,
    Drop,
    Expired,
    Failure,
    Late,
    Pending,
    Queue,
    Reply,
    Send,
    Stay,
    Wait,
    Woke,
)
from resilient_http._core.steps import Hedge as HedgeCommand
from resilient_http._core.verdict import Answer, Fault, Load, Outcome, Request
from resilient_http.events import NotHedged
from resilient_http.policy import (
    ConcurrencyLimit,
    Hedge,
    RateLimit,
    RetryBudget,
    RetryConfig,
)
from tests.core.play import CUT, Play, breaker, fail, reply

FRAGILE = breaker()


def tokens(play: Play) -> float:
    assert play.origin.budget is not None
    return play.origin.budget.tokens


def bucket_of(origin: Origin) -> Bucket:
    assert origin.bucket is not None
    return origin.bucket


def in_flight(play: Play) -> int:
    assert play.origin.limiter is not None
    return play.origin.limiter.snapshot().in_flight


def test_a_good_answer_ends_it() -> None:
    play = Play()
    assert next(play.flow) == Send()
    assert play.end(reply(1, 200)) == Done()


def test_waits_grow_between_sends() -> None:
    play = Play()
    assert next(play.flow) == Send()
    assert play.flow.send(Failure(2, CUT)) == Wait(1)
    assert play.flow.send(Woke(3)) == Send()
    assert play.flow.send(reply(5, 503)) == Wait(2)
    assert play.flow.send(Woke(7)) == Send()
    assert play.end(reply(8, 503)) == Done(is_final=True)


@pytest.mark.case("C35")
def test_nothing_is_waited_for_after_the_last_send() -> None:
    play = Play(retry=RetryConfig(max_attempts=1))
    next(play.flow)
    assert play.end(Failure(1, CUT)) == Done()


@pytest.mark.case("C31")
def test_a_wait_that_does_not_fit_the_deadline_is_not_begun() -> None:
    play = Play(deadline=5)
    next(play.flow)
    assert play.end(reply(1, 503, wait=4)) == Done()


def test_a_deadline_that_has_passed_is_told_apart() -> None:
    play = Play(deadline=5)
    next(play.flow)
    assert play.end(Expired(5)) == Late()
    assert Play(deadline=5, now=5).end() == Late()


def test_a_wait_that_took_too_long_ends_late() -> None:
    play = Play(deadline=5)
    next(play.flow)
    assert play.flow.send(Failure(1, CUT)) == Wait(1)
    assert play.end(Woke(6)) == Late()


def test_an_open_breaker_refuses_before_the_first_send() -> None:
    origin = Origin()
    fail(origin, 2, FRAGILE)
    ending = Play(origin, breaker=FRAGILE).end()
    assert isinstance(ending, Refusal)
    assert ending.retry_after >= 5


@pytest.mark.case("C20")
def test_a_breaker_that_opens_ends_the_call_without_a_wait() -> None:
    play = Play(breaker=breaker(minimum_calls=1))
    next(play.flow)
    assert play.end(Failure(1, CUT)) == Done(is_final=True)
    assert play.breaker.state == "open"


def test_a_breaker_that_somebody_else_opened_meanwhile_ends_it_too() -> None:
    play = Play(breaker=FRAGILE)
    next(play.flow)
    assert play.flow.send(Failure(1, CUT)) == Wait(1)
    fail(play.origin, 2, FRAGILE, now=1)
    assert play.end(Woke(2)) == Done(is_final=True)


def test_a_call_that_succeeds_in_the_end_is_no_failed_call() -> None:
    origin = Origin()
    for _ in range(5):
        play = Play(origin, breaker=breaker(minimum_calls=100))
        next(play.flow)
        play.flow.send(Failure(0, CUT))
        play.flow.send(Woke(0))
        assert play.end(reply(0, 200)) == Done()
    assert play.breaker.state == "closed"


@pytest.mark.case("C9", "C21")
def test_a_hop_that_is_closed_counts_nothing() -> None:
    origin = Origin()
    for _ in range(5):
        play = Play(origin, breaker=breaker(minimum_calls=1))
        next(play.flow)
        play.flow.close()
    assert play.breaker.state == "closed"
    assert play.breaker.snapshot(0).in_flight == 0
    assert play.breaker.snapshot(0).calls == 0


def test_an_unread_answer_is_settled_by_whoever_reads_it() -> None:
    play = Play(breaker=breaker(minimum_calls=1))
    next(play.flow)
    ending = play.end(Reply(1, Answer(status=200), unread=True))
    assert isinstance(ending, Done)
    assert ending.passed is not None
    assert play.breaker.snapshot(1).in_flight == 1
    play.lane.settle(ending.passed, Outcome.FAILURE, 2)
    assert play.breaker.state == "open"
    play.lane.settle(ending.passed, Outcome.FAILURE, 2)
    assert play.breaker.snapshot(2).in_flight == 0


def test_an_unread_failure_is_settled_at_its_head() -> None:
    play = Play(breaker=breaker(minimum_calls=1), retry=None)
    next(play.flow)
    assert isinstance(play.end(Reply(1, Answer(status=503), unread=True)), Done)
    assert play.breaker.state == "open"


def test_an_unread_answer_is_closed_before_the_wait() -> None:
    play = Play()
    next(play.flow)
    unread = Reply(1, Answer(status=503), unread=True)
    assert play.flow.send(unread) == Discard()
    assert play.flow.send(Woke(1)) == Wait(1)


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_slot_is_held_until_an_unread_answer_is_closed(*, cancelled: bool) -> None:
    play = Play(concurrency=ConcurrencyLimit(limit=1))
    next(play.flow)
    unread = Reply(1, Answer(status=503), unread=True)
    assert play.flow.send(unread) == Discard()
    assert in_flight(play) == 1
    if cancelled:
        play.flow.close()
    else:
        assert play.flow.send(Woke(1)) == Wait(1)
    assert in_flight(play) == 0


def test_what_the_server_asks_for_keeps_the_breaker_open() -> None:
    play = Play(breaker=breaker(minimum_calls=1))
    next(play.flow)
    assert play.end(reply(0, 503, wait=60)) == Done()
    assert play.breaker.retry_after(0) >= 60


def test_a_retry_that_cannot_be_paid_for_is_not_sent() -> None:
    play = Play(budget=RetryBudget(capacity=14))
    next(play.flow)
    assert play.flow.send(Failure(1, CUT)) == Wait(1)
    assert tokens(play) == 0
    assert play.flow.send(Woke(2)) == Send()
    assert play.end(Failure(3, CUT)) == Done(is_final=True)


def test_a_call_that_succeeds_in_the_end_gets_its_last_payment_back() -> None:
    play = Play(budget=RetryBudget(capacity=100))
    next(play.flow)
    play.flow.send(Failure(1, CUT))
    play.flow.send(Woke(2))
    play.flow.send(reply(3, 429))
    assert tokens(play) == 100 - 14 - 5
    play.flow.send(Woke(5))
    assert play.end(reply(6, 200)) == Done()
    assert tokens(play) == 100 - 14


def test_a_call_that_succeeds_at_once_earns_a_token() -> None:
    play = Play(budget=RetryBudget(capacity=100))
    play.lane.pay()
    play = Play(play.origin, budget=RetryBudget(capacity=100))
    next(play.flow)
    assert play.end(reply(1, 200)) == Done()
    assert tokens(play) == 100 - 14 + 1


def test_nothing_is_paid_for_a_wait_that_is_not_begun() -> None:
    full = RetryBudget(capacity=100)
    play = Play(budget=full, deadline=5)
    next(play.flow)
    assert play.end(reply(1, 503, wait=4)) == Done()
    play = Play(play.origin, budget=full, breaker=breaker(minimum_calls=1))
    next(play.flow)
    assert play.end(Failure(1, CUT)) == Done(is_final=True)
    assert tokens(play) == 100


ONE_A_SECOND = RateLimit(1, 1.0)


def test_a_call_waits_its_turn() -> None:
    origin = Origin()
    for turn in range(3):
        play = Play(origin, rate_limit=ONE_A_SECOND)
        if turn:
            assert next(play.flow) == Wait(turn)
            assert play.flow.send(Woke(turn)) == Send()
        else:
            assert next(play.flow) == Send()
        assert play.end(reply(turn, 200)) == Done()


def test_retries_of_a_call_wait_in_no_line() -> None:
    play = Play(rate_limit=RateLimit(1, 100.0))
    assert next(play.flow) == Send()
    assert play.flow.send(Failure(1, CUT)) == Wait(1)
    assert play.flow.send(Woke(2)) == Send()


@pytest.mark.parametrize(("mode", "deadline"), [("reject", 30), ("wait", 5)])
def test_a_call_that_cannot_wait_is_refused_and_takes_no_place(
    mode: Literal["wait", "reject"], deadline: float
) -> None:
    limit = RateLimit(1, 10.0, mode=mode)
    origin = Origin()
    next(Play(origin, rate_limit=limit).flow)
    for _ in range(3):
        play = Play(origin, rate_limit=limit, deadline=deadline)
        assert play.end() == TooSoon(10)
    assert bucket_of(origin).wait(0) == 10


def test_a_turn_that_is_not_used_goes_to_the_next() -> None:
    origin = Origin()
    next(Play(origin, rate_limit=ONE_A_SECOND).flow)
    cancelled = Play(origin, rate_limit=ONE_A_SECOND)
    assert next(cancelled.flow) == Wait(1)
    cancelled.flow.close()
    assert bucket_of(origin).wait(0) == 1
    fail(origin, 2, FRAGILE)
    refused = Play(origin, rate_limit=ONE_A_SECOND, breaker=FRAGILE)
    assert next(refused.flow) == Wait(1)
    assert isinstance(refused.end(Woke(1)), Refusal)
    assert bucket_of(origin).wait(1) == 0


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_a_turn_of_who_finds_no_place_goes_to_the_next(how: str) -> None:
    config: dict[str, Any] = {
        "rate_limit": RateLimit(1, 10.0),
        "concurrency": ConcurrencyLimit(limit=1, queue=1),
    }
    origin = Origin()
    busy = Play(origin, **config)
    next(busy.flow)
    play = Play(origin, **config)
    assert next(play.flow) == Wait(10)
    assert isinstance(play.flow.send(Woke(10)), Queue)
    assert bucket_of(origin).wait(10) == 10
    if how == "cancelled":
        play.flow.close()
    else:
        assert play.end(Woke(30)) == Late()
    assert bucket_of(origin).wait(10) == 0


def test_who_queued_and_is_refused_gives_its_slot_back() -> None:
    config: dict[str, Any] = {
        "concurrency": ConcurrencyLimit(limit=1, queue=1),
        "breaker": FRAGILE,
    }
    busy = Play(**config)
    next(busy.flow)
    play = Play(busy.origin, **config)
    assert isinstance(next(play.flow), Queue)
    assert busy.flow.send(Failure(1, CUT)) == Wait(1)
    assert busy.origin.limiter is not None
    assert busy.origin.limiter.hand_over(1) is not None
    fail(busy.origin, 2, FRAGILE, now=1)
    assert isinstance(play.end(Woke(1)), Refusal)
    assert in_flight(play) == 0


def test_a_turn_that_comes_too_late_goes_to_the_next() -> None:
    origin = Origin()
    next(Play(origin, rate_limit=ONE_A_SECOND).flow)
    play = Play(origin, rate_limit=ONE_A_SECOND, deadline=5)
    assert next(play.flow) == Wait(1)
    assert play.end(Woke(5)) == Late()
    assert bucket_of(origin).wait(5) == 0


def limit_after(leisure: float) -> int:
    """Return the limit of an origin whose bodies come to be read at leisure."""
    adaptive = ConcurrencyLimit(limit=20, adaptive="gradient2")
    origin = Origin()
    for now in range(100, 1_100, 100):
        plays = [
            Play(origin, now=now, deadline=1e9, concurrency=adaptive) for _ in range(20)
        ]
        for play in plays:
            next(play.flow)
        answer = Reply(now + 1, Answer(status=200), seconds=1.0, unread=True)
        for play in plays:
            ending = play.end(answer)
            assert isinstance(ending, Done)
            assert ending.passed is not None
            closed = now + 1 + leisure * (now > 500)
            play.lane.release(ending.passed, Load.FINE, closed)
    assert origin.limiter is not None
    return origin.limiter.limit


def test_a_caller_that_reads_at_leisure_makes_no_origin_slow() -> None:
    assert limit_after(90) == limit_after(0) > 20


HEDGED: dict[str, Any] = {
    "hedge": Hedge(delay=1.0),
    "request": Request(idempotent=True, hedgeable=True),
}


def test_a_hedge_is_not_sent_once_the_time_is_over() -> None:
    play = Play(
        deadline=5,
        budget=RetryBudget(capacity=100),
        **HEDGED,
    )
    assert next(play.flow) == Send(1.0)
    assert play.flow.send(Pending(5)) == Stay()
    assert [event.reason for event in play.events(NotHedged)] == ["no_time"]
    assert tokens(play) == 100


def test_a_hedge_is_one_of_the_sends_there_may_be() -> None:
    play = Play(retry=RetryConfig(max_attempts=1), **HEDGED)
    assert next(play.flow) == Send(1.0)
    assert play.flow.send(Pending(1)) == Stay()
    assert [event.reason for event in play.events(NotHedged)] == ["attempts_spent"]


def test_a_hedge_that_cannot_be_paid_for_takes_no_place() -> None:
    limit = ConcurrencyLimit(limit=2)
    poor = RetryBudget(capacity=13)
    play = Play(concurrency=limit, breaker=FRAGILE, budget=poor, **HEDGED)
    next(play.flow)
    assert play.flow.send(Pending(1)) == Stay()
    assert (in_flight(play), play.breaker.snapshot(1).in_flight) == (1, 1)


def test_who_wins_a_race_and_who_loses_give_their_places_back() -> None:
    play = Play(concurrency=ConcurrencyLimit(limit=2), breaker=FRAGILE, **HEDGED)
    next(play.flow)
    assert play.flow.send(Pending(1)) == HedgeCommand()
    assert (in_flight(play), play.breaker.snapshot(1).in_flight) == (2, 2)
    assert play.flow.send(reply(2, 200, copy=1)) == Drop(1)
    assert play.end(Woke(2)) == Done()
    assert (in_flight(play), play.breaker.snapshot(2).in_flight) == (0, 0)


def test_a_send_does_not_end_by_waking() -> None:
    play = Play()
    next(play.flow)
    with pytest.raises(TypeError, match="a send does not end so"):
        play.flow.send(Woke(1))


@pytest.mark.case("R8")
def test_what_was_not_processed_is_sent_again_once_for_nothing() -> None:
    play = Play(budget=RetryBudget(capacity=100), request=Request(idempotent=False))
    refused = Fault(retryable=True, not_processed=True)
    next(play.flow)
    assert play.flow.send(Failure(1, refused)) == Wait(1)
    assert tokens(play) == 100
    assert play.flow.send(Woke(2)) == Send()
    assert play.flow.send(Failure(3, refused)) == Wait(2)
    assert tokens(play) == 100 - 14


@pytest.mark.parametrize(
    ("answer", "price"),
    [
        (Answer(status=429, retry_after=1), 5),
        (Answer(status=503, retry_after=1), 5),
        (Answer(status=429, retry_after=1, work_not_started=True), 5),
        (Answer(status=503, retry_after=1, work_not_started=True), 14),
        (Answer(status=503), 14),
    ],
)
def test_who_was_shed_pays_for_a_retry_as_after_a_failure(
    answer: Answer, price: int
) -> None:
    play = Play(budget=RetryBudget())
    next(play.flow)
    assert isinstance(play.flow.send(Reply(1, answer, 1)), Wait)
    assert tokens(play) == 500 - price
