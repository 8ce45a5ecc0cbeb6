"""Whoever asks at the same time is told what one after the other would have been.

There is an order of all calls, in which no call comes before one that had ended when it
began, and in which each was told what a quota that is asked so would tell.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from functools import partial

import pytest
from redis.asyncio import Redis

from tests.server.valkey import Valkey, valkey
from tests.server.workers import Call, Workers, workers

PROCESSES, TASKS = 4, 3
LIMIT = 30

check = partial(Call, kind="check")


def in_some_order(calls: list[Call], limit: int) -> bool:
    """Tell whether there is such an order, of a quota of which nothing comes back."""
    calls = sorted(calls)
    seen = set[tuple[frozenset[int], int]]()
    paths = [(frozenset(range(len(calls))), 0)]
    while paths:
        left, used = paths.pop()
        if not left:
            return True
        if (left, used) in seen:
            continue
        seen.add((left, used))
        ends = min(calls[number].end for number in left)
        for number in left:
            call = calls[number]
            then = _told(call, used, limit)
            if call.start <= ends and then is not None:
                paths.append((left - {number}, then))
    return False


def _told(call: Call, used: int, limit: int) -> int | None:
    """Return what is used after the call; None: it would have been told otherwise."""
    if call.kind == "refund":
        return max(0, used - call.cost)
    allowed = used + call.cost <= limit
    then = used + call.cost if allowed else used
    is_so = (call.allowed, call.remaining) == (allowed, limit - then)
    return then if is_so else None


@pytest.mark.parametrize(
    ("calls", "is_so"),
    [
        # One after the other.
        ([check(0, 1, cost=1, allowed=True, remaining=1)], True),
        ([check(0, 1, cost=1, allowed=True, remaining=0)], False),
        (
            [
                check(0, 1, cost=1, allowed=True, remaining=0),
                check(2, 3, cost=1, allowed=True, remaining=1),
            ],
            False,
        ),
        # At the same time: whichever was first.
        (
            [
                check(0, 3, cost=1, allowed=True, remaining=0),
                check(2, 4, cost=1, allowed=True, remaining=1),
            ],
            True,
        ),
        # The same unit twice.
        ([check(0, 3, cost=1, allowed=True, remaining=1)] * 2, False),
        # Refused before it was full.
        (
            [
                check(0, 1, cost=2, allowed=False, remaining=0),
                check(2, 3, cost=2, allowed=True, remaining=0),
            ],
            False,
        ),
        # Given back in between.
        (
            [
                check(0, 1, cost=2, allowed=True, remaining=0),
                check(2, 9, cost=1, allowed=True, remaining=0),
                Call(3, 4, "refund", 1, allowed=True, remaining=-1),
                check(5, 6, cost=1, allowed=False, remaining=0),
            ],
            True,
        ),
    ],
)
def test_the_search_finds_an_order_where_there_is_one(
    calls: list[Call], is_so: bool
) -> None:
    assert in_some_order(calls, limit=2) is is_so


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture(scope="module")
def crowd() -> Iterator[Workers]:
    with workers(PROCESSES) as running:
        yield running


def script(rng: random.Random) -> list[tuple[str, int]]:
    """Return what one task does: it asks, looks, and gives back."""
    return [
        (rng.choice(["check"] * 4 + ["refund"]), rng.choice([0, 1, 1, 1, 2, 5]))
        for _ in range(6)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_processes_and_tasks_are_told_what_one_after_the_other_would_be(
    crowd: Workers, server: Valkey, seed: int
) -> None:
    rng = random.Random(seed)
    begins = time.monotonic() + 0.1
    found = crowd.do(
        *[
            {
                "do": "history",
                "url": server.url,
                "key": f"history {seed}",
                "limit": LIMIT,
                "begins": begins,
                "tasks": [script(rng) for _ in range(TASKS)],
            }
            for _ in range(PROCESSES)
        ]
    )
    calls = [call for process in found for call in process]
    assert len(calls) == PROCESSES * TASKS * 6
    assert in_some_order(calls, LIMIT)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_store_that_looks_first_and_takes_then_is_found_out(
    server: Valkey,
) -> None:
    calls: list[Call] = []
    async with Redis.from_url(server.url) as client:
        everyone_has_looked = asyncio.Barrier(3)

        async def ask() -> None:
            start = time.monotonic()
            used = int(await client.get("racy") or 0)
            await everyone_has_looked.wait()
            await client.set("racy", used + 1)
            remaining = LIMIT - used - 1
            calls.append(
                check(
                    start, time.monotonic(), cost=1, allowed=True, remaining=remaining
                )
            )

        await asyncio.gather(*[ask() for _ in range(3)])
    assert not in_some_order(calls, LIMIT)
