"""What a user may decide, and what is refused with a reason."""

import pickle
from dataclasses import FrozenInstanceError, fields, replace
from http import HTTPStatus
from typing import Any

import pytest

from resilient_http.policy import (
    DEFAULT_ATTEMPT_TIMEOUT,
    DEFAULT_DEADLINE,
    IDEMPOTENT,
    SAFE,
    BreakerConfig,
    Policy,
    RateLimit,
    RetryBudget,
    RetryConfig,
    Unchosen,
)

NAN, INF = float("nan"), float("inf")
HUGE = pytest.param(10**400, id="huge")


def test_the_defaults_are_the_documented_ones() -> None:
    assert Policy() == Policy(
        deadline=30.0,
        attempt_timeout=10.0,
        retry=RetryConfig(
            max_attempts=3,
            base_delay=0.05,
            max_delay=5.0,
            jitter="full",
            statuses={408, 425, 429, 500, 502, 503, 504},
            max_retry_after=10.0,
            retryable_exceptions=None,
        ),
        breaker=BreakerConfig(
            failure_rate=0.5,
            minimum_calls=10,
            window=30.0,
            failure_threshold=5,
            slow_call=None,
            slow_rate=1.0,
            recovery_timeout=5.0,
            max_recovery_timeout=60.0,
            success_threshold=2,
            half_open_max_calls=1,
            probe_lease=10.0,
            ramp=10.0,
        ),
    )


def test_a_default_timeout_is_told_from_the_same_number_chosen() -> None:
    assert isinstance(Policy().deadline, Unchosen)
    assert isinstance(Policy().attempt_timeout, Unchosen)
    chosen = Policy(deadline=30.0, attempt_timeout=10.0)
    assert not isinstance(chosen.deadline, Unchosen)
    assert not isinstance(chosen.attempt_timeout, Unchosen)


def test_a_default_stays_a_default_through_replace_and_pickle() -> None:
    copied = pickle.loads(pickle.dumps(replace(Policy(), retry=None)))
    assert isinstance(copied.deadline, Unchosen)
    assert copied == Policy(retry=None)
    assert [DEFAULT_DEADLINE, DEFAULT_ATTEMPT_TIMEOUT] == [30.0, 10.0]


def test_every_part_can_be_switched_off() -> None:
    off = Policy(
        deadline=None,
        attempt_timeout=None,
        rate_limit=None,
        throttle=None,
        retry=None,
        hedge=None,
        budget=None,
        breaker=None,
        concurrency=None,
        fallback=None,
        propagate_deadline=False,
        max_response_bytes=None,
    )
    parts = {getattr(off, field.name) for field in fields(off)}
    assert parts == {None, False}


@pytest.mark.parametrize("value", [Policy(), RetryConfig(), BreakerConfig()])
def test_values_are_frozen_hashable_and_have_no_room_for_more(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, 1)
    assert hash(value) == hash(replace(value))
    assert not hasattr(value, "__dict__")


def test_idempotent_methods_are_those_of_the_standard() -> None:
    safe = {"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"}
    assert safe == SAFE
    assert {*safe, "PUT", "DELETE"} == IDEMPOTENT


@pytest.mark.parametrize(
    "given", [[503, 429], (503, 429), {503, 429}, iter([503, 429]), range(400, 402)]
)
def test_statuses_may_be_any_iterable_and_are_kept_frozen(given: Any) -> None:
    kept = RetryConfig(statuses=given).statuses
    assert isinstance(kept, frozenset)
    assert len(kept) == 2


def test_statuses_may_be_none_at_all() -> None:
    assert RetryConfig(statuses=()).statuses == frozenset()


def test_statuses_may_be_written_by_name() -> None:
    assert 503 in RetryConfig(statuses={HTTPStatus.SERVICE_UNAVAILABLE}).statuses


def test_retryable_exceptions_are_kept_as_a_tuple() -> None:
    listed: Any = [OSError, ValueError]
    assert RetryConfig(retryable_exceptions=listed).retryable_exceptions == (
        OSError,
        ValueError,
    )
    assert RetryConfig(retryable_exceptions=()).retryable_exceptions == ()


def test_one_retryable_exception_may_stand_alone_as_after_except() -> None:
    alone: Any = OSError
    assert RetryConfig(retryable_exceptions=alone).retryable_exceptions == (OSError,)


COUNTS = [
    (RetryConfig, "max_attempts"),
    (BreakerConfig, "minimum_calls"),
    (BreakerConfig, "failure_threshold"),
    (BreakerConfig, "success_threshold"),
    (BreakerConfig, "half_open_max_calls"),
]
RATES: list[tuple[type, str]] = [
    (BreakerConfig, "failure_rate"),
    (BreakerConfig, "slow_rate"),
]
AT_LEAST_0: list[tuple[type, str]] = [
    (RetryConfig, "base_delay"),
    (RetryConfig, "max_delay"),
    (RetryConfig, "max_retry_after"),
    (BreakerConfig, "recovery_timeout"),
    (BreakerConfig, "max_recovery_timeout"),
    (BreakerConfig, "ramp"),
]
ABOVE_0: list[tuple[type, str]] = [
    (Policy, "deadline"),
    (Policy, "attempt_timeout"),
    (BreakerConfig, "window"),
    (BreakerConfig, "slow_call"),
    (BreakerConfig, "probe_lease"),
]
OPTIONAL = {
    "max_retry_after",
    "ramp",
    "deadline",
    "attempt_timeout",
    "slow_call",
}
NUMBERS = RATES + AT_LEAST_0 + ABOVE_0


def refusal(kind: Any, name: str, value: object) -> str:
    with pytest.raises((TypeError, ValueError)) as refused:
        kind(**{name: value})
    message = str(refused.value)
    assert message.startswith(f"{kind.__name__}.{name} must be ")
    assert message.endswith(f", got {value!r}")
    return message


@pytest.mark.parametrize("value", [0, -1, 1.5, NAN, True, False, "3", None, [1]])
@pytest.mark.parametrize(("kind", "name"), COUNTS)
def test_counts_are_ints_of_at_least_one(kind: Any, name: str, value: object) -> None:
    assert "an int of at least 1" in refusal(kind, name, value)
    assert kind(**{name: 1})


@pytest.mark.parametrize(
    "value", [NAN, INF, -INF, -0.001, True, False, "1", [1], 1j, HUGE]
)
@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_no_number_is_garbage(kind: Any, name: str, value: object) -> None:
    refusal(kind, name, value)


@pytest.mark.parametrize(("kind", "name"), RATES + ABOVE_0)
def test_some_numbers_are_above_zero(kind: Any, name: str) -> None:
    refusal(kind, name, 0)
    assert kind(**{name: 0.001})


@pytest.mark.parametrize(("kind", "name"), AT_LEAST_0)
def test_some_numbers_may_be_zero(kind: Any, name: str) -> None:
    assert getattr(kind(**{name: 0}), name) == 0


@pytest.mark.parametrize(("kind", "name"), RATES)
def test_a_rate_is_at_most_one(kind: Any, name: str) -> None:
    refusal(kind, name, 1.001)
    assert kind(**{name: 1})


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_none_is_taken_where_it_means_something(kind: Any, name: str) -> None:
    if name in OPTIONAL:
        assert getattr(kind(**{name: None}), name) is None
    else:
        refusal(kind, name, None)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (RetryConfig, "jitter", "equal"),
        (RetryConfig, "jitter", None),
        (RetryConfig, "jitter", True),
        (RetryConfig, "statuses", 503),
        (RetryConfig, "statuses", "429"),
        (RetryConfig, "statuses", [503, "504"]),
        (RetryConfig, "statuses", [True]),
        (RetryConfig, "statuses", [99]),
        (RetryConfig, "statuses", [1000]),
        (RetryConfig, "statuses", None),
        (RetryConfig, "retryable_exceptions", (KeyboardInterrupt,)),
        (RetryConfig, "retryable_exceptions", (OSError(),)),
        (RetryConfig, "retryable_exceptions", ("OSError",)),
        (RetryConfig, "retryable_exceptions", 5),
        (Policy, "retry", 3),
        (Policy, "retry", BreakerConfig()),
        (Policy, "retry", False),
        (Policy, "breaker", RetryConfig()),
        (Policy, "breaker", True),
    ],
)
def test_other_garbage_is_refused_by_name(kind: Any, name: str, value: object) -> None:
    refusal(kind, name, value)


def test_a_budget_is_full_at_first_and_its_prices_are_documented() -> None:
    assert RetryBudget() == RetryBudget(capacity=500, cost=14, throttled_cost=5)
    assert Policy().budget == RetryBudget()


@pytest.mark.parametrize("name", ["capacity", "cost", "throttled_cost"])
@pytest.mark.parametrize("value", [NAN, INF, -0.001, True, "1", None])
def test_a_budget_is_made_of_numbers_of_at_least_zero(name: str, value: object) -> None:
    refusal(RetryBudget, name, value)
    made: Any = RetryBudget
    assert getattr(made(**{name: 0}), name) == 0


def test_a_rate_limit_waits_and_has_the_limit_for_its_burst() -> None:
    assert RateLimit(5, 2.0) == RateLimit(limit=5, window=2, burst=None, mode="wait")
    assert Policy().rate_limit is None
    assert RateLimit(1, 1, burst=None, mode="reject").mode == "reject"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in (0, -1, 1.5, NAN, True, "3", None)),
        *(("window", value) for value in (0, -1, NAN, INF, True, "1", None)),
        *(("burst", value) for value in (0, -1, 1.5, True, "3")),
        *(("mode", value) for value in ("drop", None, 1)),
    ],
)
def test_a_rate_limit_refuses_garbage_by_name(name: str, value: object) -> None:
    def made(**given: Any) -> RateLimit:
        return RateLimit(**{"limit": 10, "window": 1.0, **given})

    made.__name__ = "RateLimit"
    refusal(made, name, value)


def test_a_policy_is_made_of_the_right_parts() -> None:
    wrong: Any = {"limit": 5}
    for field in fields(Policy):
        with pytest.raises(TypeError, match=rf"Policy\.{field.name} must be .* got "):
            Policy(**{field.name: wrong})
