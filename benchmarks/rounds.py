"""Rounds: in each, every contender makes some calls, in an order drawn anew.

So what the machine does meanwhile hits all alike, and a figure is the median of many
rounds, each against plain httpx in the same round.
"""

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    calls: int
    """Calls that a contender makes in each round, one after the other."""
    origins: int
    """Origins among which memory is divided."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of one contender took, in µs for each call."""

    wall: float
    cpu: float
    """Of this process, all its threads; the server is another."""


Samples = dict[str, list[Sample]]
"""Of each contender, one for each round."""


async def measure(
    clients: Mapping[str, Any], url: str, plan: Plan, rng: Random
) -> Samples:
    """Return what each client took to get `url`."""
    for client in clients.values():
        await _timed(client, url, plan.calls)
    samples: Samples = {name: [] for name in clients}
    # What is here to stay is not looked through again by every collection.
    gc.collect()
    gc.freeze()
    for _ in range(plan.rounds):
        for name in rng.sample(list(clients), len(clients)):
            samples[name].append(await _timed(clients[name], url, plan.calls))
    gc.unfreeze()
    return samples


async def _timed(client: Any, url: str, calls: int) -> Sample:
    # Collecting stays on, since it is a part of what objects cost; but nobody pays for
    # what the one before has left.
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    if hasattr(client, "aclose"):
        for _ in range(calls):
            await client.get(url)
    else:
        for _ in range(calls):
            client.get(url)
    share = 1e6 / calls
    return Sample(
        wall=(time.perf_counter() - wall) * share,
        cpu=(time.process_time() - cpu) * share,
    )
