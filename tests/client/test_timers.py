"""Giving up on what is awaited, on either loop, and on nothing else."""

import asyncio
import math
import time
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

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
