"""Breakers to try things on, and what to do with them."""

from random import Random

from resilient_http._core.breaker import (
    Breaker,
    BreakerState,
    Permit,
)
from resilient_http.policy import BreakerConfig

CONFIG = BreakerConfig(
    minimum_calls=4,
    window=10,
    failure_threshold=3,
    recovery_timeout=30,
    max_recovery_timeout=100,
    success_threshold=1,
    ramp=None,
)


def breaker_with(
    config: BreakerConfig = CONFIG, *, spread: float = 0.0, seed: int = 1
) -> Breaker:
    return Breaker(config, Random(seed), spread=spread)


def state_of(breaker: Breaker) -> BreakerState:
    return breaker.state  # a call, or mypy takes it for what it was a line above


def permit(breaker: Breaker, now: float) -> Permit:
    granted = breaker.admit(now)
    assert isinstance(granted, Permit)
    return granted


def send(breaker: Breaker, now: float, *, failed: bool, took: float = 0) -> None:
    breaker.settle(permit(breaker, now), failed=failed, now=now + took)


def call(breaker: Breaker, now: float, *, failed: bool) -> None:
    """Make one call of one send."""
    first = permit(breaker, now)
    breaker.settle(first, failed=failed, now=now)
    breaker.conclude(first, failed=failed, now=now)


def opened_at(now: float, config: BreakerConfig = CONFIG) -> Breaker:
    breaker = breaker_with(config)
    for _ in range(config.minimum_calls):
        send(breaker, now, failed=True)
    assert state_of(breaker) is BreakerState.OPEN
    return breaker


def closed_again_at(now: float, config: BreakerConfig) -> Breaker:
    breaker = opened_at(now - config.recovery_timeout, config)
    send(breaker, now, failed=False)
    assert state_of(breaker) is BreakerState.CLOSED
    return breaker
