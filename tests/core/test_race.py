"""A send and another beside it, played by hand: which is kept, and what both tell."""

from typing import Any

import pytest

from resilient_http._core.breaker import Mode
from resilient_http._core.origin import Origin
from resilient_http._core.steps import (
    Discard,
    Done,
    Drop,
    Ended,
    Expired,
    Failure,
    Late,
    Pending,
    Reply,
    Send,
    Stay,
    Wait,
    Woke,
)
from resilient_http._core.steps import Hedge as HedgeCommand
from resilient_http._core.verdict import Answer, Fault, Request
from resilient_http.events import Expired as ExpiredEvent
from resilient_http.events import NotHedged, NotRetried, RetryScheduled
from resilient_http.policy import (
    ConcurrencyLimit,
    Hedge,
    RetryBudget,
    RetryConfig,
    Throttle,
)
from tests.core.play import CUT, Play, breaker, reply

ADAPTIVE = ConcurrencyLimit(limit=8, adaptive="aimd")
HEDGED: dict[str, Any] = {
    "hedge": Hedge(delay=1.0),
    "request": Request(idempotent=True, hedgeable=True),
}


def race(**options: Any) -> Play:
    """Return a hop with two copies out since 0 and 1."""
    config = {"breaker": breaker(), "concurrency": ConcurrencyLimit(limit=2)}
    play = Play(**{**config, **HEDGED, **options})
    assert next(play.flow) == Send(1.0)
    assert play.flow.send(Pending(1)) == HedgeCommand()
    return play


def counted(play: Play, now: float) -> tuple[int, int, int]:
    known = play.breaker.snapshot(now)
    return known.calls, known.failures, known.in_flight


def in_flight(play: Play) -> int:
    assert play.origin.limiter is not None
    return play.origin.limiter.snapshot().in_flight


def tokens(play: Play) -> float:
    assert play.origin.budget is not None
    return play.origin.budget.tokens


def late(now: float, copy: int) -> Expired:
    return Expired(now, copy=copy)


def cut(now: float, copy: int) -> Failure:
    return Failure(now, CUT, copy=copy)


# Whether there is a second.


@pytest.mark.parametrize(
    "options",
    [
        {"nested": True},
        {"request": Request(idempotent=True, hedgeable=False)},
        {"hedge": None},
        {"hedge": Hedge()},
    ],
)
def test_there_is_none_where_nobody_asks_or_it_could_do_harm(
    options: dict[str, Any],
) -> None:
    play = Play(**{**HEDGED, **options})
    assert next(play.flow) == Send()
    assert play.end(reply(1, 200)) == Done()


def test_there_is_none_where_the_first_is_answered_in_time() -> None:
    play = Play(breaker=breaker(), budget=RetryBudget(), **HEDGED)
    assert next(play.flow) == Send(1.0)
    assert play.end(reply(1, 200)) == Done()
    assert counted(play, 1) == (1, 0, 0)
    assert tokens(play) == 500


def test_the_first_may_fail_in_time_and_is_then_tried_again() -> None:
    play = Play(breaker=breaker(), **HEDGED)
    assert next(play.flow) == Send(1.0)
    assert play.flow.send(Failure(0.5, CUT)) == Wait(1)
    assert play.flow.send(Woke(1.5)) == Send(1.0)


def test_when_a_second_goes_is_learned_from_what_answers_took() -> None:
    options = {**HEDGED, "hedge": Hedge()}
    origin = Origin()
    for _ in range(20):
        play = Play(origin, **options)
        assert next(play.flow) == Send()
        assert play.end(Reply(1, Answer(status=200), seconds=0.5)) == Done()
    assert next(Play(origin, now=1, **options).flow) == Send(0.5)


@pytest.mark.parametrize("by", ["breaker", "concurrency"])
def test_who_is_not_let_through_stays_alone(by: str) -> None:
    limit = ConcurrencyLimit(limit=1 if by == "concurrency" else 2)
    full = RetryBudget()
    play = Play(breaker=breaker(), concurrency=limit, budget=full, **HEDGED)
    next(play.flow)
    if by == "breaker":
        play.breaker.force(Mode.FORCED_OPEN)
    assert play.flow.send(Pending(1)) == Stay()
    reason = "breaker_open" if by == "breaker" else "no_place"
    assert [event.reason for event in play.events(NotHedged)] == [reason]
    assert tokens(play) == 500
    assert play.end(reply(2, 200)) == Done()
    assert in_flight(play) == 0


def test_who_cannot_pay_stays_alone_and_says_so() -> None:
    play = Play(budget=RetryBudget(capacity=13), **HEDGED)
    next(play.flow)
    assert play.flow.send(Pending(1)) == Stay()
    assert [event.reason for event in play.events(NotHedged)] == ["budget_spent"]


def test_where_no_call_is_tried_again_one_may_be_hedged() -> None:
    play = race(retry=None)
    assert play.flow.send(reply(2, 200, copy=1)) == Drop(1)
    assert play.end(Woke(2)) == Done()


def test_the_last_of_the_sends_may_be_a_hedge() -> None:
    play = race(retry=RetryConfig(max_attempts=2))
    assert play.flow.send(cut(2, 0)) == Stay()
    assert play.flow.send(cut(3, 1)) == Drop(0)
    assert play.end(Woke(3)) == Done(is_final=True)
    assert [event.attempts for event in play.events(NotRetried)] == [2]


# Which is kept.


@pytest.mark.parametrize("copy", [0, 1])
@pytest.mark.parametrize("status", [200, 302, 404])
def test_the_first_good_answer_wins_and_the_other_counts_for_nothing(
    status: int, copy: int
) -> None:
    play = race(budget=RetryBudget(capacity=100))
    assert tokens(play) == 86
    assert play.flow.send(reply(2, status, copy=copy)) == Drop(copy)
    assert in_flight(play) == 2  # until the other is closed
    assert play.end(Woke(2.5)) == Done()
    assert counted(play, 3) == ((1 if status < 400 else 0), 0, 0)
    assert in_flight(play) == 0
    assert tokens(play) == (100 if status < 400 else 86)


@pytest.mark.parametrize("copy", [0, 1])
@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_bad_answer_waits_for_the_other_which_may_be_better(
    status: int, copy: int
) -> None:
    play = race()
    assert play.flow.send(reply(2, status, copy=copy)) == Stay()
    assert in_flight(play) == 2
    assert play.flow.send(reply(3, 200, copy=1 - copy)) == Drop(1 - copy)
    failures = int(status >= 500)
    assert counted(play, 3) == (failures, failures, 1)
    assert in_flight(play) == 1
    assert play.end(Woke(3)) == Done()
    assert counted(play, 3) == (failures + 1, failures, 0)
    assert in_flight(play) == 0
    assert play.breaker.snapshot(3).failed_in_row == 0


@pytest.mark.parametrize("copy", [0, 1])
def test_if_both_fail_the_first_that_did_is_kept_and_both_count(copy: int) -> None:
    play = race(budget=RetryBudget(capacity=100))
    assert play.flow.send(reply(2, 503, wait=3, copy=copy)) == Stay()
    assert play.flow.send(cut(5, 1 - copy)) == Drop(copy)
    assert counted(play, 5) == (1, 1, 1)
    wait = play.flow.send(Woke(5))
    assert isinstance(wait, Wait)
    assert wait.delay == pytest.approx(3.3)  # as that one said
    assert counted(play, 5) == (2, 2, 0)
    assert in_flight(play) == 0
    (event,) = play.events(RetryScheduled)
    assert (event.attempt, event.delay) == (3, wait.delay)
    assert tokens(play) == 100 - 14 - 5


@pytest.mark.parametrize("copy", [0, 1])
def test_what_either_asks_for_keeps_the_breaker_open(copy: int) -> None:
    play = race(breaker=breaker(minimum_calls=1))
    assert play.flow.send(cut(2, 1 - copy)) == Stay()
    assert play.flow.send(reply(3, 503, wait=60, copy=copy)) == Drop(1 - copy)
    assert play.breaker.state == "open"
    assert play.breaker.retry_after(3) == 60
    assert play.end(Woke(3)) == Done(is_final=True)
    assert play.breaker.retry_after(3) == 60


def test_the_wait_after_a_race_begins_where_it_ended() -> None:
    play = race(deadline=7)
    assert play.flow.send(cut(2, 0)) == Stay()
    assert play.flow.send(cut(4, 1)) == Drop(0)
    # A wait of two seconds would have been over in time before what follows.
    assert play.end(Woke(5)) == Done(is_final=True)
    assert [event.reason for event in play.events(NotRetried)] == ["no_time"]


@pytest.mark.parametrize("copy", [0, 1])
def test_a_deadline_ends_a_race(copy: int) -> None:
    play = race()
    assert play.flow.send(late(30, copy)) == Drop(copy)
    assert play.end(Woke(30)) == Late()
    assert [event.attempts for event in play.events(ExpiredEvent)] == [2]
    assert counted(play, 30) == (1, 1, 0)
    assert in_flight(play) == 0


@pytest.mark.parametrize("copy", [0, 1])
def test_a_deadline_ends_a_race_of_which_one_has_failed(copy: int) -> None:
    play = race()
    assert play.flow.send(reply(29, 503, copy=copy)) == Stay()
    assert play.flow.send(late(30, 1 - copy)) == Drop(1 - copy)
    assert play.end(Woke(30)) == Late()
    assert [event.attempts for event in play.events(ExpiredEvent)] == [2]
    assert counted(play, 30) == (2, 2, 0)
    assert play.breaker.snapshot(30).failed_in_row == 1
    assert in_flight(play) == 0


# What is made of the other.


@pytest.mark.parametrize(
    ("ending", "limit"),
    [(reply(2, 503), 4), (cut(2, 0), 4), (reply(2, 500), 8), (reply(2, 200), 8)],
)
def test_a_slot_goes_back_with_what_its_own_send_told(
    ending: Ended, limit: int
) -> None:
    play = race(concurrency=ADAPTIVE)
    assert play.origin.limiter is not None
    command = play.flow.send(ending)
    if command == Stay():
        assert play.flow.send(reply(3, 200, copy=1)) == Drop(1)
    assert play.end(Woke(3)) == Done()
    assert play.origin.limiter.limit == limit


def test_both_tell_how_busy_the_origin_seems() -> None:
    play = race(throttle=Throttle(k=1))
    throttler = play.origin.throttler
    assert throttler is not None
    assert play.flow.send(reply(2, 503, copy=1)) == Stay()
    assert play.flow.send(reply(3, 200)) == Drop(0)
    assert throttler.share_held_back(3) == 1 / 2
    assert play.end(Woke(3)) == Done()
    assert throttler.share_held_back(3) == 1 / 3


def test_how_long_either_took_is_learned() -> None:
    options = {**HEDGED, "hedge": Hedge(quantile=0.5), "origin": Origin()}
    latencies = Play(**options).origin.latencies
    assert latencies is not None
    for _ in range(20):
        latencies.record(1.0, 0)
    for _ in range(15):
        play = Play(**options)
        assert isinstance(next(play.flow), Send)
        assert play.flow.send(Pending(1)) == HedgeCommand()
        bad = Reply(2, Answer(status=408), seconds=3.0)
        assert play.flow.send(bad) == Stay()
        good = Reply(3, Answer(status=200), seconds=7.0, copy=1)
        assert play.flow.send(good) == Drop(1)
        assert play.end(Woke(3)) == Done()
    assert latencies.estimate(3) == 3.0  # of 20 of 1, 15 of 3 and 15 of 7


def test_a_race_that_is_cancelled_counts_nothing() -> None:
    play = race()
    play.flow.close()
    assert counted(play, 1) == (0, 0, 0)
    assert in_flight(play) == 0
    play = race()
    assert play.flow.send(reply(2, 503)) == Stay()
    play.flow.close()
    assert counted(play, 2) == (0, 0, 0)
    assert in_flight(play) == 0
    play = race()
    assert play.flow.send(reply(2, 200)) == Drop(0)
    play.flow.close()
    assert counted(play, 2) == (0, 0, 0)
    assert in_flight(play) == 0


def test_an_unread_winner_is_kept_with_what_is_its_own() -> None:
    play = race(budget=RetryBudget(capacity=100))
    answer = Reply(2, Answer(status=200), unread=True, copy=1)
    assert play.flow.send(answer) == Drop(1)
    ending = play.end(Woke(2))
    assert isinstance(ending, Done)
    assert ending.passed is not None
    assert ending.passed.permit is not None
    assert ending.passed.permit.admitted_at == 1
    assert (counted(play, 2), in_flight(play)) == ((0, 0, 1), 1)
    assert tokens(play) == 100


def test_an_unread_answer_of_a_race_that_both_lost_is_closed() -> None:
    play = race()
    answer = Reply(2, Answer(status=503), unread=True, copy=1)
    assert play.flow.send(answer) == Stay()
    assert play.flow.send(cut(3, 0)) == Drop(1)
    assert play.flow.send(Woke(3)) == Discard()
    assert in_flight(play) == 1
    assert play.flow.send(Woke(3)) == Wait(2)
    assert in_flight(play) == 0


def test_a_race_may_be_run_again() -> None:
    play = race(retry=RetryConfig(max_attempts=4, base_delay=1, max_delay=8))
    assert play.flow.send(cut(2, 0)) == Stay()
    assert play.flow.send(Failure(3, Fault(retryable=True), copy=1)) == Drop(0)
    assert play.flow.send(Woke(3)) == Wait(2)
    assert play.flow.send(Woke(5)) == Send(1.0)
    assert play.flow.send(Pending(6)) == HedgeCommand()
    assert (counted(play, 6), in_flight(play)) == ((2, 2, 2), 2)
    assert play.flow.send(reply(7, 200, copy=1)) == Drop(1)
    assert play.end(Woke(7)) == Done()
    assert (counted(play, 7), in_flight(play)) == ((3, 2, 0), 0)
