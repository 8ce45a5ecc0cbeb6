"""Units that are set aside, and what becomes of them."""

from typing import Any

import pytest

from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.quota import Decision, Quota
from server_kit.ratelimit.reservation import Reservation
from server_kit.ratelimit.stores import Reserving
from server_kit.ratelimit.stores.in_memory import MemoryStore

WINDOW = 60.0


class Place:
    """A limiter of one quota of 100 a minute, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.limiter = RateLimiter(clock=lambda: self.now)

    async def reserve(self, cost: int, expires: float | None = None) -> Reservation:
        return await self.limiter.reserve(
            "k", limit=100, window=WINDOW, cost=cost, expires=expires
        )

    async def left(self, key: str = "k", limit: int = 100) -> int:
        return (await self.limiter.peek(key, limit=limit, window=WINDOW)).remaining


async def test_what_is_set_aside_is_not_there_for_others() -> None:
    place = Place()
    tokens = await place.reserve(70)
    assert (tokens.allowed, tokens.decision.remaining) == (True, 30)
    refused = await place.reserve(40)
    assert (refused.allowed, refused.decision.remaining) == (False, 30)
    assert await place.left() == 30


@pytest.mark.parametrize(("cost", "left"), [(70, 30), (20, 80), (0, 100)])
async def test_what_was_not_needed_is_there_again(cost: int, left: int) -> None:
    place = Place()
    tokens = await place.reserve(70)
    await tokens.settle(cost)
    assert await place.left() == left


async def test_what_cost_more_is_taken_even_beyond_the_limit() -> None:
    place = Place()
    tokens = await place.reserve(70)
    await tokens.settle(150)
    assert await place.left() == 0
    place.now += WINDOW - 1
    assert await place.left() == 0
    place.now += 1
    assert await place.left() == 100


async def test_released_units_are_there_as_if_nobody_had_asked() -> None:
    place = Place()
    tokens = await place.reserve(100)
    await tokens.release()
    decision = await place.limiter.peek("k", limit=100, window=WINDOW)
    assert (decision.remaining, decision.reset_after) == (100, 0.0)


async def test_what_was_settled_counts_from_then_on() -> None:
    place = Place()
    tokens = await place.reserve(70)
    place.now += 50
    await tokens.settle(70)
    place.now += 59
    assert await place.left() == 30


async def test_a_reservation_is_settled_once() -> None:
    place = Place()
    tokens = await place.reserve(70)
    await tokens.settle(10)
    await tokens.settle(50)
    await tokens.release()
    assert await place.left() == 90


async def test_a_block_gives_back_what_it_did_not_settle() -> None:
    place = Place()
    async with await place.reserve(70):
        assert await place.left() == 30
    assert await place.left() == 100
    with pytest.raises(ZeroDivisionError):
        async with await place.reserve(70):
            raise ZeroDivisionError
    assert await place.left() == 100


async def test_a_block_keeps_what_it_settled() -> None:
    place = Place()
    async with await place.reserve(70) as tokens:
        await tokens.settle(30)
    assert await place.left() == 70


@pytest.mark.case("S32")
async def test_what_nobody_settles_comes_back_when_it_expires() -> None:
    place = Place()
    await place.reserve(100, expires=5)
    refused = await place.limiter.check("k", limit=100, window=WINDOW)
    assert refused.retry_after == 5
    place.now += 5
    assert await place.left() == 100


async def test_by_default_it_expires_after_the_longest_window() -> None:
    place = Place()
    await place.limiter.reserve_all([Quota("a", 10, 30), Quota("b", 10, 60)])
    place.now += 59
    assert await place.left("b", limit=10) == 9
    place.now += 1
    assert await place.left("b", limit=10) == 10


async def test_what_is_settled_after_it_expired_is_charged_all_the_same() -> None:
    place = Place()
    tokens = await place.reserve(100, expires=5)
    place.now += 6
    await tokens.settle(40)
    assert await place.left() == 60


@pytest.mark.case("S16")
async def test_if_one_quota_refuses_nothing_is_set_aside() -> None:
    place = Place()
    await place.limiter.check("full", limit=1, window=WINDOW)
    tokens = await place.limiter.reserve_all(
        [Quota("k", 100, WINDOW, 70), Quota("full", 1, WINDOW)]
    )
    assert (tokens.allowed, tokens.decision.limit) == (False, 1)
    await tokens.settle(70, 1)  # as nothing happens
    assert await place.left() == 100


async def test_several_quotas_are_settled_in_their_order() -> None:
    place = Place()
    tokens = await place.limiter.reserve_all(
        [Quota("k", 100, WINDOW, 70), Quota("j", 10, WINDOW)]
    )
    await tokens.settle(5, 3)
    assert (await place.left(), await place.left("j", limit=10)) == (95, 7)


@pytest.mark.parametrize(
    ("costs", "error", "message"),
    [
        ([], ValueError, "costs must be 1"),
        ([1, 2], ValueError, "costs must be 1"),
        ([-1], ValueError, "cost must be at least 0"),
        ([0.5], TypeError, "cost must be an integer"),
    ],
)
async def test_wrong_costs_are_an_error_and_settle_nothing(
    costs: list[Any], error: type[Exception], message: str
) -> None:
    place = Place()
    tokens = await place.reserve(70)
    with pytest.raises(error, match=message):
        await tokens.settle(*costs)
    await tokens.settle(20)
    assert await place.left() == 80


@pytest.mark.parametrize("expires", [0, -1, float("inf"), True])
async def test_a_bad_expiry_is_named_and_takes_nothing(expires: float) -> None:
    place = Place()
    with pytest.raises((TypeError, ValueError), match="expires"):
        await place.reserve(70, expires=expires)
    assert await place.left() == 100


async def test_what_was_decided_without_redis_is_settled_nowhere() -> None:
    store = MemoryStore("sliding_window", lambda: 0.0, 10)
    quota = Quota("k", 100, WINDOW, 70)
    decision = Decision(
        allowed=True,
        limit=100,
        remaining=30,
        reset_after=0.0,
        retry_after=0.0,
        window=WINDOW,
        outage="open",
    )
    tokens = Reservation(store, [quota], decision, Reserving.for_seconds(WINDOW))
    await tokens.settle(70)
    assert len(store) == 0
