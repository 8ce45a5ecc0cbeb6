"""What an ended send means, row by row."""

import pytest

from resilient_http._core.verdict import (
    Answer,
    Fault,
    Load,
    Outcome,
    Reason,
    Repeat,
    Request,
    is_acceptable,
    is_fine,
    is_free,
    is_shed,
    is_throttled,
    judge,
    judge_load,
    judge_status,
    may_repeat,
)
from resilient_http.policy import RetryConfig

RETRY = RetryConfig()

GET = Request(idempotent=True)
POST = Request(idempotent=False)
POST_WITH_KEY = Request(idempotent=False, has_key=True)
PUT_ONE_SHOT = Request(idempotent=True, replayable=False)

REFUSED = Fault(retryable=True, nothing_sent=True)
LEFT_OUT = Fault(retryable=True, not_processed=True)
READ_TIMEOUT = Fault(retryable=True)
BROKEN = Answer(status=503)
SHED = Answer(status=503, problem_retry="after_delay", work_not_started=True)


# For the breaker


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_failures_of_the_dependency(status: int) -> None:
    assert judge_status(status) is Outcome.FAILURE


@pytest.mark.parametrize("status", [200, 204, 206, 301, 304])
def test_successes(status: int) -> None:
    assert judge_status(status) is Outcome.SUCCESS


@pytest.mark.case("C21", "R20")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 425, 451, 499])
def test_the_callers_mistakes_only_show_that_somebody_is_at_home(status: int) -> None:
    assert judge_status(status) is Outcome.ANSWERED


@pytest.mark.parametrize("status", [429, 501, 505, 511, 520, 599])
def test_statuses_that_say_nothing_of_health(status: int) -> None:
    assert judge_status(status) is Outcome.NEUTRAL


@pytest.mark.parametrize("status", [409, 429, 503, 504])
def test_what_was_refused_before_its_handler_is_no_failure(status: int) -> None:
    assert judge_status(status, work_not_started=True) is Outcome.NEUTRAL


def test_an_answer_is_judged_by_status_and_type() -> None:
    assert judge(BROKEN) is Outcome.FAILURE
    assert judge(SHED) is Outcome.NEUTRAL


@pytest.mark.case("C21")
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (REFUSED, Outcome.FAILURE),
        (READ_TIMEOUT, Outcome.FAILURE),
        (LEFT_OUT, Outcome.NEUTRAL),
        (Fault(retryable=False), Outcome.FAILURE),
        (Fault(retryable=False, callers_own=True), Outcome.NEUTRAL),
        (Fault(retryable=True, nothing_sent=True, callers_own=True), Outcome.NEUTRAL),
    ],
)
def test_a_fault_is_the_dependencys_unless_it_is_the_callers_own(
    fault: Fault, outcome: Outcome
) -> None:
    assert judge(fault) is outcome


# For trying again


def yes(reason: Reason) -> Repeat:
    return Repeat(allowed=True, reason=reason)


def no(reason: Reason) -> Repeat:
    return Repeat(allowed=False, reason=reason)


@pytest.mark.case("C29")
@pytest.mark.parametrize(
    ("request_", "ending", "repeat"),
    [
        (GET, BROKEN, yes(Reason.IDEMPOTENT)),
        (GET, READ_TIMEOUT, yes(Reason.IDEMPOTENT)),
        (GET, REFUSED, yes(Reason.NOTHING_SENT)),
        (GET, LEFT_OUT, yes(Reason.NOT_PROCESSED)),
        (POST, BROKEN, no(Reason.NOT_IDEMPOTENT)),
        (POST, READ_TIMEOUT, no(Reason.NOT_IDEMPOTENT)),
        (POST, REFUSED, yes(Reason.NOTHING_SENT)),
        (POST, LEFT_OUT, yes(Reason.NOT_PROCESSED)),
        (POST_WITH_KEY, BROKEN, yes(Reason.KEY)),
        (POST_WITH_KEY, READ_TIMEOUT, yes(Reason.KEY)),
        (POST_WITH_KEY, REFUSED, yes(Reason.NOTHING_SENT)),
    ],
)
def test_a_post_is_repeated_only_where_that_is_safe(
    request_: Request, ending: Answer | Fault, repeat: Repeat
) -> None:
    assert may_repeat(request_, ending, RETRY) == repeat


@pytest.mark.parametrize("status", [200, 301, 404, 409, 501])
@pytest.mark.parametrize("request_", [GET, POST, POST_WITH_KEY])
def test_an_answer_that_would_be_the_same_is_final(
    request_: Request, status: int
) -> None:
    assert may_repeat(request_, Answer(status=status), RETRY) == no(Reason.FINAL)


@pytest.mark.parametrize("request_", [GET, POST, POST_WITH_KEY])
def test_a_fault_that_would_be_the_same_is_final(request_: Request) -> None:
    fault = Fault(retryable=False, nothing_sent=True)
    assert may_repeat(request_, fault, RETRY) == no(Reason.FINAL)


def test_the_statuses_are_the_users_to_choose() -> None:
    only_418 = RetryConfig(statuses=[418])
    assert may_repeat(GET, Answer(status=418), only_418).allowed
    assert may_repeat(GET, BROKEN, only_418) == no(Reason.FINAL)
    assert may_repeat(GET, BROKEN, RetryConfig(statuses=())) == no(Reason.FINAL)


@pytest.mark.case("C28", "R17")
@pytest.mark.parametrize("ending", [BROKEN, READ_TIMEOUT, SHED, LEFT_OUT])
def test_a_spent_body_is_not_sent_again(ending: Answer | Fault) -> None:
    assert may_repeat(PUT_ONE_SHOT, ending, RETRY) == no(Reason.BODY_SPENT)


def test_a_one_shot_body_that_nothing_has_read_may_still_be_sent() -> None:
    assert may_repeat(PUT_ONE_SHOT, REFUSED, RETRY) == yes(Reason.NOTHING_SENT)


def says(retry: str, status: int) -> Answer:
    assert retry in {"never", "same_key", "after_delay"}
    return Answer(status=status, problem_retry=retry)  # type: ignore[arg-type]  # checked above


@pytest.mark.parametrize("request_", [GET, POST, POST_WITH_KEY])
def test_never_beats_the_status_table(request_: Request) -> None:
    never = may_repeat(request_, says("never", 503), RETRY)
    assert never == no(Reason.PROBLEM_SAYS_NEVER)


def test_never_beats_even_work_not_started() -> None:
    never = Answer(status=503, problem_retry="never", work_not_started=True)
    assert may_repeat(GET, never, RETRY) == no(Reason.PROBLEM_SAYS_NEVER)


def test_a_type_that_is_safe_with_its_key_beats_the_status_table() -> None:
    conflict = says("same_key", 409)
    assert may_repeat(GET, conflict, RETRY) == yes(Reason.IDEMPOTENT)
    assert may_repeat(POST_WITH_KEY, conflict, RETRY) == yes(Reason.KEY)
    assert may_repeat(POST, conflict, RETRY) == no(Reason.NOT_IDEMPOTENT)


@pytest.mark.parametrize("request_", [GET, POST, POST_WITH_KEY])
def test_a_type_that_is_safe_after_a_wait_is_so_for_any_method(
    request_: Request,
) -> None:
    conflict = says("after_delay", 409)
    assert may_repeat(request_, conflict, RETRY) == yes(Reason.PROBLEM_SAYS_SO)


@pytest.mark.parametrize("request_", [POST, POST_WITH_KEY, GET])
def test_what_was_not_started_may_be_repeated_whatever_the_method(
    request_: Request,
) -> None:
    assert may_repeat(request_, SHED, RETRY) == yes(Reason.WORK_NOT_STARTED)


def test_not_started_alone_does_not_make_an_answer_worth_repeating() -> None:
    ending = Answer(status=404, work_not_started=True)
    assert may_repeat(GET, ending, RETRY) == no(Reason.FINAL)


@pytest.mark.parametrize(
    ("asked", "longest", "allowed"),
    [
        (10, 10, True),
        (10.1, 10, False),
        (0, 0, True),
        (1, 0, False),
        (86_400, None, True),
        (None, 0, True),
    ],
)
def test_a_longer_retry_after_than_we_would_wait_ends_the_call(
    asked: float | None, longest: float | None, *, allowed: bool
) -> None:
    repeat = may_repeat(
        GET,
        Answer(status=503, retry_after=asked),
        RetryConfig(max_retry_after=longest),
    )
    assert repeat.allowed is allowed
    assert allowed or repeat.reason is Reason.WAIT_TOO_LONG


def test_a_method_that_bars_a_repeat_is_named_before_body_and_wait() -> None:
    ending = Answer(status=503, retry_after=3600)
    one_shot = Request(idempotent=False, replayable=False)
    assert may_repeat(one_shot, ending, RETRY) == no(Reason.NOT_IDEMPOTENT)


@pytest.mark.parametrize(
    ("answer", "throttled"),
    [
        (Answer(status=429), True),
        (Answer(status=503, retry_after=0), True),
        (Answer(status=503), False),
        (Answer(status=500, retry_after=5), False),
    ],
)
def test_a_throttled_answer_is_429_or_503_with_a_hint(
    answer: Answer, *, throttled: bool
) -> None:
    assert is_throttled(answer) is throttled


def test_only_what_a_server_did_nothing_about_is_sent_again_for_free() -> None:
    assert is_free(LEFT_OUT)
    assert not any(is_free(ending) for ending in (REFUSED, READ_TIMEOUT, SHED, BROKEN))


@pytest.mark.parametrize(
    ("answer", "retry", "fine"),
    [
        (Answer(status=200), RETRY, True),
        (Answer(status=200), None, True),
        (Answer(status=399), RETRY, True),
        (Answer(status=400), RETRY, False),
        (Answer(status=400), None, False),
        (Answer(status=202), RetryConfig(statuses=frozenset({202})), False),
        (Answer(status=200), RetryConfig(statuses=frozenset({202})), True),
    ],
)
def test_what_is_no_error_and_not_to_be_tried_again_is_fine(
    answer: Answer, retry: RetryConfig | None, *, fine: bool
) -> None:
    assert is_fine(answer, retry) is fine


@pytest.mark.parametrize(
    ("answer", "retry", "acceptable"),
    [
        (Answer(status=200), RETRY, True),
        (Answer(status=404), RETRY, True),
        (Answer(status=404), None, True),
        (Answer(status=404), RetryConfig(statuses=frozenset({404})), False),
        (Answer(status=500), None, False),  # it failed
        (Answer(status=429), None, False),  # it was turned away
        (Answer(status=501), None, True),
    ],
)
def test_another_copy_may_do_better_than_a_failure_or_a_refusal(
    answer: Answer, retry: RetryConfig | None, *, acceptable: bool
) -> None:
    assert is_acceptable(answer, retry) is acceptable


@pytest.mark.parametrize(
    ("ending", "load"),
    [
        (READ_TIMEOUT, Load.HIGH),
        (REFUSED, Load.UNKNOWN),
        (Fault(retryable=True, callers_own=True), Load.UNKNOWN),
        (Answer(status=200), Load.FINE),
        (Answer(status=404), Load.FINE),
        (Answer(status=499), Load.FINE),
        (Answer(status=429), Load.HIGH),
        (Answer(status=409, work_not_started=True), Load.HIGH),
        (Answer(status=503), Load.HIGH),
        (Answer(status=504), Load.HIGH),
        (Answer(status=500), Load.UNKNOWN),
        (Answer(status=502), Load.UNKNOWN),
        (Answer(status=505), Load.UNKNOWN),
    ],
)
def test_an_origin_is_busy_where_it_turns_away_or_comes_too_late(
    ending: Answer | Fault, load: Load
) -> None:
    assert judge_load(ending) is load


def test_only_a_503_from_before_the_work_was_shed() -> None:
    assert is_shed(SHED)
    assert not is_shed(BROKEN)
    assert not is_shed(Answer(status=429, work_not_started=True))
    assert not is_shed(REFUSED)


def test_what_its_sender_repeats_is_not_repeated_by_us() -> None:
    request = Request(idempotent=True, repeated=True)
    assert may_repeat(request, BROKEN, RETRY) == Repeat(
        allowed=False, reason=Reason.NESTED
    )


def test_what_is_not_said_is_not_so() -> None:
    said = Request(idempotent=True)
    assert said.has_key is said.hedgeable is said.repeated is False
    assert REFUSED.not_processed is REFUSED.callers_own is False
    assert LEFT_OUT.nothing_sent is BROKEN.work_not_started is False


def test_what_events_show_is_spelled_so() -> None:
    assert [*Reason] == [
        *("idempotent", "nothing_sent", "not_processed", "work_not_started"),
        *("problem_says_so", "idempotency_key"),
        *("final", "problem_says_never", "not_idempotent", "body_spent"),
        *("wait_too_long", "switched_off", "nested", "attempts_spent", "no_time"),
        *("breaker_open", "budget_spent", "no_place"),
    ]
