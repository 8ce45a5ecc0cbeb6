"""What a hop tells of itself, and whether whoever is around it may try again."""

from dataclasses import asdict
from random import Random
from typing import Any

import pytest

from resilient_http._core.breaker import Mode, Refusal
from resilient_http._core.hop import Plan
from resilient_http._core.lane import HeldBack, Lane, TooSoon
from resilient_http._core.limits import Limits
from resilient_http._core.origin import Origin
from resilient_http._core.pacer import Pacer
from resilient_http._core.steps import (
    Done,
    Expired,
    Failure,
    Flow,
    Hedge,
    Late,
    NoPlace,
    Pending,
    Queue,
    Reply,
    Send,
    Stay,
    Wait,
    Woke,
)
from resilient_http._core.verdict import Answer, Fault, Request
from resilient_http.events import Event
from resilient_http.policy import (
    ConcurrencyLimit,
    Policy,
    RateLimit,
    RetryBudget,
    RetryConfig,
    Throttle,
)
from resilient_http.policy import Hedge as HedgeConfig
from tests.core.play import BARE, CUT, LongestWait, Play, breaker, fail, reply

FINAL = Fault(retryable=False)
POST = Request(idempotent=False)


def told(play: Play) -> list[tuple[str, dict[str, Any]]]:
    """Return what the hop told since it was last asked: kinds, and their own fields."""
    return [(type(event).__name__, fields(event)) for event in play.trail.take()]


def fields(event: Event) -> dict[str, Any]:
    known = asdict(event)
    assert (known.pop("origin"), known.pop("method")) == ("http://a:80", "GET")
    return known


def not_retried(attempts: int, reason: str) -> list[tuple[str, dict[str, Any]]]:
    return [("NotRetried", {"attempts": attempts, "reason": reason})]


def retry(attempt: int, delay: float, reason: str) -> list[tuple[str, dict[str, Any]]]:
    told = {"attempt": attempt, "delay": delay, "reason": reason}
    return [("RetryScheduled", told)]


def refused(part: str, wait: float | None) -> list[tuple[str, dict[str, Any]]]:
    return [("Refused", {"part": part, "retry_after": wait})]


# Before a send.


def test_a_call_that_goes_well_has_nothing_to_tell() -> None:
    play = Play(breaker=breaker(), budget=RetryBudget(), rate_limit=RateLimit(1, 1.0))
    assert next(play.flow) == Send()
    assert play.end(reply(1, 200)) == Done()
    assert told(play) == []


@pytest.mark.parametrize("gap", [0.5, 10.0])
def test_a_wait_for_a_turn_is_told_once_and_with_its_length(gap: float) -> None:
    limit = RateLimit(1, gap)
    origin = Origin()
    next(Play(origin, rate_limit=limit).flow)
    play = Play(origin, rate_limit=limit)
    assert next(play.flow) == Wait(gap)
    assert play.flow.send(Woke(gap)) == Send()
    assert told(play) == [("Waiting", {"part": "rate_limit", "seconds": gap})]


def test_who_waits_in_the_servers_line_asks_again_on_the_way() -> None:
    pacer = Pacer()
    pacer.announce(99, 60, 0, (100, 60))
    pacer.announce(10, 60, 10, (100, 60))
    for _ in range(3):
        pacer.reserve(10, LongestWait())
    play = Play(now=10, deadline=1_000, pacer=pacer)
    wait = next(play.flow)
    assert isinstance(wait, Wait)
    ((kind, event),) = told(play)
    assert (kind, event["part"]) == ("Waiting", "rate_limit")
    assert wait.delay == event["seconds"] / 2
    nap = play.flow.send(Woke(20))
    assert isinstance(nap, Wait)
    assert wait.delay / 2 < nap.delay < wait.delay
    assert play.flow.send(Woke(200)) == Send()
    assert told(play) == []


def test_who_could_not_be_home_in_time_does_not_wait_on() -> None:
    pacer = Pacer()
    pacer.announce(99, 60, 0, (100, 60))
    pacer.announce(10, 60, 10, (100, 60))
    play = Play(now=10, deadline=45, pacer=pacer)
    assert isinstance(next(play.flow), Wait)
    pacer.announce(0, 60, 11, (100, 60))
    assert play.flow.send(Woke(11)) == Send()


def test_who_comes_too_soon_is_refused_by_name() -> None:
    limit = RateLimit(1, 10.0, mode="reject")
    play = Play(rate_limit=limit)
    next(play.flow)
    play = Play(play.origin, rate_limit=limit)
    assert play.end() == TooSoon(10)
    assert told(play) == refused("rate_limit", 10)
    pacer = Pacer()
    pacer.hold(7, 0)
    play = Play(pacer=pacer, rate_limit=limit)
    assert play.end() == TooSoon(7, is_ours=False)
    assert told(play) == refused("server", 7)


def test_who_is_held_back_gives_its_turn_to_the_next() -> None:
    config: dict[str, Any] = {
        "throttle": Throttle(k=1),
        "rate_limit": RateLimit(1, 10.0),
    }
    play = Play(**config)
    throttler, bucket = play.origin.throttler, play.origin.bucket
    assert throttler is not None
    assert bucket is not None
    for _ in range(9):
        throttler.note(accepted=False, now=0)
    assert play.end() == HeldBack(0.75)
    assert told(play) == refused("throttle", None)
    assert bucket.wait(0) == 0
    config["deadline"] = 100
    play = Play(play.origin, now=20, **config)  # when that is forgotten
    assert next(play.flow) == Send()
    play = Play(play.origin, now=20, **config)
    assert next(play.flow) == Wait(10)
    for _ in range(9):
        throttler.note(accepted=False, now=30)
    assert isinstance(play.end(Woke(30)), HeldBack)
    assert bucket.wait(30) == 0


@pytest.mark.parametrize("why", ["cancelled", "held back", "full", "queued"])
def test_a_turn_goes_to_the_next_though_others_wait_behind_it(why: str) -> None:
    config: dict[str, Any] = {
        "deadline": 100,
        "rate_limit": RateLimit(1, 10.0),
        "concurrency": ConcurrencyLimit(limit=1, queue=int(why == "queued")),
        "throttle": Throttle(k=1),
    }
    busy = Play(**config)
    assert next(busy.flow) == Send()
    play = Play(busy.origin, **config)
    assert next(play.flow) == Wait(10)
    behind = Play(busy.origin, **config)
    assert next(behind.flow) == Wait(20)
    if why == "cancelled":
        play.flow.close()
    elif why == "held back":
        assert play.origin.throttler is not None
        for _ in range(9):
            play.origin.throttler.note(accepted=False, now=10)
        assert isinstance(play.end(Woke(10)), HeldBack)
    elif why == "full":
        assert play.end(Woke(10)) == NoPlace()
    else:
        assert isinstance(play.flow.send(Woke(10)), Queue)
        play.flow.close()
    assert play.origin.bucket is not None
    assert play.origin.bucket.wait(10) == 0
    assert play.origin.bucket.wait(11) == 19


def test_whom_the_breaker_refuses_is_told_for_how_long() -> None:
    origin = Origin()
    fail(origin, 2, breaker())
    play = Play(origin, breaker=breaker())
    ending = play.end()
    assert isinstance(ending, Refusal)
    assert ending.retry_after >= 5
    assert told(play) == refused("breaker", ending.retry_after)


def test_who_finds_no_place_is_refused_and_gives_its_turn_back() -> None:
    config: dict[str, Any] = {
        "concurrency": ConcurrencyLimit(limit=1),
        "rate_limit": RateLimit(2, 10.0),
    }
    busy = Play(**config)
    assert next(busy.flow) == Send()
    origin = busy.origin
    play = Play(origin, **config)
    assert play.end() == NoPlace()
    assert told(play) == refused("concurrency", None)
    assert origin.bucket is not None
    assert origin.bucket.wait(0) == 0


def test_who_waits_for_a_place_says_so_and_may_be_cancelled() -> None:
    config: dict[str, Any] = {"concurrency": ConcurrencyLimit(limit=1, queue=1)}
    busy = Play(**config)
    assert next(busy.flow) == Send()
    origin = busy.origin
    play = Play(origin, **config)
    assert isinstance(next(play.flow), Queue)
    assert told(play) == [("Waiting", {"part": "concurrency", "seconds": None})]
    play.flow.close()
    assert origin.limiter is not None
    assert origin.limiter.snapshot().waiting == 0


def test_who_waits_for_a_place_is_woken_and_goes_with_it() -> None:
    config: dict[str, Any] = {"concurrency": ConcurrencyLimit(limit=1, queue=1)}
    origin = Origin()
    busy = Play(origin, **config)
    next(busy.flow)
    woken: list[int] = []
    play = Play(origin, wake=lambda: woken.append(1), **config)
    queue = next(play.flow)
    assert isinstance(queue, Queue)
    assert busy.end(reply(1, 200)) == Done()
    assert origin.limiter is not None
    assert origin.limiter.hand_over(1) is queue.ticket
    queue.ticket.wake()
    assert woken == [1]
    assert play.flow.send(Woke(1)) == Send()
    assert origin.limiter.snapshot().in_flight == 1
    assert play.end(reply(2, 200)) == Done()
    assert origin.limiter.snapshot().in_flight == 0


@pytest.mark.parametrize("now", [5, 6])
def test_a_place_that_comes_as_time_is_over_goes_to_the_next(now: float) -> None:
    config: dict[str, Any] = {"concurrency": ConcurrencyLimit(limit=1, queue=1)}
    origin = Origin()
    busy = Play(origin, **config)
    next(busy.flow)
    play = Play(origin, deadline=5, **config)
    assert isinstance(next(play.flow), Queue)
    assert busy.end(reply(now, 200)) == Done()
    assert origin.limiter is not None
    origin.limiter.hand_over(now)
    assert play.end(Woke(now)) == Late()
    assert [kind for kind, _ in told(play)] == ["Waiting", "Expired"]
    assert origin.limiter.snapshot().in_flight == 0


def test_a_place_that_never_comes_is_not_waited_for_any_more() -> None:
    config: dict[str, Any] = {"concurrency": ConcurrencyLimit(limit=1, queue=1)}
    busy = Play(**config)
    assert next(busy.flow) == Send()
    origin = busy.origin
    play = Play(origin, **config)
    assert isinstance(next(play.flow), Queue)
    assert play.end(Woke(3)) == Late()
    assert origin.limiter is not None
    assert origin.limiter.snapshot().waiting == 0


# After a send.


def test_a_retry_is_told_with_its_number_its_wait_and_why_it_is_safe() -> None:
    play = Play()
    next(play.flow)
    assert play.flow.send(Failure(1, CUT)) == Wait(1)
    assert told(play) == retry(2, 1, "idempotent")
    play.flow.send(Woke(2))
    assert play.flow.send(Failure(3, Fault(retryable=True, nothing_sent=True))) == Wait(
        2
    )
    assert told(play) == retry(3, 2, "nothing_sent")
    play.flow.send(Woke(5))
    assert play.end(Failure(6, CUT)) == Done(is_final=True)
    assert told(play) == not_retried(3, "attempts_spent")


@pytest.mark.parametrize(
    ("seen", "delay"),
    [
        (reply(1, 500), 0.1),
        (reply(1, 429), 1),
        (reply(1, 429, wait=3), 3.3),
        (Failure(1, CUT), 0.1),
    ],
)
def test_what_was_throttled_is_left_alone_for_longer(
    seen: Reply | Failure, delay: float
) -> None:
    play = Play(retry=RetryConfig(base_delay=0.1, max_delay=8))
    next(play.flow)
    wait = play.flow.send(seen)
    assert isinstance(wait, Wait)
    assert wait.delay == pytest.approx(delay)
    assert told(play) == retry(2, wait.delay, "idempotent")


def test_a_retry_waits_as_long_as_the_server_announced() -> None:
    pacer = Pacer()
    play = Play(pacer=pacer)
    next(play.flow)
    pacer.hold(10, 1)
    assert play.flow.send(Failure(1, CUT)) == Wait(11)


@pytest.mark.parametrize(("deadline", "ending"), [(2, Done()), (2.1, None)])
def test_a_wait_has_to_end_before_the_deadline(
    deadline: float, ending: Done | None
) -> None:
    play = Play(deadline=deadline)
    next(play.flow)
    if ending is None:
        assert play.flow.send(Failure(1, CUT)) == Wait(1)
    else:
        assert play.end(Failure(1, CUT)) == ending
        assert told(play) == not_retried(1, "no_time")


@pytest.mark.parametrize(
    ("options", "seen", "reason"),
    [
        ({"retry": None}, Failure(1, CUT), "switched_off"),
        ({"nested": True}, Failure(1, CUT), "nested"),
        ({}, Failure(1, FINAL), "final"),
        ({}, reply(1, 404), "final"),
        ({"request": POST}, Failure(1, CUT), "not_idempotent"),
        ({}, reply(1, 503, wait=11), "wait_too_long"),
    ],
)
def test_who_might_have_been_tried_again_may_be_by_others(
    options: dict[str, Any], seen: Reply | Failure, reason: str
) -> None:
    play = Play(**options)
    next(play.flow)
    assert play.end(seen) == Done()
    assert told(play) == not_retried(1, reason)


@pytest.mark.parametrize(
    ("seen", "reason", "is_final"),
    [
        (reply(3, 404), "final", False),
        (Failure(3, FINAL), "final", False),
        (reply(3, 503, wait=11), "wait_too_long", True),
        (reply(3, 503, wait=10), "no_time", True),
    ],
)
def test_who_has_tried_and_may_no_more_says_so(
    seen: Reply | Failure, reason: str, *, is_final: bool
) -> None:
    play = Play(deadline=13)
    next(play.flow)
    play.flow.send(Failure(1, CUT))
    play.flow.send(Woke(2))
    told(play)
    assert play.end(seen) == Done(is_final=is_final)
    assert told(play) == not_retried(2, reason)


def test_a_retry_that_cannot_be_paid_for_may_not_be_made_by_others() -> None:
    play = Play(budget=RetryBudget(capacity=13), breaker=breaker())
    next(play.flow)
    assert play.end(Failure(1, CUT)) == Done(is_final=True)
    assert told(play) == not_retried(1, "budget_spent")
    known = play.breaker.snapshot(1)
    assert (known.calls, known.failures, known.in_flight) == (1, 1, 0)
    assert known.failed_in_row == 1


def test_nor_one_that_the_breaker_would_refuse() -> None:
    play = Play(breaker=breaker(minimum_calls=1))
    next(play.flow)
    assert play.end(Failure(1, CUT)) == Done(is_final=True)
    assert told(play) == not_retried(1, "breaker_open")


@pytest.mark.parametrize("by", ["breaker", "concurrency"])
def test_a_retry_that_is_refused_ends_the_call_as_it_stood(by: str) -> None:
    config: dict[str, Any] = {
        "concurrency": ConcurrencyLimit(limit=1),
        "breaker": breaker(),
        "rate_limit": RateLimit(1, 100.0),
    }
    play = Play(**config)
    next(play.flow)
    play.flow.send(Failure(1, CUT))
    told(play)
    if by == "breaker":
        play.breaker.force(Mode.FORCED_OPEN)
    else:
        assert play.origin.limiter is not None
        assert play.origin.limiter.acquire(1) is not None
    assert play.end(Woke(2)) == Done(is_final=True)
    reason = "breaker_open" if by == "breaker" else "no_place"
    assert told(play) == not_retried(1, reason)
    assert play.origin.bucket is not None
    assert play.origin.bucket.wait(2) == 98  # its turn was used


@pytest.mark.parametrize("how", ["late", "cancelled"])
def test_a_retry_that_waits_for_a_place_has_used_its_turn(how: str) -> None:
    config: dict[str, Any] = {
        "concurrency": ConcurrencyLimit(limit=1, queue=1),
        "rate_limit": RateLimit(1, 100.0),
    }
    play = Play(**config)
    next(play.flow)
    play.flow.send(Failure(1, CUT))
    limiter, bucket = play.origin.limiter, play.origin.bucket
    assert limiter is not None
    assert bucket is not None
    limiter.acquire(1)
    assert isinstance(play.flow.send(Woke(2)), Queue)
    told(play)
    if how == "cancelled":
        play.flow.close()
    else:
        assert play.end(Woke(30)) == Late()
        assert told(play) == [("Expired", {"attempts": 1})]
    assert limiter.snapshot().waiting == 0
    assert bucket.wait(2) == 98


def test_a_deadline_that_has_passed_is_told_with_what_was_sent() -> None:
    play = Play(now=5, deadline=5)
    assert play.end() == Late()
    assert told(play) == [("Expired", {"attempts": 0})]
    play = Play(deadline=5)
    next(play.flow)
    assert play.end(Expired(5)) == Late()
    assert told(play) == [("Expired", {"attempts": 1})]
    play = Play(deadline=5)
    next(play.flow)
    play.flow.send(Failure(1, CUT))
    told(play)
    assert play.end(Woke(5)) == Late()
    assert told(play) == [("Expired", {"attempts": 1})]


@pytest.mark.parametrize("stalled", [False, True])
def test_who_is_late_has_failed_unless_we_slept_through_it(*, stalled: bool) -> None:
    limit = ConcurrencyLimit(limit=8, adaptive="aimd")
    play = Play(breaker=breaker(), concurrency=limit)
    next(play.flow)
    assert play.end(Expired(30, stalled=stalled)) == Late()
    known = play.breaker.snapshot(30)
    failed = 0 if stalled else 1
    assert (known.calls, known.failures) == (failed, failed)
    assert (known.failed_in_row, known.in_flight) == (failed, 0)
    assert play.origin.limiter is not None
    assert play.origin.limiter.snapshot().in_flight == 0
    assert play.origin.limiter.limit == (8 if stalled else 4)


def test_a_failure_counts_from_when_it_was() -> None:
    play = Play(now=100, deadline=200, breaker=breaker(), retry=None)
    next(play.flow)
    assert play.end(Failure(150, CUT)) == Done()
    assert play.breaker.snapshot(179).failures == 1
    assert play.breaker.snapshot(181).failures == 0


# A success that its policy takes for a failure.

CREATED = RetryConfig(max_attempts=2, base_delay=1, statuses={201})


def test_a_success_that_was_to_be_tried_again_is_no_failed_call() -> None:
    full = RetryBudget(capacity=100)
    play = Play(retry=CREATED, budget=full, breaker=breaker())
    next(play.flow)
    assert play.flow.send(reply(1, 201)) == Wait(1)
    assert told(play) == retry(2, 1, "idempotent")
    assert play.origin.budget is not None
    assert play.origin.budget.tokens == 86
    play.flow.send(Woke(2))
    assert play.end(reply(3, 201)) == Done(is_final=True)
    assert told(play) == []
    assert play.origin.budget.tokens == 100
    known = play.breaker.snapshot(3)
    assert (known.calls, known.failures, known.failed_in_row) == (2, 0, 0)


def test_such_a_success_ends_a_row_of_failures() -> None:
    play = Play(retry=CREATED, breaker=breaker(), request=POST)
    next(play.flow)
    assert play.end(Failure(1, CUT)) == Done()
    assert play.breaker.snapshot(1).failed_in_row == 1
    play = Play(play.origin, retry=CREATED, breaker=breaker(), request=POST)
    next(play.flow)
    assert play.end(reply(2, 201)) == Done()
    assert play.breaker.snapshot(2).failed_in_row == 0


# Of a body that is the caller's to read.


def unread(now: float, status: int, wait: float | None = None) -> Reply:
    return Reply(now, Answer(status=status, retry_after=wait), unread=True)


@pytest.mark.parametrize(
    ("status", "failures", "out"), [(201, 0, 1), (404, 0, 1), (503, 1, 0)]
)
def test_an_unread_answer_that_is_kept_keeps_its_slot(
    status: int, failures: int, out: int
) -> None:
    limit = ConcurrencyLimit(limit=8, adaptive="aimd")
    play = Play(retry=CREATED, request=POST, breaker=breaker(), concurrency=limit)
    next(play.flow)
    ending = play.end(unread(1, status))
    assert isinstance(ending, Done)
    assert not ending.is_final
    assert ending.passed is not None
    assert ending.passed.slot is not None
    known = play.breaker.snapshot(1)
    assert (known.calls, known.failures, known.in_flight) == (failures, failures, out)
    assert known.failed_in_row == failures
    assert play.origin.limiter is not None
    assert play.origin.limiter.snapshot().in_flight == 1
    assert play.origin.limiter.limit == 8
    assert told(play) == (not_retried(1, "final") if status > 400 else [])


@pytest.mark.parametrize(
    ("status", "options"), [(200, {}), (201, {"retry": CREATED, "request": POST})]
)
def test_what_succeeds_with_its_head_earns_with_its_head(
    status: int, options: dict[str, Any]
) -> None:
    play = Play(budget=RetryBudget(capacity=100), **options)
    assert play.origin.budget is not None
    play.origin.budget.spend()
    next(play.flow)
    play.end(unread(1, status))
    assert play.origin.budget.tokens == 87
    assert told(play) == []


def test_an_unread_answer_whose_retry_is_barred_is_kept() -> None:
    limit = ConcurrencyLimit(limit=1)
    play = Play(budget=RetryBudget(capacity=4), breaker=breaker(), concurrency=limit)
    next(play.flow)
    ending = play.end(unread(1, 429))
    assert isinstance(ending, Done)
    assert ending.is_final
    assert ending.passed is not None
    assert ending.passed.permit is None
    assert ending.passed.slot is not None
    assert told(play) == not_retried(1, "budget_spent")


def test_a_slot_of_an_unread_answer_goes_back_with_what_its_head_told() -> None:
    limit = ConcurrencyLimit(limit=8, adaptive="aimd")
    play = Play(concurrency=limit)
    next(play.flow)
    play.flow.send(unread(1, 503))
    assert play.flow.send(Woke(1)) == Wait(1)
    assert play.origin.limiter is not None
    assert play.origin.limiter.limit == 4


# What nobody need know.


def plain(origin: Origin, *, facts: Any = None, **policy: Any) -> Flow:
    """Return a hop of which nobody wants to be told."""
    asked = Policy(**{**BARE, **policy})
    origin.equip(asked, Random(1))
    return Plan(
        facts=facts or (lambda: Request(idempotent=True, hedgeable=True)),
        retry=asked.retry,
        lane=Lane(origin, asked, None, is_new_call=True),
        limits=Limits(0, deadline=30, attempt=10, longest_phase=0),
        rng=LongestWait(),
        wake=print,
    ).run(0)


def ending_of(flow: Flow, seen: Any) -> Any:
    with pytest.raises(StopIteration) as stopped:
        flow.send(seen)
    return stopped.value.value


def test_a_hop_goes_the_same_way_when_nobody_listens() -> None:
    flow = plain(Origin(), budget=RetryBudget(capacity=14))
    assert next(flow) == Send()
    assert flow.send(Failure(1, CUT)) == Wait(1)
    assert flow.send(Woke(2)) == Send()
    assert ending_of(flow, Failure(3, CUT)) == Done(is_final=True)
    flow = plain(Origin())
    next(flow)
    assert ending_of(flow, Expired(30)) == Late()


def test_who_waits_or_is_refused_when_nobody_listens_does_so_all_the_same() -> None:
    origin = Origin()
    config: dict[str, Any] = {
        "rate_limit": RateLimit(2, 2.0),
        "concurrency": ConcurrencyLimit(limit=1, queue=1),
    }
    busy = plain(origin, **config)
    assert next(busy) == Send()
    queued = plain(origin, **config)
    assert isinstance(next(queued), Queue)
    turned = plain(origin, **config)
    assert next(turned) == Wait(1)
    assert ending_of(turned, Woke(1)) == NoPlace()


def test_a_hop_may_be_hedged_when_nobody_listens() -> None:
    flow = plain(Origin(), hedge=HedgeConfig(delay=1.0))
    assert next(flow) == Send(1.0)
    assert flow.send(Pending(1)) == Hedge()
    once = RetryConfig(max_attempts=1)
    flow = plain(Origin(), hedge=HedgeConfig(delay=1.0), retry=once)
    assert next(flow) == Send(1.0)
    assert flow.send(Pending(1)) == Stay()


@pytest.mark.parametrize(
    ("options", "seen"),
    [({}, reply(1, 200)), ({"retry": None}, Failure(1, CUT))],
)
def test_what_a_request_is_like_is_asked_only_where_it_matters(
    options: dict[str, Any], seen: Reply | Failure
) -> None:
    def facts() -> Request:
        raise AssertionError("nobody need know")

    flow = plain(Origin(), facts=facts, **options)
    assert next(flow) == Send()
    assert ending_of(flow, seen) == Done()
