"""Round trips that callers share, against a Redis that answers as it is told."""

import asyncio

import pytest

from server_kit.ratelimit.stores.lane import MOST, Lane
from server_kit.ratelimit.stores.wire import Part, Request, Stood

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

TIMEOUT = 5.0


class Scripted:
    """A Redis that answers each request with its own cost, once it is let."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.rounds: list[list[int]] = []
        """Costs that were asked about together."""
        self.withins: list[float] = []
        self.is_there = True
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()

    async def ask(
        self, requests: list[Request], within: float
    ) -> list[list[Stood]] | None:
        costs = [request.parts[0].cost for request in requests]
        self.rounds.append(costs)
        self.withins.append(within)
        self.asked.set()
        await self.gate.wait()
        return [[Stood(0, it, 0, 0, 0)] for it in costs] if self.is_there else None


def asking(cost: int) -> Request:
    return Request((Part("k", 10, 1_000, cost),))


async def use(lane: Lane, cost: int) -> int | None:
    """Return what the caller of this cost is told."""
    stood = await lane.decide(asking(cost))
    return None if stood is None else stood[0].used


async def test_who_asks_alone_is_asked_for_at_once() -> None:
    redis = Scripted()
    lane = Lane(redis.ask, TIMEOUT)
    assert [await use(lane, cost) for cost in (1, 2)] == [1, 2]
    assert redis.rounds == [[1], [2]]


async def test_who_asks_in_the_same_moment_shares_a_round_trip() -> None:
    redis = Scripted()
    lane = Lane(redis.ask, TIMEOUT)
    answers = await asyncio.gather(*[use(lane, cost) for cost in range(5)])
    assert answers == [0, 1, 2, 3, 4]
    assert redis.rounds == [[0, 1, 2, 3, 4]]


async def test_who_comes_during_a_round_trip_goes_with_the_next() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(use(lane, 1))
        await redis.asked.wait()
        late = [tasks.create_task(use(lane, cost)) for cost in (2, 3)]
        await asyncio.sleep(0)
        assert redis.rounds == [[1]]
        redis.gate.set()
    assert [first.result(), *[it.result() for it in late]] == [1, 2, 3]
    assert redis.rounds == [[1], [2, 3]]


async def test_a_round_trip_is_of_bounded_size_and_nobody_is_overtaken() -> None:
    redis = Scripted()
    lane = Lane(redis.ask, TIMEOUT)
    costs = list(range(2 * MOST + 1))
    assert await asyncio.gather(*[use(lane, cost) for cost in costs]) == costs
    assert [len(it) for it in redis.rounds] == [MOST, MOST, 1]
    assert [cost for it in redis.rounds for cost in it] == costs


async def test_cancelled_before_it_was_sent_nothing_is_charged() -> None:
    redis = Scripted()
    lane = Lane(redis.ask, TIMEOUT)
    cancelled, other = (asyncio.create_task(use(lane, cost)) for cost in (1, 2))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await other == 2
    assert cancelled.cancelled()
    assert redis.rounds == [[2]]


async def test_where_all_were_cancelled_nothing_is_sent() -> None:
    redis = Scripted()
    lane = Lane(redis.ask, TIMEOUT)
    task = asyncio.create_task(use(lane, 1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert redis.rounds == []
    assert await use(lane, 2) == 2


@pytest.mark.case("S31")
async def test_who_is_cancelled_during_the_round_trip_leaves_the_others_theirs() -> (
    None
):
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    cancelled, other = (asyncio.create_task(use(lane, cost)) for cost in (1, 2))
    await redis.asked.wait()
    cancelled.cancel()
    following = asyncio.create_task(use(lane, 3))
    await asyncio.sleep(0)
    redis.gate.set()
    assert (await other, await following) == (2, 3)
    assert cancelled.cancelled()
    assert redis.rounds == [[1, 2], [3]]


async def test_without_redis_all_who_wait_are_told_so_after_one_round_trip() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    first = asyncio.create_task(use(lane, 1))
    await redis.asked.wait()
    late = asyncio.create_task(use(lane, 2))
    await asyncio.sleep(0)
    redis.is_there = False
    redis.gate.set()
    assert (await first, await late) == (None, None)
    assert redis.rounds == [[1]]
    redis.is_there = True
    assert await use(lane, 3) == 3


async def test_the_time_spent_waiting_is_taken_off_that_of_the_round_trip() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    first = asyncio.create_task(use(lane, 1))
    await redis.asked.wait()
    late = asyncio.create_task(use(lane, 2))
    await asyncio.sleep(0.05)
    redis.gate.set()
    await asyncio.gather(first, late)
    assert redis.withins[0] == pytest.approx(TIMEOUT, abs=1.0)
    assert redis.withins[1] <= TIMEOUT - 0.04


async def test_who_waited_too_long_has_no_time_left_and_none_below_that() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, 0.01)
    first = asyncio.create_task(use(lane, 1))
    await redis.asked.wait()
    late = asyncio.create_task(use(lane, 2))
    await asyncio.sleep(0.05)
    redis.gate.set()
    await asyncio.gather(first, late)
    assert redis.withins[1] == 0.0


async def test_a_bug_on_the_way_leaves_nobody_waiting() -> None:
    async def broken(requests: list[Request], within: float) -> list[list[Stood]]:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)
    lane = Lane(broken, TIMEOUT)
    costs = range(MOST + 1)
    answers = await asyncio.gather(*[use(lane, cost) for cost in costs])
    assert set(answers) == {None}
    assert await use(lane, 1) is None
    loop.set_exception_handler(None)


async def test_closing_leaves_nobody_waiting() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    first = asyncio.create_task(use(lane, 1))
    await redis.asked.wait()
    late = asyncio.create_task(use(lane, 2))
    await asyncio.sleep(0)
    await lane.aclose()
    assert (await first, await late) == (None, None)
    await lane.aclose()
