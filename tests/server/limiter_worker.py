"""A process with a limiter, which does what it is told by lines.

meet COUNT         wait until so many processes are known to be alive
check COUNT LIMIT  ask so often; say how many were let go
"""

import asyncio
import sys

from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.stores.in_redis import RedisStore


async def main(url: str) -> None:
    limiter = RateLimiter(url, on_outage="local")
    while line := sys.stdin.readline():
        word, count, *more = line.split()
        if word == "meet":
            await meet(limiter, int(count))
            said = "met"
        else:
            limit = int(more[0])
            asked = [
                await limiter.check("shared", limit=limit, window=3_600)
                for _ in range(int(count))
            ]
            said = f"{sum(it.allowed for it in asked)}"
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()
    await limiter.aclose()


async def meet(limiter: RateLimiter, count: int) -> None:
    store = limiter._store  # noqa: SLF001 - it tells nobody
    assert isinstance(store, RedisStore)
    while store._fallback.replicas != count:  # noqa: SLF001 - as above
        await limiter.check("other", limit=1_000_000, window=60)
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
