"""Cutting short, and telling whose cut it was."""

import asyncio
import math

import anyio
import pytest

from server_kit.deadlines.cutting import Cut, cut_after, now


async def test_what_takes_too_long_is_cut() -> None:
    with cut_after(0.01) as cut:
        await anyio.sleep_forever()
    assert cut.happened


async def test_what_is_done_in_time_is_not_cut_later() -> None:
    with cut_after(0.01) as cut:
        pass
    await anyio.sleep(0.03)
    assert not cut.happened


async def test_another_task_may_cut_at_any_time_and_twice() -> None:
    def soon(cut: Cut) -> None:
        cut.now()
        cut.now()

    async def later(cut: Cut) -> None:
        soon(cut)

    async with anyio.create_task_group() as group:
        with cut_after(math.inf) as cut:
            group.start_soon(later, cut)
            await anyio.sleep_forever()
        await anyio.sleep(0.001)  # nothing of it is left
    assert cut.happened


async def test_what_is_lifted_goes_on() -> None:
    with cut_after(0.01) as cut:
        cut.lift()
        await anyio.sleep(0.03)
    assert not cut.happened


async def test_an_error_in_answer_to_the_cut_is_raised() -> None:
    async def work(cut: Cut) -> None:
        with cut:
            try:
                await anyio.sleep_forever()
            finally:
                raise ZeroDivisionError

    cut = cut_after(0.01)
    with pytest.raises(ZeroDivisionError):
        await work(cut)
    assert not cut.happened


async def test_who_ends_in_spite_of_the_cut_was_not_cut(
    anyio_backend_name: str,
) -> None:
    with cut_after(0.01) as cut:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            pass
    assert not cut.happened
    if anyio_backend_name == "asyncio":
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_a_cancellation_from_outside_at_the_same_time_stays_in_force(
    anyio_backend_name: str,
) -> None:
    if anyio_backend_name != "asyncio":
        return  # scopes of trio see to it
    ended: list[str] = []

    async def work() -> None:
        with cut_after(math.inf) as cut:
            loop = asyncio.get_running_loop()
            task = asyncio.current_task(loop)
            assert task is not None
            loop.call_soon(cut.now)
            loop.call_soon(task.cancel)
            await anyio.sleep_forever()
        ended.append("cut")

    async with anyio.create_task_group() as group:
        group.start_soon(work)
    assert ended == []


async def test_the_time_is_that_of_the_loop() -> None:
    assert now() == pytest.approx(anyio.current_time(), abs=1)
