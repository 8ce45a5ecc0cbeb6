"""Many callers of one breaker: tasks, threads, and calls inside calls."""

import threading
from contextvars import copy_context

import anyio
import pytest

from resilient_http.patterns import (
    CircuitBreaker,
    CircuitBreakerOpenException,
    Passage,
)
from tests.calling import Clock, counts, fail, succeed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("dep", failure_threshold=3, recovery_timeout=10, clock=clock)


@pytest.mark.case("C15")
@pytest.mark.parametrize("places", [1, 3])
async def test_of_fifty_tasks_only_the_probes_run(places: int, clock: Clock) -> None:
    breaker = CircuitBreaker(
        "dep", failure_threshold=1, half_open_max_calls=places, clock=clock
    )
    fail(breaker)
    clock.now = 60
    ran, refused, done = 0, 0, anyio.Event()

    @breaker
    async def function() -> None:
        nonlocal ran
        ran += 1
        await done.wait()

    async def caller() -> None:
        nonlocal refused
        try:
            await function()
        except CircuitBreakerOpenException:
            refused += 1
            if refused == 50 - places:
                done.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(caller)
    assert (ran, refused) == (places, 50 - places)


@pytest.mark.case("C15")
def test_of_many_threads_only_the_probe_runs(clock: Clock) -> None:
    breaker = CircuitBreaker("dep", failure_threshold=1, clock=clock)
    fail(breaker)
    clock.now = 60
    outcomes: list[str] = []
    others_are_done, together = threading.Event(), threading.Barrier(16)

    @breaker
    def function() -> None:
        assert others_are_done.wait(10)

    def caller() -> None:
        together.wait(10)
        try:
            function()
            outcomes.append("ran")
        except CircuitBreakerOpenException:
            outcomes.append("refused")
            if outcomes.count("refused") == 15:
                others_are_done.set()

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["ran"] + ["refused"] * 15
    assert counts(breaker) == ("half_open", 0, 1)


@pytest.mark.case("C12")
async def test_a_block_entered_before_the_trip_is_not_a_probe(
    clock: Clock, breaker: CircuitBreaker
) -> None:
    entered, leave = anyio.Event(), anyio.Event()

    async def slow() -> None:
        async with breaker:
            entered.set()
            await leave.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(slow)
        await entered.wait()
        fail(breaker, 3)
        clock.now = 10
        with breaker:
            leave.set()
            await anyio.wait_all_tasks_blocked()
            assert counts(breaker) == ("half_open", 3, 0)


@pytest.mark.parametrize("start", ["closed", "half_open"])
async def test_calls_inside_a_call_through_the_same_breaker_are_part_of_it(
    start: str, clock: Clock, breaker: CircuitBreaker
) -> None:
    if start == "half_open":
        fail(breaker, 3)
        clock.now = 10

    @breaker
    async def inner(*, failing: bool) -> None:
        await anyio.lowlevel.checkpoint()
        if failing:
            raise OSError("down")

    @breaker
    async def outer(*, failing: bool) -> None:
        async with breaker:
            await inner(failing=failing)

    await outer(failing=False)
    assert counts(breaker) == (start, 0, 1)
    with pytest.raises(OSError, match="down"):
        await outer(failing=True)
    assert breaker.get_stats()["failure_count"] == 1


async def test_a_task_left_behind_by_a_call_is_on_its_own(
    breaker: CircuitBreaker,
) -> None:
    outer_is_over = anyio.Event()

    async def left_behind() -> None:
        await outer_is_over.wait()
        fail(breaker, 3)

    async with anyio.create_task_group() as tasks:
        async with breaker:
            tasks.start_soon(left_behind)
        outer_is_over.set()
    assert breaker.state == "open"


def test_calls_that_are_over_leave_nothing_behind(breaker: CircuitBreaker) -> None:
    succeed(breaker, 100)
    left = [value for _, value in copy_context().items() if isinstance(value, tuple)]
    assert not any(isinstance(one, Passage) for value in left for one in value)


def test_two_breakers_do_not_know_each_other(breaker: CircuitBreaker) -> None:
    other = CircuitBreaker("other")
    with other:
        fail(breaker, 3)
    assert (breaker.state, counts(other)) == ("open", ("closed", 0, 1))


def test_a_block_is_left_where_it_was_entered(breaker: CircuitBreaker) -> None:
    entering = threading.Thread(target=breaker.__enter__)
    entering.start()
    entering.join()
    with pytest.raises(RuntimeError, match="'dep' was entered in another"):
        breaker.__exit__(None, None, None)
