"""One run: users who call, clients that send, servers that serve, and a trigger."""

import asyncio
import gc
import random
from dataclasses import dataclass
from random import Random
from typing import Final

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
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        scale, scenario = self._scale, self._scenario
        # Each in a stream of its own, so that users come alike whoever serves them.
        arrivals = Random(f"arrivals {self._seed}")
        service = Service(
            scale, self._contender.around, Random(f"service {self._seed}")
        )
        clients = [
            self._contender.client(service, Random(f"client {self._seed} {number}"))
            for number in range(scale.clients)
        ]
        seconds = int(scale.over) + 1
        self.record = Record([0] * seconds, [0] * seconds, service.tries)
        loop = asyncio.get_running_loop()
        self._time = loop.time
        loop.call_at(scale.begins, service.pull, scenario)
        loop.call_at(scale.ends, service.pull, _CALM)
        usual = scale.load * scale.capacity
        while (now := loop.time()) < scale.over:
            is_on = scale.begins <= now < scale.ends
            rate = usual * (scenario.spike if is_on else 1.0)
            await asyncio.sleep(arrivals.expovariate(rate))
            call = loop.create_task(self._call(arrivals.choice(clients)))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, get: Get) -> None:
        born = self._time()
        self.record.offered[int(born)] += 1
        try:
            response = await get()
        except httpx.HTTPError:
            return
        now = self._time()
        if response.is_success and now - born <= PATIENCE:
            self.record.good[int(now)] += 1
