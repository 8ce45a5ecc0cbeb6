"""Giving up on what is awaited, on either loop, and on nothing else."""

import asyncio
import gc
import math
import time
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from resilient_http._hands import timers
from resilient_http._hands.timers import look, timer


def in_(seconds: float) -> Callable[[], float]:
    ends = time.monotonic() + seconds
    return lambda: ends - time.monotonic()


def never() -> float:
    return math.inf


async def test_what_takes_too_long_is_cut_short() -> None:
    with timer(in_(0.02)) as watch:
        await anyio.sleep(60)
    assert watch.expired


async def test_what_ends_in_time_is_left_alone() -> None:
    with timer(in_(60)) as watch:
        await anyio.lowlevel.checkpoint()
    assert not watch.expired
    with timer(never) as watch:
        await anyio.lowlevel.checkpoint()
    assert not watch.expired


async def test_an_error_inside_comes_out() -> None:
    with pytest.raises(ZeroDivisionError), timer(in_(60)):
        raise ZeroDivisionError


async def test_a_limit_that_was_put_off_is_waited_for() -> None:
    ends = [time.monotonic() + 0.01]
    with timer(lambda: ends[0] - time.monotonic()) as watch:
        ends[0] += 60
        watch.rearm()
        await anyio.sleep(0.03)
    assert not watch.expired


async def test_a_limit_that_jumps_is_seen_by_who_is_told_to_look() -> None:
    left = [3_600.0]
    with anyio.fail_after(10), timer(lambda: left[0]) as watch:
        look()
        await anyio.lowlevel.checkpoint()
        left[0] = 0.0
        look()
        await anyio.sleep_forever()
    assert watch.expired


async def test_each_call_has_its_own_limit() -> None:
    order: list[int] = []

    async def call(number: int) -> None:
        with timer(in_(number * 0.02)) as watch:
            await anyio.sleep(60)
        assert watch.expired
        order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in (3, 1, 2):
            tasks.start_soon(call, number)
    assert order == [1, 2, 3]


async def test_the_inner_of_two_ends_alone() -> None:
    with timer(in_(60)) as outer:
        with timer(in_(0.01)) as inner:
            await anyio.sleep(60)
        assert inner.expired
        await anyio.lowlevel.checkpoint()
    assert not outer.expired


async def test_the_outer_of_two_ends_both() -> None:
    with timer(in_(0.01)) as outer:
        with timer(in_(60)) as inner:
            await anyio.sleep(60)
        raise AssertionError
    assert outer.expired
    assert not inner.expired


async def test_somebody_elses_cancellation_goes_on() -> None:
    with anyio.move_on_after(0.01) as theirs:
        with timer(in_(60)) as ours:
            await anyio.sleep(60)
        raise AssertionError
    assert theirs.cancelled_caught
    assert not ours.expired


async def test_a_cancellation_in_the_same_moment_is_not_swallowed() -> None:
    ends = time.monotonic() + 0.01
    with anyio.CancelScope(deadline=anyio.current_time() + 0.01) as theirs:
        with timer(lambda: ends - time.monotonic()):
            await anyio.sleep(60)
        await anyio.sleep(60)
    assert theirs.cancel_called


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_task_is_not_left_half_cancelled() -> None:
    with timer(in_(0.01)):
        await asyncio.sleep(60)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    async with asyncio.timeout(60):
        await asyncio.sleep(0)


def test_every_loop_has_its_own_table() -> None:
    async def call() -> bool:
        with timer(in_(0.01)) as watch:
            await asyncio.sleep(60)
        return watch.expired

    assert [asyncio.run(call()) for _ in range(3)] == [True, True, True]


# One read or one write, on asyncio.

ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


def phase(seconds: float | None) -> Any:
    found = timers.phase(seconds)
    assert found is not None
    return found


@ASYNCIO
async def test_a_phase_that_takes_too_long_is_cut_short() -> None:
    with phase(0.01) as watch:
        await asyncio.sleep(60)
    assert watch.expired


@ASYNCIO
async def test_a_phase_without_a_limit_is_not() -> None:
    with phase(None) as watch:
        await asyncio.sleep(0.01)
    assert not watch.expired


@ASYNCIO
async def test_of_equally_long_phases_each_ends_in_its_turn() -> None:
    first_is_over = asyncio.Event()

    async def second() -> bool:
        with phase(0.05) as watch:
            await first_is_over.wait()
        with phase(0.05) as again:
            await asyncio.sleep(60)
        return again.expired and not watch.expired

    with phase(0.05) as watch:
        await asyncio.sleep(0.02)
        later = asyncio.create_task(second())
        await asyncio.sleep(60)
    first_is_over.set()
    assert watch.expired
    assert await later


@ASYNCIO
async def test_what_has_come_is_taken_though_it_is_late() -> None:
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    with phase(1e-9) as watch:
        loop.call_at(loop.time() - 1, came.set_result, "in the same turn")
        assert await came
    assert not watch.expired


@ASYNCIO
async def test_what_waits_for_nothing_is_given_a_turn() -> None:
    # The queue is set for the first of them, and asked before the second goes on.
    loop = asyncio.get_running_loop()
    begins = loop.create_future()
    second: list[bool] = []

    async def call() -> None:
        await begins
        with phase(1e-9) as watch:
            await asyncio.sleep(0)
        second.append(watch.expired)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    with phase(1e-9):
        begins.set_result(None)
        await asyncio.sleep(60)
    await task
    assert second == [False]


@ASYNCIO
async def test_a_task_that_never_waits_is_cut_all_the_same() -> None:
    turns = 0
    with phase(1e-9) as watch:
        while turns < 1_000:
            turns += 1
            await asyncio.sleep(0)
    assert watch.expired


@ASYNCIO
async def test_a_cancellation_in_the_moment_a_phase_ends_is_not_swallowed() -> None:
    loop = asyncio.get_running_loop()

    async def call() -> None:
        with phase(0.01):
            task = asyncio.current_task()
            assert task is not None
            loop.call_later(0.01, task.cancel)
            await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(call())


@ASYNCIO
async def test_a_length_that_nobody_asks_for_any_more_is_forgotten() -> None:
    for _ in range(2):
        with phase(0.01):
            await asyncio.sleep(60)
        table: Any = vars(asyncio.get_running_loop())["_resilient_http_timers"]
        assert vars(table)["_queues"] == {}


def test_a_loop_that_is_over_is_forgotten() -> None:
    async def call() -> weakref.ref[asyncio.AbstractEventLoop]:
        with timer(lambda: 60.0):
            pass
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(call())
    gc.collect()
    assert loop() is None


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_another_loop_is_not_for_a_phase() -> None:
    assert timers.phase(1) is None
