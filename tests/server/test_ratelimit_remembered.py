"""Refusals that are told from memory, beside those that a store would tell."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.machines import Algorithm
from tests.server.accounts import ALGORITHMS
from tests.server.valkey import Valkey, valkey

BEGINS = 1_800_000_000_000_000  # microseconds, as Redis has them
PATIENT = 20.0  # seconds: where no fault is the point, a busy machine is none


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One that lets its clients ignore what has expired."""
    with valkey() as running:
        running.ask("CONFIG", "SET", "import-mode", "yes")
        yield running


@pytest.mark.case("S28")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_who_is_refused_from_memory_is_told_as_by_a_store(
    algorithm: Algorithm, seed: int, server: Valkey
) -> None:
    rng, ticks = random.Random(seed), 0
    limit, window = rng.choice([(3, 1.0), (10, 2.5), (100, 60.0)])
    how: dict[str, Any] = {"limit": limit, "window": window}
    async with Redis.from_url(server.url, single_connection_client=True) as client:
        see_all: Any = client.execute_command
        await see_all("CLIENT", "IMPORT-SOURCE", "ON")
        await client.flushall()
        limiters = [
            RateLimiter(
                redis,
                algorithm=algorithm,
                timeout=PATIENT,
                on_outage="closed",
                clock=lambda: ticks / 1_000_000,
            )
            for redis in (None, client)
        ]
        store: Any = limiters[1]._store  # noqa: SLF001 - to be told the time
        for _ in range(400):
            ticks += rng.choice([0, 0, 10_000, 300_000, 900_000])
            store._now = str(BEGINS + ticks)  # noqa: SLF001 - what it is there for
            what = rng.choice(["check"] * 10 + ["refund", "reset", "reserve"])
            cost = rng.randint(1, limit)
            told = []
            for limiter in limiters:
                if what == "refund":
                    await limiter.refund("k", cost=cost, **how)
                elif what == "reset":
                    await limiter.reset("k", **how)
                elif what == "reserve":
                    tokens = await limiter.reserve("k", cost=cost, **how)
                    await tokens.settle(cost // 2)
                told.append(await limiter.check("k", cost=cost, **how))
            ours, theirs = told
            assert ours.allowed == theirs.allowed
            assert theirs.retry_after == pytest.approx(ours.retry_after, abs=2e-6)
            if not ours.allowed:
                assert theirs.remaining <= ours.remaining
                again = await limiters[1].check("k", cost=cost, **how)
                assert again.remaining == theirs.remaining
