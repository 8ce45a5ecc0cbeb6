"""One run: users who call, clients that send, servers that serve, and a trigger."""

import asyncio
import gc
import random
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Self

import httpx

from benchmarks.overload import virtual
from benchmarks.overload.policies import Contender, Get
from benchmarks.overload.scenario import PATIENCE, Scale, Scenario
from benchmarks.overload.service import Service

_CALM: Final = Scenario(name="calm", title="nothing")


@dataclass(frozen=True, slots=True)
class Record:
    """What happened in each second."""

    offered: list[int]
    """Requests that users made."""
    good: list[int]
    """Answers that reached a user in time."""
    tries: list[int]
    """Requests that were sent."""

    @classmethod
    def empty(cls, scale: Scale, tries: list[int]) -> Self:
        """Return one of which only what is sent is counted elsewhere."""
        seconds = int(scale.over) + 1
        return cls([0] * seconds, [0] * seconds, tries)

    def second(self, now: float) -> int:
        """Return where to count what happened `now`, the end at the latest."""
        return min(int(now), len(self.tries) - 1)


def play(contender: Contender, scenario: Scenario, scale: Scale, seed: int) -> Record:
    """Return what happened; the same for the same arguments."""
    random.seed(seed)  # what libraries draw from
    world = _World(contender, scenario, scale, seed)
    gc.collect()
    gc.freeze()
    gc.disable()  # what a run leaves is gone with it
    try:
        virtual.run(world.run())
    finally:
        gc.enable()
        gc.unfreeze()
    return world.record


class _World:
    def __init__(
        self, contender: Contender, scenario: Scenario, scale: Scale, seed: int
    ) -> None:
        self._contender = contender
        self._scenario = scenario
        self._scale = scale
        self._seed = seed

    async def run(self) -> None:
        scale, seed = self._scale, self._seed
        # Each in a stream of its own, so that users come alike whoever serves them.
        service = Service(scale, self._contender.around, Random(f"service {seed}"))
        self.record = Record.empty(scale, service.tries)
        loop = asyncio.get_running_loop()
        loop.call_at(scale.begins, service.pull, self._scenario)
        loop.call_at(scale.ends, service.pull, _CALM)
        clients = [
            self._contender.client(service, Random(f"client {seed} {number}"))
            for number in range(scale.clients)
        ]
        await offer(self._scenario, scale, seed, clients, self.record)


async def offer(
    scenario: Scenario, scale: Scale, seed: int, clients: Sequence[Get], record: Record
) -> float:
    """Let users call from now until all is over, and note what they get.

    Returns:
        By how many seconds the one came too late who did most, as they do where time
        is real and the loop is busy.

    """
    arrivals = Random(f"arrivals {seed}")
    loop = asyncio.get_running_loop()
    began = loop.time()
    usual = scale.load * scale.capacity
    calls: set[asyncio.Task[None]] = set()
    late = at = 0.0
    try:
        while at < scale.over:
            is_on = scale.begins <= at < scale.ends
            at += arrivals.expovariate(usual * (scenario.spike if is_on else 1.0))
            await asyncio.sleep(began + at - loop.time())
            late = max(late, loop.time() - began - at)
            call = loop.create_task(_call(arrivals.choice(clients), began, record))
            calls.add(call)
            call.add_done_callback(calls.discard)
    finally:
        for call in calls:
            call.cancel()
    return late


async def _call(get: Get, began: float, record: Record) -> None:
    time = asyncio.get_running_loop().time
    born = time() - began
    record.offered[record.second(born)] += 1
    try:
        response = await get()
    except httpx.HTTPError:
        return
    now = time() - began
    if response.is_success and now - born <= PATIENCE:
        record.good[record.second(now)] += 1
