"""A limiter that was made at import, asked in several loops, and after forks.

It prints what was left after each decision, and ends with 1 if one was not Redis'.
"""

import asyncio
import os
import sys
import threading

from redis.asyncio import Redis

from server_kit.ratelimit.limiter import RateLimiter

URL, BY = sys.argv[1:] if __name__ == "__main__" else ("redis://nobody", "URL")
LIMITER = RateLimiter(URL if BY == "URL" else Redis.from_url(URL), timeout=20)


async def ask() -> None:
    """Ask several times at once, so that several connections are in use."""
    asked = (LIMITER.check("k", limit=1_000, window=3_600) for _ in range(10))
    for decision in await asyncio.gather(*asked):
        assert decision.outage is None
        os.write(1, f"{decision.remaining}\n".encode())


async def ask_and_fork() -> None:
    """Have a loop and its connections alive when the process forks."""
    await ask()
    child = os.fork()
    if child == 0:
        thread = threading.Thread(target=asyncio.run, args=(ask_and_close(),))
        thread.start()
        thread.join()
        os._exit(0)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert status == 0
    await ask_and_close()


async def ask_and_close() -> None:
    await ask()
    await LIMITER.aclose()


def main() -> None:
    """Ask in two loops one after the other, in two at once, and in a fork."""
    asyncio.run(ask_and_close())
    asyncio.run(ask_and_fork())
    both = [threading.Thread(target=asyncio.run, args=(ask_and_close(),)) for _ in "12"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()


if __name__ == "__main__":
    main()
