"""The circuit breaker around any function. Time is handed in."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from resilient_http.patterns import (
    CircuitBreaker,
    CircuitBreakerOpenException,
)
from resilient_http.problems import (
    ConcurrencyLimitException,
    RateLimitException,
)
from tests.calling import Clock, counts, fail, succeed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("dep", failure_threshold=3, recovery_timeout=10, clock=clock)


# The four ways to call through it


async def as_async_function(breaker: CircuitBreaker, error: Exception | None) -> None:
    @breaker
    async def function() -> None:
        await anyio.lowlevel.checkpoint()
        if error is not None:
            raise error

    await function()


async def as_function(breaker: CircuitBreaker, error: Exception | None) -> None:
    @breaker
    def function() -> None:
        if error is not None:
            raise error

    function()


async def as_async_block(breaker: CircuitBreaker, error: Exception | None) -> None:
    async with breaker:
        await anyio.lowlevel.checkpoint()
        if error is not None:
            raise error


async def as_block(breaker: CircuitBreaker, error: Exception | None) -> None:
    with breaker:
        if error is not None:
            raise error


Way = Callable[[CircuitBreaker, Exception | None], Awaitable[None]]


@pytest.mark.parametrize(
    "way", [as_async_function, as_function, as_async_block, as_block]
)
async def test_it_opens_refuses_looks_and_closes_whatever_is_wrapped(
    way: Way, clock: Clock, breaker: CircuitBreaker
) -> None:
    trace: list[object] = []
    down = OSError("down")
    for error in (None, down, down, None, down, down, down, None, None):
        try:
            await way(breaker, error)
        except CircuitBreakerOpenException as refusal:
            trace.append(refusal.retry_after)
            clock.now += 4
        except OSError:
            pass
        trace.append(counts(breaker))
    clock.now = 10
    for error in (None, down, None):
        with suppress(OSError, CircuitBreakerOpenException):
            await way(breaker, error)
        trace.append(counts(breaker))
    clock.now = 20
    for _ in range(2):
        await way(breaker, None)
        trace.append(counts(breaker))
    assert trace == [
        ("closed", 0, 1),
        ("closed", 1, 1),
        ("closed", 2, 1),
        ("closed", 0, 2),
        ("closed", 1, 2),
        ("closed", 2, 2),
        ("open", 3, 0),
        10,
        ("open", 3, 0),
        6,
        ("open", 3, 0),
        ("half_open", 0, 1),
        ("open", 1, 0),
        ("open", 1, 0),
        ("half_open", 0, 1),
        ("closed", 0, 0),
    ]


def test_a_refused_call_is_not_made(breaker: CircuitBreaker) -> None:
    fail(breaker, 3)
    calls = 0

    @breaker
    def function() -> None:
        nonlocal calls
        calls += 1

    with pytest.raises(CircuitBreakerOpenException, match="'dep' is open"):
        function()
    assert calls == 0


def test_every_refusal_is_a_new_object(breaker: CircuitBreaker) -> None:
    fail(breaker, 3)
    refusals = []
    for _ in range(2):
        with pytest.raises(CircuitBreakerOpenException) as refused:
            succeed(breaker)
        refusals.append(refused.value)
    assert refusals[0] is not refusals[1]


def test_breaks_never_grow(clock: Clock, breaker: CircuitBreaker) -> None:
    fail(breaker, 3)
    for _ in range(5):
        clock.now += 10
        fail(breaker)
        with pytest.raises(CircuitBreakerOpenException) as refused:
            succeed(breaker)
        assert refused.value.retry_after == 10


def test_once_closed_it_is_open_to_everybody(
    clock: Clock, breaker: CircuitBreaker
) -> None:
    fail(breaker, 3)
    clock.now = 10
    succeed(breaker, 2)
    assert len([breaker.admit() for _ in range(50)]) == 50


@pytest.mark.case("C14")
def test_a_probe_that_hangs_loses_its_place_after_a_minute(
    clock: Clock, breaker: CircuitBreaker
) -> None:
    fail(breaker, 3)
    clock.now = 10
    hanging = breaker.admit()
    clock.now = 69.9
    with pytest.raises(CircuitBreakerOpenException, match="half-open"):
        breaker.admit()
    clock.now = 70
    with breaker.admit():
        hanging.__exit__(None, None, None)
        assert counts(breaker) == ("half_open", 3, 0)


@pytest.mark.case("C17")
def test_the_wall_clock_is_not_looked_at() -> None:
    clock = inspect.signature(CircuitBreaker).parameters["clock"]
    assert clock.default is time.monotonic


def test_stats_are_exactly_those_of_the_brief(breaker: CircuitBreaker) -> None:
    stats = breaker.get_stats()
    assert stats == {
        "name": "dep",
        "state": "closed",
        "failure_count": 0,
        "success_count": 0,
        "failure_threshold": 3,
        "recovery_timeout": 10,
    }
    assert type(stats["state"]) is str
    assert breaker.state == "closed"


def test_an_open_breaker_is_open_until_a_call_asks(
    clock: Clock, breaker: CircuitBreaker
) -> None:
    fail(breaker, 3)
    clock.now = 1_000
    assert breaker.state == "open"
    succeed(breaker)
    assert breaker.state == "half_open"


# What counts


def test_only_the_expected_exceptions_count(clock: Clock) -> None:
    breaker = CircuitBreaker(
        "dep", failure_threshold=1, expected_exception=(OSError, ValueError)
    )
    with pytest.raises(KeyError), breaker:
        raise KeyError
    assert counts(breaker) == ("closed", 0, 0)
    with pytest.raises(ConnectionError), breaker:  # an OSError
        raise ConnectionError
    assert breaker.state == "open"


@pytest.mark.case("C9")
async def test_cancelled_calls_count_for_nothing() -> None:
    breaker = CircuitBreaker("dep", failure_threshold=2)
    call = breaker(anyio.sleep_forever)
    for _ in range(5):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught
    assert counts(breaker) == ("closed", 0, 0)


@pytest.mark.case("C9")
@pytest.mark.parametrize(
    "kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit]
)
def test_what_is_no_exception_counts_for_nothing(kind: type[BaseException]) -> None:
    breaker = CircuitBreaker("dep", failure_threshold=1)
    with pytest.raises(kind), breaker:
        raise kind
    assert counts(breaker) == ("closed", 0, 0)


@pytest.mark.case("C8", "C11")
async def test_a_cancelled_probe_makes_room_for_the_next(
    clock: Clock, breaker: CircuitBreaker
) -> None:
    fail(breaker, 3)
    clock.now = 10
    with anyio.CancelScope() as scope:
        scope.cancel()
        await breaker(anyio.sleep_forever)()
    assert breaker.state == "half_open"
    succeed(breaker, 2)
    assert breaker.state == "closed"


@pytest.mark.parametrize(
    "refusal",
    [CircuitBreakerOpenException, RateLimitException, ConcurrencyLimitException],
)
def test_a_refusal_of_ours_says_nothing_of_the_dependency(
    refusal: type[Exception],
) -> None:
    breaker = CircuitBreaker("dep", failure_threshold=1)
    with pytest.raises(refusal), breaker:
        raise refusal
    assert breaker.state == "closed"


def test_a_refusal_counts_where_it_is_named() -> None:
    breaker = CircuitBreaker(
        "dep", failure_threshold=1, expected_exception=RateLimitException
    )
    with pytest.raises(CircuitBreakerOpenException), breaker:
        raise CircuitBreakerOpenException
    assert breaker.state == "closed"
    with pytest.raises(RateLimitException), breaker:
        raise RateLimitException
    assert breaker.state == "open"


@pytest.mark.parametrize(
    ("member", "state"), [(OSError(), "open"), (KeyError(), "closed")]
)
def test_a_group_counts_if_a_member_does(member: Exception, state: str) -> None:
    breaker = CircuitBreaker("dep", failure_threshold=1, expected_exception=OSError)
    with pytest.raises(ExceptionGroup), breaker:
        raise ExceptionGroup("several", [ExceptionGroup("inner", [member])])
    assert breaker.state == state


# Construction


@pytest.mark.case("C24")
async def test_a_failing_async_function_trips_the_breaker(
    breaker: CircuitBreaker,
) -> None:
    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            await as_async_function(breaker, OSError("down"))
    assert breaker.state == "open"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": None}, "CircuitBreaker.name must be a str, got None"),
        ({"failure_threshold": 0}, "failure_threshold must be .* got 0"),
        ({"recovery_timeout": float("nan")}, "recovery_timeout must be .* got nan"),
        ({"success_threshold": 1.5}, "success_threshold must be .* got 1.5"),
        ({"half_open_max_calls": True}, "half_open_max_calls must be .* got True"),
        ({"expected_exception": 5}, "expected_exception must be .* got 5"),
        (
            {"expected_exception": KeyboardInterrupt},
            "expected_exception must be .* got <class 'KeyboardInterrupt'>",
        ),
    ],
)
def test_a_breaker_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        CircuitBreaker(**{"name": "dep", **arguments})
