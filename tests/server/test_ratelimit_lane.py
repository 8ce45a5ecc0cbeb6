"""Round trips that callers share, before a Redis that answers as it is told."""

import asyncio
from collections.abc import Callable

import pytest

from server_kit.ratelimit.stores.lane import AT_ONCE, MOST, Answers, Lane
from server_kit.ratelimit.stores.wire import Part, Request, Stood

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

TIMEOUT = 5.0


class Scripted:
    """A Redis that answers each request with its own cost: soon, or when it is let."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.rounds: list[list[int]] = []
        """Costs that were asked about together."""
        self.withins: list[float] = []
        self.is_there = True
        self._is_open = is_open
        self._held: list[Callable[[], None]] = []

    def ask(
        self,
        requests: list[Request],
        within: float,
        then: Callable[[Answers | None], None],
    ) -> None:
        costs = [request.parts[0].cost for request in requests]
        self.rounds.append(costs)
        self.withins.append(within)

        def answer() -> None:
            told = [[Stood(0, it, 0, 0, 0)] for it in costs]
            then(told if self.is_there else None)

        if self._is_open:
            asyncio.get_running_loop().call_soon(answer)
        else:
            self._held.append(answer)

    def let(self) -> None:
        """Answer what was asked, and what will be."""
        self._is_open = True
        for answer in self._held:
            answer()


def asking(cost: int) -> Request:
    return Request((Part("k", 10, 1_000, cost),))


async def use(lane: Lane, cost: int) -> int | None:
    """Return what the caller of this cost is told."""
    stood = await lane.decide(asking(cost))
    return None if stood is None else stood[0].used


async def started(lane: Lane, *costs: int) -> "list[asyncio.Task[int | None]]":
    """Return callers who wait for an answer."""
    tasks = [asyncio.create_task(use(lane, cost)) for cost in costs]
    await asyncio.sleep(0)
    return tasks


async def busy(lane: Lane) -> "list[asyncio.Task[int | None]]":
    """Return callers of cost 0 that keep all round trips under way."""
    return [task for _ in range(AT_ONCE) for task in await started(lane, 0)]


async def test_who_asks_alone_is_asked_for_at_once() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    answer = lane.decide(asking(1))
    assert redis.rounds == [[1]]
    redis.let()
    assert await answer == [Stood(0, 1, 0, 0, 0)]


async def test_who_asks_in_the_same_moment_shares_a_round_trip() -> None:
    redis = Scripted()
    lane = Lane(redis.ask, TIMEOUT)
    await asyncio.gather(*[use(lane, 0) for _ in range(MOST)])  # it is a crowd
    redis.rounds.clear()
    answers = await asyncio.gather(*[use(lane, cost) for cost in range(5)])
    assert answers == [0, 1, 2, 3, 4]
    assert redis.rounds == [[0, 1, 2, 3, 4]]


async def test_who_comes_while_all_are_under_way_goes_with_the_next() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    first = await busy(lane)
    late = await started(lane, 2, 3)
    assert redis.rounds == [[0]] * AT_ONCE
    redis.let()
    assert await asyncio.gather(*first, *late) == [0] * AT_ONCE + [2, 3]
    assert redis.rounds == [*[[0]] * AT_ONCE, [2, 3]]


async def test_a_round_trip_is_of_bounded_size_and_nobody_is_overtaken() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    await busy(lane)
    redis.rounds.clear()
    costs = list(range(2 * MOST + 1))
    late = await started(lane, *costs)
    redis.let()
    assert await asyncio.gather(*late) == costs
    assert [len(it) for it in redis.rounds] == [MOST, MOST, 1]
    assert [cost for it in redis.rounds for cost in it] == costs


async def test_cancelled_before_it_was_sent_nothing_is_charged() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    await busy(lane)
    cancelled, other = await started(lane, 1, 2)
    cancelled.cancel()
    await asyncio.sleep(0)
    redis.let()
    assert await other == 2
    assert cancelled.cancelled()
    assert redis.rounds == [*[[0]] * AT_ONCE, [2]]


async def test_where_all_were_cancelled_nothing_is_sent() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    await busy(lane)
    (task,) = await started(lane, 1)
    task.cancel()
    await asyncio.wait([task])
    redis.let()
    assert await use(lane, 2) == 2
    assert redis.rounds == [*[[0]] * AT_ONCE, [2]]


@pytest.mark.case("S31")
async def test_who_is_cancelled_during_the_round_trip_leaves_the_others_theirs() -> (
    None
):
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    await busy(lane)
    cancelled, other = await started(lane, 1, 2)
    following = await started(lane, 3)
    redis.let()  # sent, and not yet answered
    cancelled.cancel()
    assert await asyncio.gather(other, *following) == [2, 3]
    assert cancelled.cancelled()


async def test_without_redis_all_who_wait_are_told_so_after_one_round_trip() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    first = await busy(lane)
    late = await started(lane, 1)
    redis.is_there = False
    redis.let()
    assert set(await asyncio.gather(*first, *late)) == {None}
    assert redis.rounds == [[0]] * AT_ONCE
    redis.is_there = True
    assert await use(lane, 3) == 3


@pytest.mark.parametrize(("waited", "left"), [(0.0, 5.0), (1.0, 4.0), (9.0, 2.0)])
async def test_the_time_spent_waiting_is_taken_off_that_of_the_round_trip(
    monkeypatch: pytest.MonkeyPatch, waited: float, left: float
) -> None:
    now = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    await busy(lane)
    late = await started(lane, 2)
    now += waited  # if it was longer than the timeout, the loop was busy
    redis.let()
    await asyncio.gather(*late)
    assert redis.withins == [*[TIMEOUT] * AT_ONCE, left]


async def test_a_bug_on_the_way_leaves_nobody_waiting() -> None:
    def broken(requests: list[Request], within: float, then: object) -> None:
        raise ZeroDivisionError

    lane = Lane(broken, TIMEOUT)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await use(lane, 1)


async def test_closing_leaves_nobody_waiting() -> None:
    redis = Scripted(is_open=False)
    lane = Lane(redis.ask, TIMEOUT)
    await busy(lane)
    late = await started(lane, 2)
    lane.close()
    assert await asyncio.gather(*late) == [None]
