"""Rounds: in each, every contender makes some calls, in an order drawn anew.

So what the machine does meanwhile hits all alike, and a figure is the median of many
rounds, each against the bare contender of the same round.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    calls: int
    """Calls that a contender makes in each round."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of one contender took, in µs for each call."""

    wall: float
    cpu: float
    """Of this process, all its threads; the server is another."""


Samples = dict[str, list[Sample]]
"""Of each contender, one for each round."""


Repeat = Callable[[int], Awaitable[None]]
"""Makes so many calls, in its own way: one after the other, or side by side."""


def side_by_side(
    call: Callable[[str], Awaitable[object]], callers: Sequence[str]
) -> Repeat:
    """Return what has several callers share the calls, each with a word of its own.

    Each calls again as soon as it has its answer.
    """

    async def several(word: str, calls: int) -> None:
        for _ in range(calls):
            await call(word)

    async def repeat(calls: int) -> None:
        each = calls // len(callers)
        await asyncio.gather(*(several(word, each) for word in callers))

    return repeat


async def measure(contenders: Mapping[str, Repeat], plan: Plan, rng: Random) -> Samples:
    """Return what each contender took for its calls."""
    for repeat in contenders.values():
        await _timed(repeat, plan.calls)
    samples: Samples = {name: [] for name in contenders}
    # What is here to stay is not looked through again by every collection.
    gc.collect()
    gc.freeze()
    for _ in range(plan.rounds):
        for name in rng.sample(list(contenders), len(contenders)):
            samples[name].append(await _timed(contenders[name], plan.calls))
    gc.unfreeze()
    return samples


async def _timed(repeat: Repeat, calls: int) -> Sample:
    # Collecting stays on, since it is a part of what objects cost; but nobody pays for
    # what the one before has left.
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await repeat(calls)
    share = 1e6 / calls
    return Sample(
        wall=(time.perf_counter() - wall) * share,
        cpu=(time.process_time() - cpu) * share,
    )
