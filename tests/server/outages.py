"""What limiters do about a fault, from its beginning to its end."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from server_kit.ratelimit.events import RedisBack, RedisDown
from server_kit.ratelimit.limiter import TIMEOUT, RateLimiter
from server_kit.ratelimit.quota import Decision, Outage
from tests.server.faults import PREFIX, Site

POLICIES: tuple[Outage, ...] = get_args(Outage)
LIMIT = 50
WINDOW = 3_600.0  # seconds, in which nothing comes back

_PATIENT = 30.0  # seconds


@dataclass(slots=True)
class Seen:
    """What one limiter did."""

    policy: Outage
    decisions: list[Decision] = field(default_factory=list)
    """Of a crowd that asked at once, after the beginning."""
    spans: list[float] = field(default_factory=list)
    """Seconds that each of them waited."""
    later: list[float] = field(default_factory=list)
    """Seconds that those waited who asked after them."""
    sockets: int = 0
    """Files that were open during it, beyond those of before."""
    events: list[RedisDown | RedisBack] = field(default_factory=list)
    back_after: float = 0.0
    """Seconds from its end to the first decision that Redis made."""


@dataclass(slots=True)
class Outcome:
    """What all of them did, and wrote."""

    seen: list[Seen]
    lines: list[str]
    """What was logged."""


async def live_through(
    site: Site,
    *,
    crowd: int,
    policies: Sequence[Outage] = POLICIES,
    client: object = None,
    timeout: float = TIMEOUT,
) -> Outcome:
    """Break a site and mend it, while one limiter of each policy is asked.

    Args:
        site: Where; it is not yet broken.
        crowd: How many ask a limiter at once.
        policies: What limiters are told to do without Redis.
        client: A client of the user's own for that site; None for its URL.
        timeout: Seconds that a decision may take.

    """
    outcome = Outcome([Seen(policy) for policy in policies], [])
    there = site.url if client is None else client
    with_limiters = [(seen, _limiter(there, seen, timeout)) for seen in outcome.seen]
    for _, limiter in with_limiters:
        await until_redis_decides(limiter)
    with _logged_to(outcome.lines):
        for seen in outcome.seen:
            seen.events.clear()
        await asyncio.to_thread(site.begin)
        for seen, limiter in with_limiters:
            await _crowd(seen, limiter, crowd)
        await asyncio.to_thread(site.end)
        spans = [until_redis_decides(limiter) for _, limiter in with_limiters]
        for seen, span in zip(outcome.seen, await asyncio.gather(*spans), strict=True):
            seen.back_after = span
        for _, limiter in with_limiters:
            await limiter.aclose()
    return outcome


async def until_redis_decides(limiter: RateLimiter) -> float:
    """Ask until a decision is Redis' own; return the seconds until then."""
    began = time.perf_counter()
    async with asyncio.timeout(_PATIENT):
        while await _is_without_redis(limiter):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.005)
    return time.perf_counter() - began


@asynccontextmanager
async def open_files() -> AsyncIterator[list[int]]:
    """Give a list whose last is the most files that were open at a time."""
    most = [_open_files()]

    async def look() -> None:
        while True:
            most.append(max(most[-1], _open_files()))
            await asyncio.sleep(0.005)

    looking = asyncio.create_task(look())
    try:
        yield most
    finally:
        looking.cancel()


async def timed(limiter: RateLimiter, key: str, limit: int) -> tuple[Decision, float]:
    """Return a decision, and the seconds that it took."""
    began = time.perf_counter()
    decision = await limiter.check(key, limit=limit, window=WINDOW)
    return decision, time.perf_counter() - began


async def _crowd(seen: Seen, limiter: RateLimiter, crowd: int) -> None:
    before = _open_files()
    async with open_files() as most:
        asked = (timed(limiter, seen.policy, LIMIT) for _ in range(crowd))
        for decision, span in await asyncio.gather(*asked):
            seen.decisions.append(decision)
            seen.spans.append(span)
        for _ in range(5):
            _, span = await timed(limiter, seen.policy, LIMIT)
            seen.later.append(span)
            await asyncio.sleep(0.01)
    seen.sockets = most[-1] - before


def _limiter(there: object, seen: Seen, timeout: float) -> RateLimiter:
    return RateLimiter(
        there,
        on_outage=seen.policy,
        timeout=timeout,
        prefix=PREFIX,
        listeners=[seen.events.append],
    )


async def _is_without_redis(limiter: RateLimiter) -> bool:
    decision = await limiter.check("other", limit=1_000, window=0.1)
    return decision.outage is not None


def _open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


class _Kept(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextmanager
def _logged_to(lines: list[str]) -> Iterator[None]:
    logger, kept = logging.getLogger("server_kit"), _Kept(lines)
    logger.addHandler(kept)
    try:
        yield
    finally:
        logger.removeHandler(kept)
