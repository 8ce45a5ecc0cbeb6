"""One limiter at every kind of Redis: one server, Sentinels, a cluster. asyncio only.

Each by its URL, and by a client of the user's own with the settings that redis-py gives
it.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeAlias

import anyio
import pytest
from redis.asyncio import Redis

from server_kit import Idempotency
from server_kit.idempotency.rules import Claim, Kept, Standing
from server_kit.idempotency.stores import StoreUnavailableError
from server_kit.idempotency.stores.in_redis import RedisStore
from server_kit.ratelimit.events import RedisBack, RedisDown
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.machines import Algorithm
from server_kit.ratelimit.quota import Quota
from tests.server.accounts import ALGORITHMS
from tests.server.topologies import (
    Client,
    Cluster,
    at_cluster,
    at_sentinels,
    close,
    slot_of,
    tell,
    watched,
)
from tests.server.valkey import Valkey, valkey

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
PATIENT = 20.0  # seconds: where no fault is the point, a busy machine is none
HOUR = 3_600.0  # a window in which nothing comes back while a test runs
MANY = 1_000_000
FIRST = "b"  # a prefix whose slot is the first primary's
ANSWER = Kept(201, [(b"a", b"b")], b"c")


@asynccontextmanager
async def told_of(there: str | Client, **given: Any) -> AsyncIterator[RateLimiter]:
    """Give a limiter at a URL or at a client, and close both."""
    limiter = RateLimiter(there, **given)
    try:
        yield limiter
    finally:
        await limiter.aclose()
        if not isinstance(there, str):
            await close(there)


async def play(limiter: RateLimiter) -> list[tuple[object, ...]]:
    """Return what is said to a bit of everything."""
    said = [
        await limiter.check("a{b}", limit=10, window=HOUR, cost=cost)
        for cost in (1, 3, 0, 4, 3, 2, 1)
    ]
    two = [Quota("a{b}", 10, HOUR), Quota("{}", 5, HOUR)]
    said.append(await limiter.check_all(two))
    await limiter.refund("a{b}", limit=10, window=HOUR, cost=2)
    said.append(await limiter.check_all(two))
    held = await limiter.reserve("a{b}", limit=10, window=HOUR, cost=1)
    said.append(held.decision)
    await held.settle(0)
    said.append(await limiter.peek("a{b}", limit=10, window=HOUR))
    await limiter.reset("a{b}", limit=10, window=HOUR)
    said.append(await limiter.peek("a{b}", limit=10, window=HOUR))
    return [(it.allowed, it.limit, it.remaining, it.outage) for it in said]


@pytest.fixture(scope="module")
def places(three: Cluster) -> Iterator[dict[str, Callable[[], str | Client]]]:
    """Every way to tell where Redis is."""
    with valkey() as one, watched() as pair:
        yield {
            "one server, by URL": lambda: one.url,
            "one server, by client": lambda: Redis.from_url(one.url),
            "Sentinel, by URL": lambda: pair.url,
            "Sentinel, by client": lambda: at_sentinels(pair),
            "cluster, by URL": lambda: three.url,
            "cluster, by client": lambda: at_cluster(three),
        }


@on_asyncio
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_verdicts_are_the_same_everywhere(
    places: dict[str, Callable[[], str | Client]], algorithm: Algorithm
) -> None:
    expected = await play(RateLimiter(algorithm=algorithm))
    said = {}
    for name, place in places.items():
        given: dict[str, Any] = {"algorithm": algorithm, "timeout": PATIENT}
        async with told_of(place(), **given) as limiter:
            said[name] = await play(limiter)
    assert said == dict.fromkeys(places, expected)


class Watch:
    """What a limiter tells: by events, and by decisions that Redis made."""

    def __init__(self) -> None:
        self.events: list[RedisDown | RedisBack] = []
        self.remaining: list[int] = []
        """After each decision that was Redis' own."""

    async def until(
        self, limiter: RateLimiter, *, outage: str | None, key: str = "k"
    ) -> float:
        """Ask until it is decided with or without Redis; return the seconds."""
        began = time.perf_counter()
        with anyio.fail_after(PATIENT):
            while True:
                decision = await limiter.check(key, limit=MANY, window=HOUR)
                assert decision.allowed
                if decision.outage is None:
                    self.remaining.append(decision.remaining)
                if decision.outage == outage:
                    return time.perf_counter() - began
                await anyio.sleep(0.01)

    def kinds(self) -> list[type]:
        return [type(event) for event in self.events]


def frozen(server: Valkey, trouble: ExitStack) -> None:
    server.pause()
    trouble.callback(server.resume)


def dead(server: Valkey, trouble: ExitStack) -> None:
    server.stop()
    trouble.callback(server.start)


Failing: TypeAlias = Callable[[Valkey, ExitStack], None]


@on_asyncio
@pytest.mark.case("S7", "R36")
@pytest.mark.parametrize("fail", [dead, frozen])
@pytest.mark.parametrize("way", ["url", "client"])
async def test_a_limiter_goes_where_sentinels_say(way: str, fail: Failing) -> None:
    seen = Watch()
    with watched(1) as there, ExitStack() as trouble:
        place = there.url if way == "url" else at_sentinels(there)
        async with told_of(place, listeners=[seen.events.append]) as limiter:
            await seen.until(limiter, outage=None)
            there.pair.cut_off()
            for _ in range(20):
                await seen.until(limiter, outage=None)
            before = seen.remaining[-1]
            fail(there.pair.primary, trouble)
            there.pair.replica.resume()
            await seen.until(limiter, outage="open")
            await anyio.to_thread.run_sync(there.wait_for_promotion)
            await seen.until(limiter, outage=None)
        assert seen.kinds()[-2:] == [RedisDown, RedisBack]
    assert before < seen.remaining[-1] < MANY  # what was charged last is lost


@on_asyncio
@pytest.mark.case("S8")
@pytest.mark.parametrize("way", ["url", "client"])
async def test_a_primary_that_became_a_replica_is_left(way: str) -> None:
    seen = Watch()
    with watched(1) as there:
        place = there.url if way == "url" else at_sentinels(there)
        async with told_of(place, listeners=[seen.events.append]) as limiter:
            await seen.until(limiter, outage=None)
            there.pair.synchronise()
            await anyio.to_thread.run_sync(there.fail_over)
            await seen.until(limiter, outage=None)
        assert seen.kinds() == [RedisDown, RedisBack] * (len(seen.events) // 2)
    assert seen.remaining[-1] < seen.remaining[0]  # what was charged went with it


@on_asyncio
@pytest.mark.case("R36")
async def test_a_sentinel_that_is_silent_is_passed_over() -> None:
    seen = Watch()
    with watched(3) as there, ExitStack() as trouble:
        for silent in there.sentinels[:2]:
            frozen(silent, trouble)
        async with told_of(there.url, listeners=[seen.events.append]) as limiter:
            await seen.until(limiter, outage=None)


@on_asyncio
@pytest.mark.case("S7", "R36")
@pytest.mark.parametrize("fail", [dead, frozen])
@pytest.mark.parametrize("way", ["url", "client"])
async def test_a_limiter_follows_its_slot_to_a_replica(
    three: Cluster, way: str, fail: Failing
) -> None:
    seen = Watch()
    with ExitStack() as trouble:
        trouble.callback(three.wait)
        place = three.url if way == "url" else at_cluster(three)
        given: dict[str, Any] = {"prefix": FIRST, "listeners": [seen.events.append]}
        async with told_of(place, **given) as limiter:
            await seen.until(limiter, outage=None)
            fail(three.primaries[0], trouble)
            await seen.until(limiter, outage="open")
            await anyio.to_thread.run_sync(three.promote)
            await seen.until(limiter, outage=None)
        assert seen.kinds()[-2:] == [RedisDown, RedisBack]
    assert min(seen.remaining) >= 0


def test_the_prefix_of_these_tests_is_in_the_first_slots() -> None:
    assert slot_of(FIRST) < 16_384 // 3


@on_asyncio
@pytest.mark.case("S2", "S8")
@pytest.mark.parametrize("way", ["url", "client"])
async def test_a_slot_that_moves_takes_what_is_counted_with_it(
    three: Cluster, way: str
) -> None:
    prefix = f"moves by {way}"
    slot = slot_of(prefix)
    home = three.owner(slot)
    away = next(node for node in three.primaries if node is not home)
    place = three.url if way == "url" else at_cluster(three)
    async with told_of(place, prefix=prefix, timeout=PATIENT) as limiter:
        for owner in (away, home) * 4:
            await anyio.to_thread.run_sync(three.move, slot, owner)
            tell(owner, "SCRIPT FLUSH")
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(lambda: limiter.check("k", limit=999, window=HOUR))
        left = await limiter.peek("k", limit=999, window=HOUR)
    if way == "url":
        assert left.remaining == 999 - 800
    else:  # as it comes, it hangs up after five moves, and asks a second time
        assert left.remaining <= 999 - 800


@on_asyncio
@pytest.mark.case("S8")
async def test_of_a_slot_on_its_way_nothing_is_lost_and_nothing_is_counted_twice(
    three: Cluster,
) -> None:
    prefix = "on its way"
    slot = slot_of(prefix)
    home = three.owner(slot)
    away = next(node for node in three.primaries if node is not home)
    async with told_of(three.url, prefix=prefix, timeout=PATIENT) as limiter:
        await limiter.check("old", limit=9, window=HOUR)
        tell(away, "SCRIPT FLUSH")
        three.begin_to_move(slot, away)
        for key in ("old", "new"):  # the one is here, the other is asked for there
            await limiter.check(key, limit=9, window=HOUR)
        three.move(slot, away)
        old, new = [
            await limiter.peek(key, limit=9, window=HOUR) for key in ("old", "new")
        ]
    three.move(slot, home)
    assert (old.remaining, new.remaining) == (7, 8)


@on_asyncio
@pytest.mark.case("S19")
@pytest.mark.parametrize("key", ["{", "}", "{}", "{a}", "}{", "a{}b{c}", ""])
async def test_all_of_a_decision_is_in_one_slot(three: Cluster, key: str) -> None:
    prefix = "one slot"
    three_asked = [Quota(key, 5, HOUR), Quota(key, 9, HOUR), Quota("x", 5, HOUR)]
    given: dict[str, Any] = {"prefix": prefix, "on_outage": "local", "timeout": PATIENT}
    async with told_of(three.url, **given) as limiter:
        assert (await limiter.check_all(three_asked)).outage is None
        held = await limiter.reserve_all(three_asked)
        await held.release()
    owner = three.owner(slot_of(prefix))
    names = tell(owner, "KEYS", "*one slot*")
    assert len(names) >= 4  # three accounts, and the replicas that are alive
    slots = {tell(owner, "CLUSTER KEYSLOT", name) for name in names}
    assert slots == {slot_of(prefix)}


@on_asyncio
@pytest.mark.case("S2", "IK-6")
@pytest.mark.parametrize("way", ["url", "client"])
async def test_idempotency_keys_are_spread_over_a_cluster(
    three: Cluster, way: str
) -> None:
    place = three.url if way == "url" else at_cluster(three)
    store = RedisStore(Idempotency(store=place, timeout=PATIENT, prefix=f"by-{way}"))
    claims = [Claim(f"{number}", "x", "1") for number in range(30)]
    for claim in claims:
        assert await store.claim(claim) is Standing.CLAIMED
    for node in three.primaries:
        tell(node, "SCRIPT FLUSH")
    for claim in claims:
        assert await store.renew(claim)
        assert await store.settle(claim, ANSWER)
        assert await store.claim(Claim(claim.name, "x", "2")) == ANSWER
    slot = slot_of(store.key(claims[0])[len(f"by-{way}:{{") : -1])
    home = three.owner(slot)
    for owner in (*three.primaries, home):
        three.move(slot, owner)
        assert await store.claim(Claim(claims[0].name, "x", "3")) == ANSWER
    await store.aclose()
    if not isinstance(place, str):
        await close(place)
    spread = [tell(node, "KEYS", f"by-{way}*") for node in three.primaries]
    assert all(spread)
    assert sum(map(len, spread)) == len(claims)


@on_asyncio
@pytest.mark.parametrize("fail", [dead, frozen])
async def test_idempotency_keys_follow_their_slot_to_a_replica(
    three: Cluster, fail: Failing
) -> None:
    store = RedisStore(Idempotency(store=three.url))
    claim = Claim(FIRST, "x", "1")
    with ExitStack() as trouble:
        trouble.callback(three.wait)
        await at_last(store, claim)
        fail(three.primaries[0], trouble)
        await anyio.to_thread.run_sync(three.promote)
        await at_last(store, claim)
        await store.aclose()


async def at_last(store: RedisStore, claim: Claim) -> None:
    """Ask until an answer is kept."""
    with anyio.fail_after(PATIENT):
        while True:
            try:
                await store.settle(claim, ANSWER)
            except StoreUnavailableError:
                await anyio.sleep(0.01)
            else:
                return
