"""Processes that ask one Redis for the same quota, and what they were told.

Run as a program it is one of them: told on its input what to do, a JSON object a line,
it answers with a line of its own.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from server_kit.ratelimit.leases import Lease
from server_kit.ratelimit.limiter import RateLimiter

ROOT = Path(__file__).parents[2]
PATIENT = 20.0  # seconds: where no fault is the point, a busy machine is none

Kind: TypeAlias = Literal["check", "refund"]


class Call(NamedTuple):
    """What one caller asked and was told, and between which times."""

    start: float
    """Seconds, on a clock that all processes of a machine share."""
    end: float
    kind: Kind
    cost: int
    allowed: bool
    remaining: int


class Workers:
    """Several processes. See `workers`."""

    def __init__(self, processes: Sequence["subprocess.Popen[str]"]) -> None:
        self._processes = processes

    def do(self, *told: dict[str, Any]) -> list[list[Call]]:
        """Have each process do what it is told; return the calls of each."""
        for process, words in zip(self._processes, told, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(words) + "\n")
            process.stdin.flush()
        found = []
        for process in self._processes:
            assert process.stdout is not None
            answer = process.stdout.readline()
            assert answer, "a process has ended"
            found.append([Call(*call) for call in json.loads(answer)])
        return found


@contextmanager
def workers(count: int) -> Iterator[Workers]:
    """Start processes, and end them."""
    command = [sys.executable, "-m", "tests.server.workers"]
    with ExitStack() as running:
        processes = [
            running.enter_context(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(count)
        ]
        try:
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            yield Workers(processes)
        finally:
            for process in processes:
                process.kill()


async def load(  # noqa: PLR0913 - what a process is told
    url: str,
    *,
    key: str,
    limit: int,
    window: float,
    begins: float,
    seconds: float,
    rate: float,
    skew: float,
    algorithm: Any,
    share: float | None,
) -> list[Call]:
    """Ask at a steady rate, however long the answers take."""
    limiter = RateLimiter(
        url,
        algorithm=algorithm,
        timeout=PATIENT,
        on_outage="closed",
        lease=None if share is None else Lease(share=share),
        clock=lambda: time.monotonic() + skew,
    )
    calls: list[Call] = []

    async def ask() -> None:
        start = time.monotonic()
        decision = await limiter.check(key, limit=limit, window=window)
        assert decision.outage is None
        end = time.monotonic()
        calls.append(Call(start, end, "check", 1, decision.allowed, decision.remaining))

    async with asyncio.TaskGroup() as tasks:
        for number in itertools.count():
            at = begins + number / rate
            if max(at, time.monotonic()) >= begins + seconds:
                break
            await asyncio.sleep(at - time.monotonic())
            tasks.create_task(ask())
    await limiter.aclose()
    return calls


async def history(
    url: str,
    *,
    key: str,
    limit: int,
    begins: float,
    tasks: list[list[tuple[Kind, int]]],
) -> list[Call]:
    """Have several tasks ask at once, each one thing after the other."""
    limiter = RateLimiter(
        url,
        timeout=PATIENT,
        on_outage="closed",
        clock=itertools.count(0, 10).__next__,  # so that no refusal is remembered
    )
    calls: list[Call] = []

    async def run(script: list[tuple[Kind, int]]) -> None:
        for kind, cost in script:
            start = time.monotonic()
            if kind == "check":
                it = await limiter.check(key, limit=limit, window=3_600, cost=cost)
                assert it.outage is None
                allowed, remaining = it.allowed, it.remaining
            else:
                await limiter.refund(key, limit=limit, window=3_600, cost=cost)
                allowed, remaining = True, -1
            end = time.monotonic()
            calls.append(Call(start, end, kind, cost, allowed, remaining))

    await asyncio.sleep(begins - time.monotonic())
    async with asyncio.TaskGroup() as group:
        for script in tasks:
            group.create_task(run(script))
    await limiter.aclose()
    return calls


def main() -> None:
    """Do what is told."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    kinds: dict[str, Callable[..., Coroutine[Any, Any, list[Call]]]]
    kinds = {"load": load, "history": history}
    for line in sys.stdin:
        told = json.loads(line)
        calls = asyncio.run(kinds[told.pop("do")](**told))
        sys.stdout.write(json.dumps(calls) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
