"""What is known of one origin, and when it may be forgotten."""

from random import Random
from typing import Any

import pytest

from resilient_http._core.breaker import Mode, Permit, Refusal
from resilient_http._core.origin import Origin
from resilient_http.policy import (
    BreakerConfig,
    ConcurrencyLimit,
    Hedge,
    Policy,
    RateLimit,
    RetryBudget,
    Throttle,
)

BARE = Policy(breaker=None, budget=None)
ALL: dict[str, Any] = {
    "breaker": BreakerConfig(),
    "budget": RetryBudget(),
    "rate_limit": RateLimit(10, 1.0),
    "throttle": Throttle(),
    "concurrency": ConcurrencyLimit(limit=3),
    "hedge": Hedge(),
}
MADE = {
    "rate_limit": "bucket",
    "throttle": "throttler",
    "concurrency": "limiter",
    "hedge": "latencies",
}


def origin_of(**asked: Any) -> Origin:
    origin = Origin()
    origin.equip(Policy(**{"breaker": None, "budget": None, **asked}), Random(1))
    return origin


def machines(origin: Origin) -> set[str]:
    names = ("breaker", "budget", "bucket", "throttler", "limiter", "latencies")
    return {name for name in names if getattr(origin, name) is not None}


def test_a_new_origin_knows_nothing() -> None:
    origin = Origin()
    assert machines(origin) == set()
    assert origin.pacers is None
    assert origin.made_for is None
    assert origin.is_plain is False
    assert origin.snapshot(0) == {
        **dict.fromkeys(["calls", "sends", "refused", "expired"], 0),
        **dict.fromkeys(["breaker", "budget", "concurrency", "held_back"]),
        "hedge_after": None,
    }
    assert origin.is_harmless(0)


@pytest.mark.parametrize("name", ALL)
def test_a_machine_is_made_where_a_policy_asks_for_it(name: str) -> None:
    origin = origin_of(**{name: ALL[name]})
    made = MADE.get(name, name)
    assert machines(origin) == {made}
    assert origin.is_plain is (name not in MADE)
    first = getattr(origin, made)
    origin.equip(Policy(**ALL), Random(1))
    assert getattr(origin, made) is first
    assert origin.made_for == Policy(**ALL)


def test_a_hedge_after_a_fixed_delay_needs_no_latencies() -> None:
    assert machines(origin_of(hedge=Hedge(delay=1.0))) == set()


def test_a_snapshot_shows_each_machine() -> None:
    origin = origin_of(**ALL)
    origin.calls, origin.sends, origin.refused, origin.expired = 1, 2, 3, 4
    assert origin.throttler is not None
    assert origin.latencies is not None
    assert origin.limiter is not None
    for _ in range(20):
        origin.throttler.note(accepted=False, now=0)
        origin.latencies.record(0.5, 0)
    origin.limiter.acquire(0)
    shown = origin.snapshot(0)
    assert (shown["calls"], shown["sends"]) == (1, 2)
    assert (shown["refused"], shown["expired"]) == (3, 4)
    assert shown["breaker"]["state"] == "closed"
    assert shown["budget"] == 500
    assert shown["concurrency"]["in_flight"] == 1
    assert shown["held_back"] == origin.throttler.share_held_back(0) > 0
    assert shown["hedge_after"] == 0.5


def test_leave_is_asked_where_both_sides_have_a_breaker() -> None:
    policy = Policy(breaker=BreakerConfig())
    assert origin_of().admit(policy, 0) is None
    origin = origin_of(breaker=BreakerConfig())
    assert origin.admit(BARE, 0) is None
    permit = origin.admit(policy, 0)
    assert isinstance(permit, Permit)
    assert permit.admitted_at == 0
    assert origin.breaker is not None
    origin.abandon(None, 0)
    assert origin.breaker.snapshot(0).in_flight == 1
    origin.abandon(permit, 0)
    assert origin.breaker.snapshot(0).in_flight == 0
    origin.breaker.force(Mode.FORCED_OPEN)
    assert isinstance(origin.admit(policy, 0), Refusal)


def test_a_success_is_told_to_the_breaker_and_the_budget() -> None:
    policy = Policy(breaker=BreakerConfig(), budget=RetryBudget())
    origin = origin_of(breaker=policy.breaker, budget=policy.budget)
    assert origin.budget is not None
    assert origin.breaker is not None
    origin.budget.spend()
    permit = origin.admit(policy, 5)
    assert isinstance(permit, Permit)
    origin.succeed(BARE, None, 5)
    assert (origin.budget.tokens, origin.breaker.snapshot(5).calls) == (486, 0)
    origin.succeed(policy, permit, 5)
    assert (origin.budget.tokens, origin.breaker.snapshot(5).calls) == (487, 1)
    assert origin.breaker.snapshot(5).failures == 0
    assert origin.breaker.snapshot(5).in_flight == 0
    origin_of().succeed(policy, permit, 5)  # of an origin that was forgotten
    origin_of().abandon(permit, 5)


def test_of_too_many_partitions_the_one_goes_that_was_quiet_longest() -> None:
    origin = Origin()
    first = origin.pacer(b"0")
    second = origin.pacer(b"1")
    for n in range(2, 64):
        origin.pacer(b"%d" % n)
    assert origin.pacer(b"0") is first
    origin.pacer(b"one more")
    assert origin.pacers is not None
    assert len(origin.pacers) == 64
    assert origin.pacer(b"0") is first
    assert origin.pacer(b"1") is not second


def test_who_is_busy_is_not_forgotten() -> None:
    origin = origin_of(concurrency=ConcurrencyLimit(limit=1))
    assert origin.is_harmless(0)
    assert origin.limiter is not None
    origin.limiter.acquire(0)
    assert not origin.is_harmless(0)


@pytest.mark.parametrize("mode", [Mode.FORCED_OPEN, Mode.FORCED_CLOSED])
def test_what_somebody_decided_is_not_forgotten(mode: Mode) -> None:
    origin = origin_of(breaker=BreakerConfig())
    assert origin.is_harmless(0)
    assert origin.breaker is not None
    origin.breaker.force(mode)
    assert not origin.is_harmless(0)


def test_what_failed_or_is_out_is_not_forgotten() -> None:
    origin = origin_of(breaker=BreakerConfig(minimum_calls=2, failure_threshold=9))
    breaker = origin.breaker
    assert breaker is not None
    out = breaker.admit(0)
    assert isinstance(out, Permit)
    assert not origin.is_harmless(0)
    breaker.abandon(out, 0)
    breaker.conclude(out, failed=True, now=0)
    assert not origin.is_harmless(0)
    breaker.conclude(out, failed=False, now=0)
    assert origin.is_harmless(0)
    for _ in range(2):
        permit = breaker.admit(0)
        assert isinstance(permit, Permit)
        breaker.settle(permit, failed=True, now=0)
        assert not origin.is_harmless(0)  # a failure, and then an open breaker
