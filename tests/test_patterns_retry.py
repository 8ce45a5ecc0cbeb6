"""Retries around any function, also behind a breaker. No test sleeps."""

import asyncio
import threading
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest

from resilient_http.patterns import (
    CircuitBreaker,
    CircuitBreakerOpenException,
    RetryConfig,
    combine_circuit_breaker_and_retry,
    with_retry,
)
from resilient_http.patterns.decorate import Decorator
from resilient_http.problems import (
    ConcurrencyLimitException,
    DeadlineExceededException,
    RateLimitException,
)
from tests.calling import Clock, counts, fail


class Waits:
    """A sleep, sync or async, that only writes down."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)

    async def later(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await anyio.lowlevel.checkpoint()


WAYS = ["sync", "later"]


class Flaky:
    """Fails as often as it is told, then returns 7."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def sync(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7

    async def later(self) -> int:
        await anyio.lowlevel.checkpoint()
        return self.sync()

    async def call(self, way: str, decorator: Decorator) -> int:
        """Call the one or the other, decorated."""
        if way == "sync":
            return decorator(self.sync)()
        return await decorator(self.later)()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("dep", failure_threshold=3, recovery_timeout=10, clock=clock)


async def test_what_fails_is_called_again_until_it_does_not() -> None:
    waits, flaky = Waits(), Flaky(OSError("1"), OSError("2"))
    assert await with_retry(sleep=waits)(flaky.later)() == 7
    assert flaky.calls == 3
    assert len(waits.seconds) == 2


@pytest.mark.case("C35", "C36")
@pytest.mark.parametrize("way", WAYS)
async def test_after_the_last_attempt_its_error_is_raised_at_once_and_as_it_is(
    way: str,
) -> None:
    waits = Waits()
    errors = [OSError(str(number)) for number in range(9)]
    flaky = Flaky(*errors)
    sleep = waits if way == "sync" else waits.later
    with pytest.raises(OSError, match="3") as raised:
        await flaky.call(way, with_retry(max_attempts=4, sleep=sleep))
    assert raised.value is errors[3]
    assert flaky.calls == 4
    assert len(waits.seconds) == 3


def write_down(
    told: list[tuple[int, str, float]], attempt: int, error: Exception, wait: float
) -> None:
    told.append((attempt, str(error), wait))


async def test_sync_and_async_do_the_same() -> None:
    traces = []
    for way in WAYS:
        told: list[tuple[int, str, float]] = []
        waits = Waits()
        retried = with_retry(
            max_attempts=6,
            base_delay=1,
            max_delay=4,
            on_retry=partial(write_down, told),
            sleep=waits,
            rng=Random(7),
        )
        flaky = Flaky(*[OSError(str(number)) for number in range(5)])
        assert await flaky.call(way, retried) == 7
        traces.append((told, waits.seconds, flaky.calls))
    assert traces[0] == traces[1]
    told, seconds, calls = traces[0]
    assert [(n, text) for n, text, _ in told] == [(n, str(n - 1)) for n in range(1, 6)]
    assert [wait for *_, wait in told] == seconds
    assert all(0 <= s <= top for s, top in zip(seconds, [1, 2, 4, 4, 4], strict=True))
    assert calls == 6


@pytest.mark.case("C35")
async def test_calls_at_the_same_time_have_their_own_attempts_and_waits() -> None:
    class Longest(Random):
        def uniform(self, a: float, b: float) -> float:
            return max(a, b)

    told: dict[str, list[float]] = {"a": [], "b": []}
    turn = {"a": anyio.Event(), "b": anyio.Event()}

    def on_retry(attempt: int, error: Exception, wait: float) -> None:
        told[str(error)].append(wait)

    @with_retry(
        max_attempts=4,
        base_delay=1,
        max_delay=8,
        on_retry=on_retry,
        sleep=lambda _: anyio.lowlevel.checkpoint(),
        rng=Longest(),
    )
    async def function(name: str) -> None:
        await anyio.lowlevel.checkpoint()
        raise OSError(name)

    async def caller(name: str) -> None:
        with suppress(OSError):
            await function(name)
        turn[name].set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller, "a")
        tasks.start_soon(caller, "b")
    assert told == {"a": [1, 2, 4], "b": [1, 2, 4]}


async def test_bare_and_unconfigured_it_really_waits() -> None:
    flaky = Flaky(OSError())
    assert await with_retry(base_delay=0)(flaky.later)() == 7
    flaky = Flaky(OSError())
    assert with_retry(base_delay=0)(flaky.sync)() == 7
    assert await with_retry(Flaky().later)() == 7
    assert with_retry(Flaky().sync)() == 7


def test_other_exceptions_are_not_retried() -> None:
    flaky = Flaky(KeyError())
    with pytest.raises(KeyError):
        with_retry(retryable_exceptions=(OSError,), sleep=Waits())(flaky.sync)()
    assert flaky.calls == 1


REFUSALS = [
    CircuitBreakerOpenException,
    RateLimitException,
    ConcurrencyLimitException,
    DeadlineExceededException,
]


@pytest.mark.case("C20")
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_refusals_and_expired_deadlines_are_not_retried(
    refusal: type[Exception],
) -> None:
    flaky = Flaky(refusal())
    with pytest.raises(refusal):
        await with_retry(sleep=Waits())(flaky.later)()
    assert flaky.calls == 1


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals_are_retried_where_they_are_named(refusal: type[Exception]) -> None:
    flaky = Flaky(refusal())
    retried = with_retry(retryable_exceptions=(OSError, refusal), sleep=Waits())
    assert retried(flaky.sync)() == 7


@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError])
def test_what_is_no_exception_is_not_retried(kind: type[BaseException]) -> None:
    flaky = Flaky(kind())
    with pytest.raises(kind):
        with_retry(sleep=Waits())(flaky.sync)()
    assert flaky.calls == 1


@pytest.mark.case("C7")
async def test_no_attempt_follows_a_cancelled_wait() -> None:
    flaky = Flaky(OSError())
    waiting = anyio.Event()

    async def wait_for_ever(_: float) -> None:
        waiting.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(with_retry(sleep=wait_for_ever)(flaky.later))
        await waiting.wait()
        tasks.cancel_scope.cancel()
    assert flaky.calls == 1


async def test_on_retry_may_be_async() -> None:
    told: list[int] = []

    async def on_retry(attempt: int, error: Exception, wait: float) -> None:
        await anyio.lowlevel.checkpoint()
        told.append(attempt)

    flaky = Flaky(OSError(), OSError())
    await with_retry(on_retry=on_retry, sleep=Waits())(flaky.later)()
    assert told == [1, 2]
    with pytest.raises(TypeError, match="on_retry"):
        with_retry(on_retry=on_retry)(flaky.sync)


async def test_what_on_retry_raises_ends_the_call() -> None:
    def on_retry(attempt: int, error: Exception, wait: float) -> None:
        raise LookupError("enough")

    for way in WAYS:
        flaky = Flaky(OSError(), OSError())
        with pytest.raises(LookupError, match="enough"):
            await flaky.call(way, with_retry(on_retry=on_retry))
        assert flaky.calls == 1


@pytest.mark.parametrize(
    "arguments",
    [{"max_attempts": 0}, {"base_delay": -1}, {"retryable_exceptions": (5,)}],
)
def test_retries_that_make_no_sense_are_refused(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises((TypeError, ValueError), match=name):
        with_retry(**arguments)


# Behind a breaker


async def test_a_combined_call_counts_once_however_often_it_was_tried(
    breaker: CircuitBreaker,
) -> None:
    both = combine_circuit_breaker_and_retry(
        breaker, RetryConfig(max_attempts=3), sleep=Waits()
    )
    flaky = Flaky(*[OSError("down")] * 100)
    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            await both(flaky.later)()
    assert flaky.calls == 9
    assert counts(breaker) == ("open", 3, 0)
    for way in WAYS:
        with pytest.raises(CircuitBreakerOpenException):
            await flaky.call(way, both)
    assert flaky.calls == 9


def test_a_combined_call_that_succeeds_in_the_end_is_a_success(
    breaker: CircuitBreaker,
) -> None:
    both = combine_circuit_breaker_and_retry(breaker, RetryConfig(), sleep=Waits())
    fail(breaker, 2)
    assert both(Flaky(OSError(), OSError()).sync)() == 7
    assert counts(breaker) == ("closed", 0, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_no_retry_goes_through_a_breaker_that_others_have_opened(
    way: str, clock: Clock, breaker: CircuitBreaker
) -> None:
    waits = Waits()

    def others_fail(attempt: int, error: Exception, wait: float) -> None:
        if attempt == 2:
            thread = threading.Thread(target=fail, args=(breaker, 3))
            thread.start()
            thread.join()

    both = combine_circuit_breaker_and_retry(
        breaker, RetryConfig(max_attempts=5), on_retry=others_fail, sleep=waits
    )
    flaky = Flaky(*[OSError(str(number)) for number in range(9)])
    with pytest.raises(OSError, match="2"):
        await flaky.call(way, both)
    assert flaky.calls == 3
    assert len(waits.seconds) == 2


def test_a_probe_may_be_retried(clock: Clock, breaker: CircuitBreaker) -> None:
    fail(breaker, 3)
    clock.now = 10
    both = combine_circuit_breaker_and_retry(breaker, sleep=Waits())
    assert both(Flaky(OSError()).sync)() == 7
    assert counts(breaker) == ("half_open", 0, 1)


def test_a_combination_of_something_else_is_refused(breaker: CircuitBreaker) -> None:
    combine: Any = combine_circuit_breaker_and_retry
    with pytest.raises(TypeError, match="breaker must be a CircuitBreaker, got 5"):
        combine(5)
    with pytest.raises(TypeError, match="config must be a RetryConfig or None, got 5"):
        combine(breaker, 5)
