"""Eight processes that ask for ten times what a quota allows."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Final

import pytest

from server_kit.ratelimit.machines import Algorithm
from tests.server.valkey import Valkey, valkey
from tests.server.workers import Call, Workers, workers

SECONDS: Final = int(os.environ.get("LOAD_SECONDS", "2"))
"""How long they ask; longer under `make verify`."""

_TRIES: Final = 4
_HELD_UP: Final = 0.05  # seconds

LIMIT, WINDOW = 100, 1.0
RATE = 125.0
"""Calls of one process a second."""

SKEWS: Final = [0.0, 0.0, 0.0, 5.0, -5.0, 3_600.0, -3_600.0, 0.0]
"""Seconds by which the clocks of the processes are wrong."""


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.fixture(scope="module")
def crowd() -> Iterator[Workers]:
    with workers(len(SKEWS)) as running:
        yield running


def asked_of(crowd: Workers, server: Valkey, **how: Any) -> list[list[Call]]:
    """Have all of them ask at once; return what each was told.

    Who is held up asks too late for units that are there: then they ask again.
    """
    for _ in range(_TRIES - 1):
        calls = _asked_of(crowd, server, **how)
        if is_steady(calls):
            return calls
        no_key_is_left(server)
    return _asked_of(crowd, server, **how)


def is_steady(calls: list[list[Call]]) -> bool:
    """Tell whether all had their answers in time, and went on asking."""
    ahead = [pair for process in calls for pair in pairwise(process)]
    held_up = max(after.start - before.start for before, after in ahead)
    waited = max(call.end - call.start for process in calls for call in process)
    return max(held_up, waited) < _HELD_UP


def _asked_of(crowd: Workers, server: Valkey, **how: Any) -> list[list[Call]]:
    server.ask("FLUSHALL")
    told = {
        "do": "load",
        "url": server.url,
        "key": "k",
        "limit": LIMIT,
        "window": WINDOW,
        "begins": time.monotonic() + 0.5,
        "seconds": SECONDS,
        "rate": RATE,
        "algorithm": "sliding_window",
        "share": None,
        **how,
    }
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(crowd.do, *[{**told, "skew": skew} for skew in SKEWS])
        while not done.done():
            every_key_has_a_time_to_live(server)
            time.sleep(0.05)
    return done.result()


def every_key_has_a_time_to_live(server: Valkey) -> None:
    script = (
        "local least = 0 for _, key in ipairs(redis.call('KEYS', '*')) do"
        " least = math.min(least, redis.call('PTTL', key)) end return least"
    )
    assert server.ask("EVAL", script, "0") == b":0\r\n"


def no_key_is_left(server: Valkey) -> None:
    ends = time.monotonic() + 20
    while server.ask("DBSIZE") != b":0\r\n":
        assert time.monotonic() < ends
        time.sleep(0.05)


def admitted(calls: list[list[Call]]) -> list[Call]:
    return [call for process in calls for call in process if call.allowed]


def most_in_a_window(calls: list[Call]) -> int:
    """Return how many were admitted within some window, beyond doubt.

    When exactly is known to Redis alone: a call counts if all of it was in the window.
    """
    short = WINDOW * 0.999  # Redis goes by another clock, which may be adjusted
    return max(
        sum(
            first.start <= call.start and call.end < first.start + short
            for call in calls
        )
        for first in calls
    )


@pytest.mark.case("S9", "R38")
def test_all_of_them_together_are_admitted_as_often_as_the_limit_says(
    crowd: Workers, server: Valkey
) -> None:
    calls = asked_of(crowd, server)
    through = admitted(calls)
    expected = LIMIT * SECONDS / WINDOW
    assert expected * 0.99 <= len(through) <= expected * 1.01
    assert most_in_a_window(through) <= LIMIT * 1.1
    assert all(any(call.allowed for call in process) for process in calls)
    assert sum(map(len, calls)) >= 5 * expected  # or it was no test
    no_key_is_left(server)


@pytest.mark.case("R38")
def test_a_bucket_admits_its_burst_beside_its_rate(
    crowd: Workers, server: Valkey
) -> None:
    through = admitted(asked_of(crowd, server, algorithm="token_bucket"))
    expected = LIMIT + LIMIT * SECONDS / WINDOW
    first, last = min(call.start for call in through), max(call.end for call in through)
    assert expected * 0.97 <= len(through) <= LIMIT + LIMIT * (last - first) + 1
    no_key_is_left(server)


@pytest.mark.case("R38")
@pytest.mark.parametrize("algorithm", ["sliding_window", "token_bucket"])
def test_what_is_taken_ahead_is_no_more_and_little_less(
    crowd: Workers, server: Valkey, algorithm: Algorithm
) -> None:
    through = admitted(asked_of(crowd, server, algorithm=algorithm, share=0.05))
    burst = LIMIT if algorithm == "token_bucket" else 0
    expected = burst + LIMIT * SECONDS / WINDOW
    assert len(through) >= expected * 0.9
    if burst:
        first, last = min(it.start for it in through), max(it.end for it in through)
        assert len(through) <= LIMIT + LIMIT * (last - first) + 1
    else:
        assert most_in_a_window(through) <= LIMIT * 1.1
    no_key_is_left(server)
