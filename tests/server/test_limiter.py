"""The limiter, and the memory it keeps quotas in."""

import asyncio
import threading
import time
from typing import Any

import pytest

from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.quota import Decision, Quota
from server_kit.ratelimit.stores import Reserving, tightest
from server_kit.ratelimit.stores.in_memory import LOOKED_AT, MemoryStore


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def store_of(max_keys: int) -> tuple[MemoryStore, Clock]:
    clock = Clock()
    return MemoryStore("sliding_window", clock, max_keys), clock


async def left(limiter: RateLimiter, key: str, limit: int = 10) -> int:
    return (await limiter.check(key, limit=limit, window=60, cost=0)).remaining


async def test_a_decision_tells_how_the_quota_stands() -> None:
    limiter = RateLimiter(clock=Clock())
    decision = await limiter.check("k", limit=10, window=60, cost=3)
    assert decision == Decision(
        allowed=True,
        limit=10,
        remaining=7,
        reset_after=60.0,
        retry_after=0.0,
        window=60,
    )


async def test_a_refusal_tells_when_to_try_again() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    await limiter.check("k", limit=10, window=60, cost=10)
    clock.now += 15
    refused = await limiter.check("k", limit=10, window=60)
    assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 0, 45)
    clock.now += refused.retry_after
    assert (await limiter.check("k", limit=10, window=60)).allowed


async def test_a_bucket_can_be_chosen() -> None:
    clock = Clock()
    limiter = RateLimiter(algorithm="token_bucket", clock=clock)
    await limiter.check("k", limit=10, window=60, cost=10)
    clock.now += 6
    assert await left(limiter, "k") == 1


async def test_keys_do_not_share() -> None:
    limiter = RateLimiter()
    await limiter.check("a", limit=10, window=60)
    assert await left(limiter, "b") == 10


async def test_one_key_with_two_limits_has_two_quotas() -> None:
    limiter = RateLimiter()
    await limiter.check("k", limit=10, window=60)
    await limiter.check("k", limit=10, window=1)
    assert (await left(limiter, "k"), await left(limiter, "k", limit=5)) == (9, 5)


@pytest.mark.case("S14")
async def test_a_cost_above_the_limit_is_an_error_and_takes_nothing() -> None:
    limiter = RateLimiter()
    with pytest.raises(ValueError, match=r"cost must be .* got 11"):
        await limiter.check("k", limit=10, window=60, cost=11)
    assert await left(limiter, "k") == 10


@pytest.mark.case("S15")
async def test_a_cost_of_nothing_takes_nothing_and_less_is_an_error() -> None:
    limiter = RateLimiter()
    assert [await left(limiter, "k") for _ in range(20)] == [10] * 20
    with pytest.raises(ValueError, match=r"cost must be .* got -1"):
        await limiter.check("k", limit=10, window=60, cost=-1)


@pytest.mark.case("S16")
@pytest.mark.parametrize("refusing_first", [True, False])
async def test_if_one_quota_refuses_none_is_charged(*, refusing_first: bool) -> None:
    limiter = RateLimiter()
    await limiter.check("full", limit=1, window=60)
    quotas = [Quota("full", 1, 60), Quota("free", 10, 60)]
    decision = await limiter.check_all(quotas if refusing_first else quotas[::-1])
    assert not decision.allowed
    assert decision.limit == 1
    assert await left(limiter, "free") == 10


async def test_several_new_quotas_are_all_charged() -> None:
    limiter = RateLimiter()
    decision = await limiter.check_all([Quota("a", 10, 60, 2), Quota("b", 20, 60)])
    assert (decision.allowed, decision.remaining) == (True, 8)
    assert await left(limiter, "a") == 8
    assert await left(limiter, "b", limit=20) == 19


@pytest.mark.parametrize("quotas", [[], [Quota("k", 1, 1, 0), Quota("k", 1, 1)]])
async def test_quotas_must_be_different_ones(quotas: list[Quota]) -> None:
    with pytest.raises(ValueError, match="quotas"):
        await RateLimiter().check_all(quotas)


def test_the_tightest_is_the_longest_refusal_else_the_least_left() -> None:
    def decision(remaining: int, retry_after: float) -> Decision:
        return Decision(
            allowed=retry_after == 0,
            limit=100,
            remaining=remaining,
            reset_after=60,
            retry_after=retry_after,
            window=60,
        )

    some, few = decision(50, 0), decision(1, 0)
    short, long = decision(0, 1), decision(3, 9)
    assert tightest([some, few]) == few
    assert tightest([few, short, long, some]) == long


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("algorithm", "leaky_bucket", ValueError),
        ("clock", 0.0, TypeError),
        ("max_keys", 0, ValueError),
        ("max_keys", 1e5, TypeError),
        ("redis", "http://localhost", ValueError),
        ("redis", "redis+sentinel://localhost", ValueError),
        ("redis", 6379, TypeError),
        ("on_outage", "shut", ValueError),
        ("timeout", 0, ValueError),
        ("lease", 0.05, TypeError),
        ("prefix", "", ValueError),
        ("prefix", "a{b}", ValueError),
        ("prefix", b"a", TypeError),
        ("listeners", [None], TypeError),
    ],
)
def test_a_bad_argument_is_named(
    field: str, value: object, error: type[Exception]
) -> None:
    kwargs: dict[str, Any] = {field: value}
    with pytest.raises(error, match=field):
        RateLimiter(**kwargs)


@pytest.mark.case("S30")
def test_a_limiter_serves_any_event_loop() -> None:
    limiter = RateLimiter()

    async def use() -> int:
        return (await limiter.check("k", limit=10, window=60)).remaining

    assert [asyncio.run(use()), asyncio.run(use())] == [9, 8]


class Yielding(str):
    """A key that lets other threads run whenever it is looked up."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(0)
        return super().__hash__()


@pytest.mark.case("S27")
def test_no_two_threads_are_given_the_same_unit() -> None:
    store, _ = store_of(max_keys=10)
    given: list[int] = []

    def use() -> None:
        for _ in range(50):
            (decision,) = store.decide_now([Quota(Yielding("k"), 200, 60)])
            if decision.allowed:
                given.append(decision.remaining)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == list(range(200))


def test_the_store_never_holds_more_keys_than_it_may() -> None:
    store, clock = store_of(max_keys=20)
    for n in range(200):
        clock.now += 0.01
        store.decide_now([Quota(f"a{n}", 10, 60), Quota(f"b{n}", 10, 60)])
        assert len(store) <= 20


def test_a_store_of_one_key_still_decides_about_two() -> None:
    store, _ = store_of(max_keys=1)
    for remaining in (9, 8):
        decisions = store.decide_now([Quota("a", 10, 60), Quota("b", 10, 60)])
        assert decisions[1].remaining == remaining
    assert len(store) == 1


def test_keys_that_use_nothing_are_forgotten() -> None:
    store, clock = store_of(max_keys=1_000)
    for n in range(100):
        store.decide_now([Quota(f"old{n}", 10, 60)])
    clock.now += 60
    for n in range(20):
        store.decide_now([Quota(f"new{n}", 10, 60)])
    assert len(store) == 20


def test_a_long_window_does_not_hide_keys_that_use_nothing() -> None:
    store, clock = store_of(max_keys=1_000)
    for n in range(2 * LOOKED_AT):
        store.decide_now([Quota(f"day{n}", 10, 86_400)])
    for n in range(50):
        store.decide_now([Quota(f"second{n}", 10, 1)])
    clock.now += 1
    for n in range(30):
        store.decide_now([Quota(f"new{n}", 10, 60)])
    assert len(store) == 2 * LOOKED_AT + 30


def test_an_asked_or_refused_key_is_not_stored_for_it() -> None:
    store, _ = store_of(max_keys=10)
    store.decide_now([Quota("full", 1, 60)])
    store.decide_now([Quota("peeked", 10, 60, cost=0)])
    store.decide_now([Quota("full", 1, 60), Quota("not charged", 10, 60)])
    assert len(store) == 1


def test_a_flood_of_keys_does_not_free_one_that_is_used_up() -> None:
    store, _ = store_of(max_keys=100)
    victim = Quota("used up", 10, 60)
    for _ in range(10):
        store.decide_now([victim])
    for n in range(5_000):
        store.decide_now([Quota(f"flood{n}", 10, 60)])
    (decision,) = store.decide_now([victim])
    assert not decision.allowed


def test_of_keys_in_use_the_one_that_uses_the_smallest_share_goes() -> None:
    store, _ = store_of(max_keys=2)
    for quota in (Quota("rich", 1_000, 60, cost=20), Quota("poor", 10, 60, cost=9)):
        store.decide_now([quota])
    store.decide_now([Quota("new", 10, 60)])
    (poor,) = store.decide_now([Quota("poor", 10, 60)])
    assert poor.remaining == 0


def test_a_key_that_is_seen_all_the_time_is_not_forgotten() -> None:
    store, _ = store_of(max_keys=20)
    for n in range(100):
        (decision,) = store.decide_now([Quota("busy", 1_000, 60)])
        store.decide_now([Quota(f"flood{n}", 10, 60)])
        assert decision.remaining == 999 - n


def one(key: str, limit: int = 10, cost: int = 1) -> Quota:
    return Quota(key, limit, 60, cost)


async def take_one(
    store: MemoryStore, key: str, cost: int = 1, window: float = 60
) -> int:
    return (await store.decide_one(key, 10, window, cost)).remaining


async def take_among(
    store: MemoryStore, key: str, cost: int = 1, window: float = 60
) -> int:
    return store.decide_now([Quota(key, 10, window, cost)])[0].remaining


either = pytest.mark.parametrize("take", [take_one, take_among])


@either
async def test_who_is_refused_is_charged_nothing(take: Any) -> None:
    store, clock = store_of(max_keys=10)
    await take(store, "k", 6)
    clock.now += 30
    assert [await take(store, "k", 5) for _ in range(2)] == [4, 4]
    clock.now += 30
    assert await take(store, "k", 0) == 10


@either
async def test_what_is_back_by_now_can_be_taken_again(take: Any) -> None:
    store, clock = store_of(max_keys=10)
    await take(store, "k", 10)
    clock.now += 60
    assert await take(store, "k", 10) == 0


@either
@pytest.mark.parametrize("cost", [0, 1])
async def test_who_was_seen_again_is_the_last_to_be_looked_at(
    take: Any, cost: int
) -> None:
    store, clock = store_of(max_keys=1_000)
    await take(store, "day", window=86_400)
    for n in range(LOOKED_AT):
        await take(store, f"minute{n}")
    await take(store, "day", cost, window=86_400)
    clock.now += 60
    await take(store, "new")
    assert len(store) == 2  # as all those were looked at that use nothing


@either
async def test_who_is_known_needs_no_room(take: Any) -> None:
    store, _ = store_of(max_keys=2)
    for key in ("a", "b", "a", "b", "a"):
        await take(store, key)
    assert len(store) == 2
    assert [await take(store, key, 0) for key in ("a", "b")] == [7, 8]


async def test_what_is_set_aside_takes_room_until_it_expires() -> None:
    store, clock = store_of(max_keys=10)
    (decision,) = await store.decide([one("k", cost=7)], Reserving("h", 5))
    assert (decision.allowed, decision.remaining, decision.reset_after) == (True, 3, 5)
    clock.now += 5
    assert await take_one(store, "k", 0) == 10


async def test_of_what_is_set_aside_that_costs_nothing_nothing_is_kept() -> None:
    store, _ = store_of(max_keys=10)
    quotas = [one("k"), one("free", cost=0)]
    decisions = await store.decide(quotas, Reserving("h", 5))
    assert [it.remaining for it in decisions] == [9, 10]
    assert len(store) == 1


async def test_what_it_came_to_is_charged_even_to_a_key_that_was_forgotten() -> None:
    store, clock = store_of(max_keys=10)
    reserving = Reserving("h", 5)
    await take_one(store, "other")
    await store.decide([one("k", cost=7)], reserving)
    await store.reset(one("k"))
    await store.settle([one("k")], [4], reserving)
    assert await take_one(store, "k", 0) == 6
    clock.now += 60
    assert await take_one(store, "k", 0) == 10


async def test_what_came_to_more_than_there_is_leaves_nothing() -> None:
    store, _ = store_of(max_keys=10)
    reserving = Reserving("h", 5)
    await store.decide([one("k", cost=7)], reserving)
    await store.settle([one("k")], [25], reserving)
    assert await take_one(store, "k", 0) == 0


async def test_who_settles_needs_no_room_either() -> None:
    store, _ = store_of(max_keys=2)
    reserving = Reserving("h", 5)
    await store.decide([one("a"), one("b")], reserving)
    await store.settle([one("a"), one("b")], [2, 3], reserving)
    assert [await take_one(store, key, 0) for key in ("a", "b")] == [8, 7]


async def test_units_can_be_given_back_and_all_forgotten() -> None:
    store, clock = store_of(max_keys=10)
    await take_one(store, "k", 8)
    await store.refund(one("k"), 3)
    assert await take_one(store, "k", 0) == 5
    await store.reset(one("k"))
    assert await take_one(store, "k", 0) == 10
    await store.refund(one("k"), 3)
    await store.reset(one("k"))  # which is there no more
    await take_one(store, "k", 8)
    clock.now += 60
    await store.refund(one("k"), 3)  # when all is back already
    assert await take_one(store, "k", 0) == 10
