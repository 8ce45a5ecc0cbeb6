"""Blocks that wait for their quota: in turn, in virtual time, on both loops."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
import trio

from resilient_http.problems import RateLimitException
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.passage import Passage
from tests.server.virtual import Main, run_on_asyncio, run_on_trio

Run = Callable[[Main], None]
EVERY = 10.0
"""Seconds between two units."""

on_both = pytest.mark.parametrize("run", [run_on_asyncio, run_on_trio])


class Door:
    """A bucket from which a unit comes every ten seconds, and who went through it."""

    def __init__(self, burst: int = 1) -> None:
        self.limiter = RateLimiter(algorithm="token_bucket", clock=anyio.current_time)
        self.burst = burst
        self.began = anyio.current_time()
        self.passed: list[tuple[str, float]] = []
        self.refused: list[tuple[str, float]] = []

    @property
    def now(self) -> float:
        return round(anyio.current_time() - self.began, 3)

    def passage(self, *, wait: bool | float = True, cost: int = 1) -> Passage:
        window = EVERY * self.burst
        return self.limiter.limit(
            "k", limit=self.burst, window=window, cost=cost, wait=wait
        )

    async def enter(
        self, name: str, *, wait: bool | float = True, cost: int = 1
    ) -> None:
        """Go through, and note who did and when."""
        try:
            async with self.passage(wait=wait, cost=cost):
                self.passed.append((name, self.now))
        except RateLimitException:
            self.refused.append((name, self.now))

    async def enter_all(self, *waits: float) -> None:
        """Have several come, a tenth of a second after each other."""
        async with anyio.create_task_group() as tasks:
            for number, wait in enumerate(waits):
                come = partial(self.enter_at, number / 10, str(number), wait=wait)
                tasks.start_soon(come)

    async def enter_at(self, after: float, name: str, **how: Any) -> None:
        await anyio.sleep(after)
        await self.enter(name, **how)


@on_both
def test_while_there_are_units_nobody_waits(run: Run) -> None:
    async def main() -> None:
        door = Door(burst=3)
        async with door.passage() as decision:
            assert (decision.allowed, decision.remaining) == (True, 2)
        await door.enter("second")
        await door.enter("third")
        assert door.passed == [("second", 0.0), ("third", 0.0)]

    run(main)


@on_both
def test_who_does_not_wait_is_refused_and_told_how_long_that_takes(run: Run) -> None:
    async def main() -> None:
        door = Door()
        await door.enter("first")
        await anyio.sleep(0.5)
        with pytest.raises(RateLimitException) as refused:
            async with door.passage(wait=False):
                raise AssertionError
        assert refused.value.retry_after == EVERY
        assert "Retry after 10 seconds" in str(refused.value)
        assert door.now == 0.5

    run(main)


@on_both
def test_who_waits_goes_on_as_soon_as_there_is_a_unit(run: Run) -> None:
    async def main() -> None:
        door = Door()
        await door.enter("first")
        await anyio.sleep(2.5)
        await door.enter("second")
        await door.enter("third")
        assert door.passed == [("first", 0.0), ("second", 10.0), ("third", 20.0)]

    run(main)


@on_both
def test_who_would_wait_too_long_is_refused_at_once(run: Run) -> None:
    async def main() -> None:
        door = Door()
        await door.enter("first")
        await door.enter("impatient", wait=9.999)
        await door.enter("patient", wait=10)
        assert door.refused == [("impatient", 0.0)]
        assert door.passed[1:] == [("patient", 10.0)]

    run(main)


@on_both
def test_who_waits_goes_in_turn(run: Run) -> None:
    async def main() -> None:
        door = Door()
        await door.enter_all(*[True] * 6)
        assert door.passed == [(str(n), n * EVERY) for n in range(6)]

    run(main)


@on_both
def test_who_finds_in_its_turn_that_it_cannot_wait_is_refused_then(run: Run) -> None:
    async def main() -> None:
        door = Door()
        await door.enter("first")
        await door.enter_all(True, 25, 25, True)
        assert door.refused == [("2", 20.0)]  # the next unit comes at 30 s
        assert door.passed[1:] == [("0", 10.0), ("1", 20.0), ("3", 30.0)]

    run(main)


@on_both
def test_whose_patience_ends_in_the_queue_leaves_it(run: Run) -> None:
    async def main() -> None:
        door = Door()
        await door.enter("first")
        await door.enter_all(True, True, 15, True)
        assert door.refused == [("2", 15.2)]
        assert door.passed[1:] == [("0", 10.0), ("1", 20.0), ("3", 30.0)]

    run(main)


@on_both
def test_who_cannot_wait_as_long_as_who_is_ahead_does_not_queue(run: Run) -> None:
    async def main() -> None:
        door = Door(burst=3)
        await door.enter("all", cost=3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(door.enter, "large", cost=3))
            tasks.start_soon(partial(door.enter_at, 25, "late", wait=4))
        assert door.refused == [("late", 25.0)]
        assert door.passed[1:] == [("large", 30.0)]

    run(main)


@on_both
def test_nobody_who_comes_as_a_unit_does_takes_it_from_who_waited(run: Run) -> None:
    async def main() -> None:
        for _ in range(20):
            door = Door()
            await door.enter("first")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(door.enter_at, EVERY, "newcomer")
                tasks.start_soon(door.enter_at, 1.0, "waiting")
            assert [name for name, _ in door.passed] == ["first", "waiting", "newcomer"]

    run(main)


@on_both
def test_small_costs_do_not_overtake_a_large_one(run: Run) -> None:
    async def main() -> None:
        door = Door(burst=3)
        await door.enter("all", cost=3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(door.enter_at, 1, "large", cost=3))
            for number in range(2, 5):
                tasks.start_soon(door.enter_at, number * 5, "small")
        assert door.passed == [
            ("all", 0.0),
            ("large", 30.0),
            *[("small", at) for at in (40.0, 50.0, 60.0)],
        ]

    run(main)


@on_both
def test_who_is_cancelled_makes_room_for_the_next(run: Run) -> None:
    async def main() -> None:
        door = Door()

        async def give_up(name: str, after: float) -> None:
            with anyio.move_on_after(after):
                await door.enter(name)

        await door.enter("first")
        async with anyio.create_task_group() as tasks:
            for number, after in enumerate([4.0, 5.0, 60.0]):
                tasks.start_soon(give_up, str(number), after)
                await anyio.sleep(0.1)
        assert door.passed == [("first", 0.0), ("2", 10.0)]
        assert door.refused == []

    run(main)


@on_both
def test_another_limiter_has_a_queue_of_its_own(run: Run) -> None:
    async def main() -> None:
        one, other = Door(), Door()
        await one.enter("first")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.enter, "waiting")
            await anyio.sleep(5)
            await other.enter("first")
            tasks.start_soon(partial(other.enter, "waiting", wait=10))
        assert one.passed[1:] == [("waiting", 10.0)]
        assert other.passed[1:] == [("waiting", 15.0)]

    run(main)


def test_each_loop_has_a_queue_of_its_own() -> None:
    limiter = RateLimiter(algorithm="token_bucket")
    through: list[int] = []

    async def enter() -> None:
        async with limiter.limit("k", limit=20, window=1, cost=10, wait=True):
            through.append(10)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(enter)

    threads = [threading.Thread(target=trio.run, args=(main,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert through == [10] * 6


@on_both
def test_a_function_is_counted_at_each_call(run: Run) -> None:
    async def main() -> None:
        door = Door()

        @door.passage()
        async def add(one: int, *, other: int) -> float:
            """Add."""
            return one + other + door.now

        assert [await add(1, other=n) for n in range(3)] == [1.0, 12.0, 23.0]
        assert (add.__name__, add.__doc__) == ("add", "Add.")

    run(main)


@on_both
def test_what_was_taken_stays_taken_whatever_happens_in_the_block(run: Run) -> None:
    async def main() -> None:
        door = Door()
        with pytest.raises(ZeroDivisionError):
            async with door.passage():
                raise ZeroDivisionError
        await door.enter("next", wait=False)
        assert door.refused == [("next", 0.0)]

    run(main)


@pytest.mark.parametrize(
    ("wait", "error"),
    [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (None, TypeError)],
)
def test_a_bad_wait_is_shown(wait: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"wait must be"):
        RateLimiter().limit("k", limit=1, window=1, wait=wait)
