"""A schedule as it is run, from its first call to the last look at what is left.

A process that dies is a host that is cut off: what it does from then on reaches nobody,
and then it is cancelled.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

from incidents.app import Database
from incidents.calling import ORIGIN, Caller, Record
from incidents.falling import befall, in_order
from incidents.network import Host, Network
from incidents.schedule import QUIET, STORE, WINDOW, Call, Schedule, client_name
from incidents.serving import Process, Starting
from incidents.store import Keys, Session

RECOVERS: Final = 12.0
"""Seconds after the last fault within which all traffic is back."""
PLAIN: Final = 6
"""Calls of each client that have to succeed then."""

_SETTLED: Final = 4.0  # seconds: past each lease, and what a client of Redis insists on
_PAUSE: Final = 1.0
_REST: Final = 2.0  # seconds: longer than the window of every rate limit


class World:
    """One run of a schedule.

    Args:
        schedule: What happens.
        trace: Whether to write down what does.

    """

    def __init__(self, schedule: Schedule, *, trace: bool = False) -> None:
        self.schedule = schedule
        self.trace: list[str] = []
        self._is_traced = trace
        self.met: Counter[str] = Counter()
        """What has happened, by kind."""
        rng = Random(f"world {schedule.seed}")
        self._rng = rng
        self.network = Network(rng, self.note, self.met)
        self.database = Database(self.note)
        self.keys = Keys(schedule.service.lease)
        self.servers = Starting(schedule.service, self.database, rng, self.met)
        self.processes: list[Process] = []
        self.hosts = [
            Host(client_name(one), address=f"10.1.0.{one}")
            for one in range(schedule.clients)
        ]
        self.callers: list[Caller] = []
        # What a throttle lets through is chance, but for a window without calls.
        is_throttled = schedule.policy.throttle is not None
        self._rest = WINDOW + _PAUSE if is_throttled else _REST
        self.begun = 0.0
        self.quiet = 0.0
        """When the last fault was over."""
        self.leaps: list[tuple[float, float]] = []
        """When each began and ended."""
        self.crashes: list[tuple[Host, float]] = []
        """Who has died, and when."""
        self.records: list[Record] = []
        """Of the calls of the schedule."""
        self.plain: list[Record] = []
        """Of those that have to succeed."""
        self.audit: list[Record] = []
        """Of those that ask for each key once more."""
        self.unseen: list[str] = []
        """What failed where nobody was told."""
        self.states: list[dict[str, Any]] = []
        """What each client still knew, and held."""
        self.pools: list[str] = []
        """What was wrong with pools."""
        self.held: list[dict[str, int]] = []
        """What was in use in each process."""
        self.claims = 0
        """Keys that somebody held."""
        self.left: list[str] = []
        """Tasks that were there when none should be, and open connections."""

    def note(self, text: str) -> None:
        """Write down what happens."""
        if self._is_traced:
            now = time.monotonic() - self.begun  # the loop's, running or not
            self.trace.append(f"{now:9.4f}  {text}")

    def close(self) -> None:
        """Give back what the machine gave."""
        self.network.close()

    async def run(self) -> None:
        """Run the schedule, and look at what it leaves behind."""
        loop = asyncio.get_running_loop()
        self.begun = loop.time()
        loop.set_exception_handler(self._unseen)
        self._start()
        fate = Host("fate")
        faults = [_in(fate, befall(self, fault)) for fault in self.schedule.faults]
        calls = [
            _in(self.hosts[call.client], self._later(call))
            for call in self.schedule.calls
        ]
        await asyncio.gather(*faults, *calls)
        await self.until(QUIET)
        self.quiet = loop.time()
        self.note("all faults are over")
        await self._recover()
        await self._call_plainly()
        await self._ask_again()
        await asyncio.sleep(_SETTLED)
        await self._look()
        await self._end()

    def awake(self, at: float) -> float:
        """Return how long the machine had been awake by then, in seconds."""
        asleep = (min(end, at) - start for start, end in self.leaps if start < at)
        return at - self.begun - sum(asleep)

    async def until(self, at: float) -> None:
        """Wait until the machine has been awake for so long."""
        now = asyncio.get_running_loop().time
        while (left := at - self.awake(now())) > 0:  # noqa: ASYNC110 - time leaps
            await asyncio.sleep(left)

    def _unseen(self, _: object, context: dict[str, Any]) -> None:
        what = context.get("exception") or context["message"]
        self.note(f"unseen: {context}")
        self.unseen.append(f"{context['message']}: {what!r}")

    def _start(self) -> None:
        store = Host(STORE, accept=lambda: Session(self.keys))
        self.network.serve("10.0.0.2:6379", store)
        for number in range(self.schedule.service.processes):
            process = self.servers.start(number)
            self.processes.append(process)
            self.network.serve("10.0.0.1:80", process.host)
        given = self.schedule, self._rng, self.note, self.met
        self.callers = [host.context.run(Caller, *given) for host in self.hosts]

    async def _later(self, call: Call) -> None:
        await self.until(call.at)
        self.records.append(await self.callers[call.client].make(call))

    async def _make(
        self, number: int, client: int, deadline: float = 2.0, key: int | None = None
    ) -> Record:
        now = asyncio.get_running_loop().time() - self.begun
        kind: Any = "get" if key is None else "order"
        call = Call(number, now, client, kind, deadline, key=key)
        made: Record = await _in(self.hosts[client], self.callers[client].make(call))
        return made

    # Afterwards.

    async def _recover(self) -> None:
        """Go on calling until all traffic has to be back."""
        clients = range(self.schedule.clients)
        await asyncio.gather(*(self._recover_as(client) for client in clients))

    async def _recover_as(self, client: int) -> None:
        now, number = asyncio.get_running_loop().time, 1_000 * (client + 1)
        while now() < self.quiet + RECOVERS - self._rest:
            number += 1
            await self._make(number, client)
            await asyncio.sleep(_PAUSE)

    async def _call_plainly(self) -> None:
        await asyncio.sleep(self._rest)
        for number in range(PLAIN):
            for client in range(self.schedule.clients):
                call = 10_000 + 100 * client + number
                self.plain.append(await self._make(call, client))
                await asyncio.sleep(_PAUSE)

    async def _ask_again(self) -> None:
        """Ask for each order once more."""
        keyed = {call.key: call for call in self.schedule.calls if call.key is not None}
        for key, call in keyed.items():
            record = await self._make(20_000 + key, call.client, deadline=3.0, key=key)
            self.audit.append(record)
            await asyncio.sleep(_PAUSE)

    async def _look(self) -> None:
        """See what is held though nothing is under way."""
        self.states = [caller.client.snapshot()["origins"] for caller in self.callers]
        self.held = [process.held() for process in self.processes]
        self.claims = self.keys.claims()
        for host, caller in zip(self.hosts, self.callers, strict=True):
            self.pools += _in_limbo(host, caller)
            self.pools += await _in(host, self._fill(caller))

    async def _fill(self, caller: Caller) -> list[str]:
        """Use every place of a pool at once; say what is wrong with it."""
        places, responses = self.schedule.places, []
        # Past all limits but the pool's.
        url = f"{ORIGIN}/things/1?size=1&work=0&chunks=1"
        timeouts = {"pool": 1.0, "connect": 5.0, "read": 5.0, "write": 5.0}
        extensions = {"timeout": timeouts}
        wrong = []
        try:
            for _ in range(places):
                request = caller.family.Request("GET", url, extensions=extensions)
                responses.append(await caller.transport.handle_async_request(request))
        except caller.family.PoolTimeout:
            wrong.append(f"{len(responses)} of {places} places can be used")
        except caller.family.TransportError as error:
            wrong.append(f"a pool that does not connect: {error!r}")
        for response in responses:
            await response.aclose()
        return wrong

    async def _end(self) -> None:
        """Close all that is open; nothing is to be left."""
        for host, caller in zip(self.hosts, self.callers, strict=True):
            await _in(host, caller.client.aclose())
        for process in self.processes:
            if process.host.is_up:
                await _in(process.host, process.store.aclose())
        await asyncio.sleep(self.schedule.service.keep_alive + _SETTLED)
        mine = asyncio.current_task()
        tasks = [task for task in in_order(asyncio.all_tasks()) if task is not mine]
        self.left = [repr(task.get_coro()) for task in tasks]
        self.left += [str(wire) for wire in self.network.open_wires()]


def _in(host: Host, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """Do `work` as part of a host."""
    loop = asyncio.get_running_loop()
    return loop.create_task(work, context=host.context.copy())


def _in_limbo(host: Host, caller: Caller) -> list[str]:
    """Return what is in use in a pool by nobody."""
    pool, wrong = caller.pool, []
    if pool._requests:
        wrong.append(f"{len(pool._requests)} requests of nobody's")
    known = [one for one in pool.connections if not one.is_closed()]
    busy = [one for one in known if not one.is_idle()]
    if busy:
        wrong.append(f"in use by nobody: {busy}")
    if len(host.ends) > len(known):
        wrong.append(f"{len(host.ends)} connections open, {len(known)} known")
    return wrong
