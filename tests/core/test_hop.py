"""A hop played by hand: what it asks for, given what it was told."""

from random import Random

import pytest

from resilient_http._core.breaker import Breaker, Refusal
from resilient_http._core.bucket import Bucket
from resilient_http._core.budget import Budget
from resilient_http._core.gates import Gate, Line, Purse, TooSoon
from resilient_http._core.hop import (
    Done,
    Ended,
    Ending,
    Expired,
    Failure,
    Flow,
    Late,
    Reply,
    Send,
    Wait,
    Woke,
    hop,
)
from resilient_http._core.limits import Limits
from resilient_http._core.verdict import Answer, Fault, Outcome, Request
from resilient_http.policy import BreakerConfig, RateLimit, RetryBudget, RetryConfig

RETRY = RetryConfig(max_attempts=3, base_delay=1, max_delay=8)
CUT = Fault(retryable=True)


class LongestWait(Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class Play:
    """A hop under way, the breaker it goes through, and its lines."""

    def __init__(  # noqa: PLR0913 - what a hop depends on, each by its name
        self,
        *,
        breaker: Breaker | None = None,
        budget: Budget | None = None,
        bucket: Bucket | None = None,
        may_wait: bool = True,
        deadline: float = 30,
        retry: RetryConfig | None = RETRY,
        idempotent: bool = True,
        now: float = 0,
    ) -> None:
        self.gate = Gate(breaker)
        self.flow: Flow = hop(
            request=Request(idempotent=idempotent),
            retry=retry,
            line=Line(bucket, may_wait=may_wait),
            gate=self.gate,
            purse=Purse(budget),
            limits=Limits(0, deadline=deadline, attempt=10, longest_phase=0),
            rng=LongestWait(),
            now=now,
        )

    def end(self, last: Ended | Woke | None = None) -> Ending:
        with pytest.raises(StopIteration) as stopped:
            self.flow.send(last)  # type: ignore[arg-type]  # None starts it
        ending: Ending = stopped.value.value
        return ending


def reply(now: float, status: int, wait: float | None = None) -> Reply:
    return Reply(now, Answer(status=status, retry_after=wait))


def breaker(**config: float) -> Breaker:
    known = {"failure_threshold": 2, "ramp": None, **config}
    return Breaker(BreakerConfig(**known), Random(1))  # type: ignore[arg-type]  # by name


def fail(dependency: Breaker, times: int, now: float = 0) -> None:
    for _ in range(times):
        play = Play(breaker=dependency, retry=None, now=now)
        assert next(play.flow) == Send()
        assert play.end(Failure(now, CUT)) == Done()


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
    assert play.end(reply(8, 503)) == Done()


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
    dependency = breaker()
    fail(dependency, 2)
    ending = Play(breaker=dependency).end()
    assert isinstance(ending, Refusal)
    assert ending.retry_after >= 5


@pytest.mark.case("C20")
def test_a_breaker_that_opens_ends_the_call_without_a_wait() -> None:
    dependency = breaker(minimum_calls=1)
    play = Play(breaker=dependency)
    next(play.flow)
    assert play.end(Failure(1, CUT)) == Done()
    assert dependency.state == "open"


def test_a_breaker_that_somebody_else_opened_meanwhile_ends_it_too() -> None:
    dependency = breaker()
    play = Play(breaker=dependency)
    next(play.flow)
    assert play.flow.send(Failure(1, CUT)) == Wait(1)
    fail(dependency, 2, now=1)
    assert play.end(Woke(2)) == Done()


def test_a_call_that_succeeds_in_the_end_is_no_failed_call() -> None:
    dependency = breaker(minimum_calls=100)
    for _ in range(5):
        play = Play(breaker=dependency)
        next(play.flow)
        play.flow.send(Failure(0, CUT))
        play.flow.send(Woke(0))
        assert play.end(reply(0, 200)) == Done()
    assert dependency.state == "closed"


@pytest.mark.case("C9", "C21")
def test_a_hop_that_is_closed_counts_nothing() -> None:
    dependency = breaker(minimum_calls=1)
    for _ in range(5):
        play = Play(breaker=dependency)
        next(play.flow)
        play.flow.close()
    assert dependency.state == "closed"
    assert dependency.snapshot(0).in_flight == 0
    assert dependency.snapshot(0).calls == 0


def test_an_unread_answer_is_settled_by_whoever_reads_it() -> None:
    dependency = breaker(minimum_calls=1)
    play = Play(breaker=dependency)
    next(play.flow)
    assert play.end(Reply(1, Answer(status=200), unread=True)) == Done()
    assert dependency.snapshot(1).in_flight == 1
    play.gate.settle(Outcome.FAILURE, 2)
    assert dependency.state == "open"
    play.gate.settle(Outcome.FAILURE, 2)
    assert dependency.snapshot(2).in_flight == 0


def test_an_unread_failure_is_settled_at_its_head() -> None:
    dependency = breaker(minimum_calls=1)
    play = Play(breaker=dependency, retry=None)
    next(play.flow)
    assert play.end(Reply(1, Answer(status=503), unread=True)) == Done()
    assert dependency.state == "open"


def test_what_the_server_asks_for_keeps_the_breaker_open() -> None:
    dependency = breaker(minimum_calls=1)
    play = Play(breaker=dependency)
    next(play.flow)
    assert play.end(reply(0, 503, wait=60)) == Done()
    assert dependency.retry_after(0) >= 60


def test_a_retry_that_cannot_be_paid_for_is_not_sent() -> None:
    budget = Budget(RetryBudget(capacity=14))
    play = Play(budget=budget)
    next(play.flow)
    assert play.flow.send(Failure(1, CUT)) == Wait(1)
    assert budget.tokens == 0
    assert play.flow.send(Woke(2)) == Send()
    assert play.end(Failure(3, CUT)) == Done()


def test_a_call_that_succeeds_in_the_end_gets_its_last_payment_back() -> None:
    budget = Budget(RetryBudget(capacity=100))
    play = Play(budget=budget)
    next(play.flow)
    play.flow.send(Failure(1, CUT))
    play.flow.send(Woke(2))
    play.flow.send(reply(3, 429))
    assert budget.tokens == 100 - 14 - 5
    play.flow.send(Woke(5))
    assert play.end(reply(6, 200)) == Done()
    assert budget.tokens == 100 - 14


def test_a_call_that_succeeds_at_once_earns_a_token() -> None:
    budget = Budget(RetryBudget(capacity=100))
    budget.spend()
    play = Play(budget=budget)
    next(play.flow)
    assert play.end(reply(1, 200)) == Done()
    assert budget.tokens == 100 - 14 + 1


def test_nothing_is_paid_for_a_wait_that_is_not_begun() -> None:
    budget = Budget(RetryBudget(capacity=100))
    play = Play(budget=budget, deadline=5)
    next(play.flow)
    assert play.end(reply(1, 503, wait=4)) == Done()
    dependency = breaker(minimum_calls=1)
    play = Play(budget=budget, breaker=dependency)
    next(play.flow)
    assert play.end(Failure(1, CUT)) == Done()
    assert budget.tokens == 100


ONE_A_SECOND = RateLimit(1, 1.0)


def test_a_call_waits_its_turn() -> None:
    bucket = Bucket(ONE_A_SECOND)
    for turn in range(3):
        play = Play(bucket=bucket)
        if turn:
            assert next(play.flow) == Wait(turn)
            assert play.flow.send(Woke(turn)) == Send()
        else:
            assert next(play.flow) == Send()
        assert play.end(reply(turn, 200)) == Done()


def test_retries_of_a_call_wait_in_no_line() -> None:
    play = Play(bucket=Bucket(RateLimit(1, 100.0)))
    assert next(play.flow) == Send()
    assert play.flow.send(Failure(1, CUT)) == Wait(1)
    assert play.flow.send(Woke(2)) == Send()


@pytest.mark.parametrize(("may_wait", "deadline"), [(False, 30), (True, 5)])
def test_a_call_that_cannot_wait_is_refused_and_takes_no_place(
    may_wait: bool, deadline: float
) -> None:
    bucket = Bucket(RateLimit(1, 10.0))
    bucket.reserve(0)
    for _ in range(3):
        play = Play(bucket=bucket, may_wait=may_wait, deadline=deadline)
        assert play.end() == TooSoon(10)
    assert bucket.wait(0) == 10


def test_a_turn_that_is_not_used_goes_to_the_next() -> None:
    bucket = Bucket(ONE_A_SECOND)
    bucket.reserve(0)
    cancelled = Play(bucket=bucket)
    assert next(cancelled.flow) == Wait(1)
    cancelled.flow.close()
    assert bucket.wait(0) == 1
    dependency = breaker()
    fail(dependency, 2)
    refused = Play(bucket=bucket, breaker=dependency)
    assert next(refused.flow) == Wait(1)
    assert isinstance(refused.end(Woke(1)), Refusal)
    assert bucket.wait(1) == 0


def test_a_send_does_not_end_by_waking() -> None:
    play = Play()
    next(play.flow)
    with pytest.raises(TypeError, match="a send does not end so"):
        play.flow.send(Woke(1))
