"""A schedule as it is run: clients, servers and a store, and what became of each call.

Client: ours, over httpx's own transport and httpcore's own pool. Server: uvicorn's own
protocol, with an app that `server_kit` wraps. A process that dies is a host that is cut
off: what it does from then on reaches nobody, and then it is cancelled.
"""

import asyncio
import json
import time
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import anyio
import httpx
import httpx2
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

import resilient_http
import resilient_http.httpx2
from incidents.app import App, Database, content_of
from incidents.loop import Loop
from incidents.network import Host, Network, here
from incidents.schedule import (
    QUIET,
    STORE,
    Call,
    Crash,
    Cut,
    Damage,
    Fault,
    Leap,
    Partition,
    Schedule,
    Slow,
    Step,
    Trouble,
    client_name,
    process_name,
)
from incidents.store import Keys, Session
from resilient_http import Contract, State
from resilient_http.problems import AppException
from server_kit import (
    Deadlines,
    Idempotency,
    RateLimiter,
    RateLimitMiddleware,
    Shedding,
    wrap,
)
from server_kit.idempotency import Stage
from server_kit.idempotency.stores.in_memory import MemoryStore
from server_kit.idempotency.stores.in_redis import RedisStore

ORIGIN: Final = "http://10.0.0.1"
RECOVERS: Final = 12.0
"""Seconds after the last fault within which all traffic is back."""
PLAIN: Final = 6
"""Calls of each client that have to succeed then."""
_SETTLED: Final = 4.0  # seconds: past each lease, and what a client of Redis insists on
_PAUSE: Final = 1.0


@dataclass(eq=False)
class Record:
    """What became of a call."""

    call: Call
    began: float
    due: float
    ended: float = 0.0
    cancelled_at: float | None = None
    outcome: str = ""
    status: int | None = None
    run: int | None = None
    is_marked: bool = False
    """Whether the answer says that a repeat will not get it again."""
    is_replayed: bool = False
    error: BaseException | None = None
    wrong: str = ""
    """What is wrong with the answer itself."""
    sends: int = 0


@dataclass(eq=False)
class Process:
    """One server process, while it lives."""

    host: Host
    app: App
    kit: Any
    state: ServerState
    stages: list[Any] = field(default_factory=list)
    died_at: float | None = None


class World:
    """One run of a schedule.

    Args:
        schedule: What happens.
        trace: Whether to write down what does.

    """

    def __init__(self, schedule: Schedule, *, trace: bool = False) -> None:
        self.schedule = schedule
        self.rng = Random(f"world {schedule.seed}")
        self.network = Network(self.rng, self.note)
        self.trace: list[str] = []
        self._is_traced = trace
        self.met: Counter[str] = Counter()
        """What has happened, by kind."""
        self.database = Database(self.note)
        self.records: list[Record] = []
        self.plain: list[Record] = []
        self.audit: list[Record] = []
        self.processes: list[Process] = []
        self.clients: list[Any] = []
        self.troubles: list[list[Trouble]] = []
        self.leaps: list[tuple[float, float]] = []
        """When each began and ended."""
        self.crashes: list[tuple[Host, float]] = []
        self.keys = Keys(schedule.service.lease, self.note)
        self.begun = 0.0
        self.quiet = 0.0
        """When the last fault was over."""
        self.left: list[str] = []
        """Tasks that are there when none should be."""
        self.wires: list[str] = []
        """Connections that are open when all is closed."""
        self.states: list[dict[str, Any]] = []
        self.pools: list[str] = []
        self.served: list[dict[str, int]] = []
        self.claims = 0
        self.unseen: list[str] = []
        """What failed where nobody was told."""

    def note(self, text: str) -> None:
        """Write down what happens."""
        if self._is_traced:
            now = time.monotonic() - self.begun  # the loop's, running or not
            self.trace.append(f"{now:9.4f}  {text}")

    def close(self) -> None:
        """Give back what the machine gave."""
        self.network.close()

    async def run(self) -> None:
        """Run the schedule, from its first call to the last look."""
        loop = asyncio.get_running_loop()
        self.begun = loop.time()
        loop.set_exception_handler(self._unseen)
        self._start()
        faults = [
            _in(Host("fate"), self._befall(fault)) for fault in self.schedule.faults
        ]
        calls = [
            _in(self._client_host(call.client), self._later(call))
            for call in self.schedule.calls
        ]
        await asyncio.gather(*faults, *calls)
        await self._until(QUIET)
        self.quiet = loop.time()
        self.note("all faults are over")
        await self._recover()
        await self._look()
        await self._end()

    def _unseen(self, _: object, context: dict[str, Any]) -> None:
        what = context.get("exception") or context["message"]
        self.note(f"unseen: {context}")
        self.unseen.append(f"{context['message']}: {what!r}")

    # Who there is.

    def _start(self) -> None:
        schedule = self.schedule
        store = Host(STORE, accept=lambda: Session(self.keys))
        self.network.serve("10.0.0.2:6379", store)
        for number in range(schedule.service.processes):
            self.troubles.append([])
            process = self._process(number)
            self.network.serve("10.0.0.1:80", process.host)
        self.hosts = [Host(client_name(one)) for one in range(schedule.clients)]
        self.clients = [host.context.run(self._client) for host in self.hosts]

    def _client_host(self, number: int) -> Host:
        return self.hosts[number]

    def _client(self) -> Any:
        kind: Any = httpx if self.schedule.family == "httpx" else httpx2
        ours: Any = (
            resilient_http if self.schedule.family == "httpx" else resilient_http.httpx2
        )
        loop: Any = asyncio.get_running_loop()
        limits = kind.Limits(
            max_connections=self.schedule.places,
            keepalive_expiry=self.rng.choice([1, 5]),
        )
        return ours.AsyncClient(
            transport=kind.AsyncHTTPTransport(limits=limits, verify=False),
            base_url=ORIGIN,
            policy=self.schedule.policy,
            contract=Contract(),
            state=State(clock=_Clock(loop), rng=Random(self.rng.random())),
            timeout=kind.Timeout(self.rng.choice([0.5, 5.0])),
            headers={"Authorization": "Bearer of-all"},  # or each had keys of its own
            trust_env=False,
        )

    def _process(self, number: int) -> Process:
        host = Host(process_name(number))
        process: Process = host.context.run(self._serving, host, number)
        host.accept = lambda: H11Protocol(
            process.state.config,  # type: ignore[attr-defined] # put there below
            process.state,
            {},
            asyncio.get_running_loop(),
        )
        self.processes.append(process)
        return process

    def _serving(self, host: Host, number: int) -> Process:
        service = self.schedule.service
        loop: Any = asyncio.get_running_loop()
        app = App(self.database, self.troubles[number], self.rng)
        within: Any = app
        if service.rate is not None:
            limit, window = service.rate
            within = RateLimitMiddleware(
                within,
                limiter=RateLimiter(clock=loop.time),
                default_limit=limit,
                default_window=window,
            )
        keys = Idempotency(
            store="redis://10.0.0.2" if service.store == "redis" else None,
            lease=service.lease,
            wait=service.wait,
        )
        store: Any = (
            RedisStore(keys)
            if service.store == "redis"
            else MemoryStore(keys, loop.time)
        )
        limits = service.shedding
        kit = wrap(
            Stage(within, keys, store),
            shedding=None
            if limits is None
            else Shedding(limit=limits[0], most_limit=limits[1], target=0.1),
            deadlines=Deadlines(
                maximum=service.maximum, cancel_on_disconnect=service.cancels
            ),
        )
        config = Config(
            kit,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            http="h11",
            ws="none",
            timeout_keep_alive=service.keep_alive,  # type: ignore[arg-type] # it is added to a time
        )
        state = ServerState()
        state.config = config  # type: ignore[attr-defined] # so that one thing is handed on
        return Process(host, app, kit, state, _stages_of(kit))

    # What goes wrong.

    async def _befall(self, fault: Fault) -> None:
        await self._until(fault.at)
        self.note(f"{fault}")
        kind = type(fault).__name__.lower()
        if isinstance(fault, Slow):
            self.met[kind] += 1
            with self.network.slower(*fault.ends, fault.extra):
                await self._until(fault.until)
        elif isinstance(fault, Partition):
            self.met[kind] += 1
            self.network.block(*fault.ends, set(fault.silent))
            await self._until(fault.until)
            self.network.heal(*fault.ends)
        elif isinstance(fault, Damage):
            after, how = fault.after, fault.how
            self.met[how] += self.network.damage(
                *fault.ends, after=after, how=how, back=fault.back
            )
        elif isinstance(fault, Crash):
            self.met[kind] += 1
            await self._crash(fault)
        elif isinstance(fault, Trouble):
            self.met[fault.how] += 1
            self.troubles[fault.process].append(fault)
            await self._until(fault.until)
            self.troubles[fault.process].remove(fault)
        else:
            self.met[kind] += 1
            await self._move_time(fault)

    async def _crash(self, fault: Crash) -> None:
        name = process_name(fault.process)
        process = next(p for p in reversed(self.processes) if p.host.name == name)
        host = process.host
        if not host.is_up:
            return  # another has killed it
        loop = asyncio.get_running_loop()
        process.died_at = loop.time()
        self.crashes.append((host, loop.time()))
        self.network.end(host, silently=fault.silent)
        for task in _in_order(asyncio.all_tasks()):
            if task.home is host:
                task.cancel()
        await self._until(fault.until)
        new = self._process(fault.process)
        self.network.return_of(host, new.host)

    async def _move_time(self, fault: Leap | Step) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        if isinstance(fault, Step):
            loop.stepped += fault.by
        else:
            before = loop.time()
            loop.leap(fault.by)
            self.leaps.append((before, loop.time()))

    # What is called.

    async def _later(self, call: Call) -> None:
        await self._until(call.at)
        self.records.append(await self._make(call))

    async def _make(self, call: Call) -> Record:
        loop = asyncio.get_running_loop()
        record = Record(call, loop.time(), loop.time() + call.deadline)
        self.note(f"call {call.number}: {call.kind} by client {call.client}")
        task = loop.create_task(self._cut_short(call, record))
        for cut in call.cuts:
            if cut.after is not None and cut.steps is None and not cut.scope:
                timer = loop.call_later(cut.after, self._cancel, task, record)
                task.add_done_callback(_ending(timer))
        await asyncio.wait([task])
        record.ended = loop.time()
        if task.cancelled():
            record.outcome = "cancelled"
        elif (error := task.exception()) is not None:
            record.error = error
            record.outcome = type(error).__name__
        if record.error is not None:
            record.sends = len(getattr(record.error, "attempts", ()))
        self.met[f"ended: {_kind_of(record)}"] += 1
        self.note(f"call {call.number}: {record.outcome}")
        return record

    def _cancel(self, task: "asyncio.Task[Any]", record: Record) -> None:
        if not task.done():
            self.met["cancel"] += 1
            self.note(f"call {record.call.number}: cancelled")
            if record.cancelled_at is None:
                record.cancelled_at = asyncio.get_running_loop().time()
            task.cancel()

    def _cut_short(self, call: Call, record: Record) -> Coroutine[Any, Any, None]:
        work = self._ask(call, record)
        steps = [cut.steps for cut in call.cuts if cut.steps is not None]
        if steps:

            def cancel() -> None:
                task = asyncio.current_task()
                assert task is not None
                self._cancel(task, record)

            return _cut_at(work, steps, cancel)
        scoped = [cut for cut in call.cuts if cut.scope and cut.after is not None]
        if scoped:
            return self._within(scoped[0], work, record)
        return work

    async def _within(
        self, cut: Cut, work: Coroutine[Any, Any, None], record: Record
    ) -> None:
        loop = asyncio.get_running_loop()
        with anyio.move_on_after(cut.after or 0.0) as scope:
            await work
        if scope.cancelled_caught:
            self.met["cancel"] += 1
            record.cancelled_at = record.began + (cut.after or 0.0)
            record.outcome = f"left after {loop.time() - record.began:.3f}"

    async def _ask(self, call: Call, record: Record) -> None:
        # Only now: time may have passed since its task was made.
        record.began = asyncio.get_running_loop().time()
        record.due = record.began + call.deadline
        client = self.clients[call.client]
        extensions = {"deadline": call.deadline}
        if call.kind == "order":
            await self._order(client, call, record, extensions)
            return
        path = f"/things/{call.number}"
        url = f"{path}?size={call.size}&work={call.work}&chunks={call.chunks}"
        expected = content_of(path, call.size)
        if call.kind == "get":
            response = await client.get(url, extensions=extensions)
            self._take(record, response)
            if response.status_code == httpx.codes.OK and response.content != expected:
                record.wrong = "another body than was asked for"
            return
        async with client.stream("GET", url, extensions=extensions) as response:
            self._take(record, response)
            if response.status_code != httpx.codes.OK:
                await response.aread()
                return
            got, count = b"", 0
            async for chunk in response.aiter_raw():
                got += chunk
                count += 1
                if call.reads is not None and count > call.reads:
                    break
            else:
                if got != expected:
                    record.wrong = "another body than was asked for"
            if not expected.startswith(got):
                record.wrong = "another body than was asked for"

    async def _order(
        self, client: Any, call: Call, record: Record, extensions: dict[str, Any]
    ) -> None:
        order = f"order-{call.number if call.key is None else call.key}"
        headers = {"Content-Type": "application/json"}
        if call.key is not None:
            headers["Idempotency-Key"] = f'"key-{call.key}"'
            order = f"order-of-key-{call.key}"
        response = await client.post(
            f"/orders?work={self._work_of(call)}",
            content=json.dumps({"order": order, "key": call.key}),
            headers=headers,
            extensions=extensions,
        )
        self._take(record, response)
        if response.status_code == httpx.codes.CREATED:
            told = response.json()
            record.run = told["run"]
            if told["order"] != order:
                record.wrong = "the answer to another order"

    def _work_of(self, call: Call) -> float:
        # A repeat has to be the same request.
        same = (one.work for one in self.schedule.calls if one.key == call.key)
        return call.work if call.key is None else next(same, call.work)

    def _take(self, record: Record, response: Any) -> None:
        record.status = response.status_code
        record.outcome = str(response.status_code)
        record.sends = len(response.attempts)
        headers = response.headers
        record.is_marked = headers.get("idempotent-replayable") == "false"
        record.is_replayed = headers.get("idempotent-replayed") == "true"

    # Afterwards.

    async def _recover(self) -> None:
        """Call as ever until all traffic must be back, and then see whether it is."""
        await asyncio.gather(
            *(
                _in(self._client_host(client), self._recover_as(client))
                for client in range(self.schedule.clients)
            )
        )
        await self._call_plainly()

    async def _recover_as(self, client: int) -> None:
        loop = asyncio.get_running_loop()
        ends, number = self.quiet + RECOVERS, 1_000 * (client + 1)
        while loop.time() < ends:
            number += 1
            await self._plain(client, number)
            await asyncio.sleep(_PAUSE)

    async def _call_plainly(self) -> None:
        for number in range(PLAIN):
            for client in range(self.schedule.clients):
                work = self._plain(client, 10_000 + 100 * client + number)
                host = self._client_host(client)
                self.plain.append(await _in(host, work))
                await asyncio.sleep(_PAUSE)

    async def _plain(self, client: int, number: int) -> Record:
        now = asyncio.get_running_loop().time() - self.begun
        return await self._make(Call(number, now, client, "get", 2.0))

    async def _look(self) -> None:
        """Ask for each order once more, and see what is still held."""
        keyed = {call.key: call for call in self.schedule.calls if call.key is not None}
        for key, call in keyed.items():
            now = asyncio.get_running_loop().time() - self.begun
            again = Call(20_000 + key, now, call.client, "order", 3.0, key=key)
            host = self._client_host(call.client)
            record = await _in(host, self._make(again))
            self.audit.append(record)
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(_SETTLED)
        self.states = [client.snapshot()["origins"] for client in self.clients]
        for client in self.clients:
            self.pools += await _in(
                self._client_host(self.clients.index(client)), self._fill(client)
            )
        self.served = [_served(process) for process in self.processes]
        now = asyncio.get_running_loop().time()
        ledger = self.keys.ledger
        ledger.renew(_NOBODY, now)  # has it forget what is over
        self.claims = len(ledger._claimed)

    async def _fill(self, client: Any) -> list[str]:
        """Use every place of a pool at once; say what is wrong with it."""
        pool = vars(client._transport)["_pool"]
        wrong = []
        await asyncio.sleep(0)
        if pool._requests:
            wrong.append(f"{len(pool._requests)} requests in a pool of nobody's")
        busy = [
            one for one in pool.connections if not (one.is_idle() or one.is_closed())
        ]
        if busy:
            wrong.append(f"in use by nobody: {busy}")
        host = here.get()
        known = [one for one in pool.connections if not one.is_closed()]
        if len(host.ends) > len(known):
            wrong.append(f"{len(host.ends)} connections open, {len(known)} known")
        transport = client._transport
        family: Any = httpx if self.schedule.family == "httpx" else httpx2
        timeouts = {"pool": 1.0, "connect": 5.0, "read": 5.0, "write": 5.0}
        responses = []
        try:
            for _ in range(self.schedule.places):
                request = family.Request(
                    "GET",
                    f"{ORIGIN}/things/1?size=1&work=0&chunks=1",
                    extensions={"timeout": timeouts},
                )
                responses.append(await transport.handle_async_request(request))
        except family.PoolTimeout:
            wrong.append(f"{len(responses)} of {self.schedule.places} places")
        except family.TransportError as error:
            wrong.append(f"a pool that does not connect: {error!r}")
        for response in responses:
            await response.aclose()
        return wrong

    async def _end(self) -> None:
        for number, client in enumerate(self.clients):
            await _in(self._client_host(number), client.aclose())
        for process in self.processes:
            if process.host.is_up:
                await _in(process.host, process.stages[-1]._store.aclose())
        await asyncio.sleep(self.schedule.service.keep_alive + _SETTLED)
        self.wires = [str(wire) for wire in self.network.open_wires()]
        mine = asyncio.current_task()
        self.left = [
            repr(task.get_coro())
            for task in _in_order(asyncio.all_tasks())
            if task is not mine
        ]

    def awake(self, at: float) -> float:
        """Return how long the machine had been awake by then, in seconds."""
        asleep = (min(end, at) - start for start, end in self.leaps if start < at)
        return at - self.begun - sum(asleep)

    async def _until(self, at: float) -> None:
        now = asyncio.get_running_loop().time
        while (left := at - self.awake(now())) > 0:  # noqa: ASYNC110 - time leaps
            await asyncio.sleep(left)


class _Clock:
    """The time of the loop, for a client's state."""

    def __init__(self, loop: Any) -> None:
        self.now = loop.time

    def sleep(self, seconds: float) -> None:
        """Stop the loop, which nobody may."""
        raise NotImplementedError

    async def asleep(self, seconds: float) -> None:
        """Let time pass in this task."""
        await asyncio.sleep(seconds)


class _Nobody:
    name = token = fingerprint = ""


_NOBODY: Any = _Nobody()


def _in(host: Host, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """Do `work` as part of a host."""
    loop = asyncio.get_running_loop()
    return loop.create_task(work, context=host.context.copy())


def _ending(timer: asyncio.TimerHandle) -> Callable[[object], None]:
    return lambda _: timer.cancel()


def _in_order(tasks: Iterable[Any]) -> list[Any]:
    return sorted(tasks, key=lambda task: int(task.number))


def _stages_of(kit: Any) -> list[Any]:
    """Return the stages of a wrapped app, outermost first."""
    stage, found = object.__getattribute__(kit, "_stages"), []
    while hasattr(stage, "_app"):
        found.append(stage)
        stage = stage._app
        if isinstance(stage, RateLimitMiddleware):
            break
    return found


def _served(process: Process) -> dict[str, int]:
    found = {"serving": process.app.serving}
    for stage in process.stages:
        if hasattr(stage, "snapshot"):
            snapshot = stage.snapshot()
            found["in_flight"] = snapshot.in_flight
            found["waiting"] = snapshot.waiting
    return found if process.host.is_up else {}


def _kind_of(record: Record) -> str:
    if record.error is not None:
        return "problem" if isinstance(record.error, AppException) else "error"
    return record.outcome.partition(" ")[0]


@types.coroutine
def _cut_at(
    work: Coroutine[Any, Any, Any], steps: list[int], cancel: Callable[[], None]
) -> Generator[Any, Any, Any]:
    """Drive `work`, and cancel it as it waits for the nth time."""
    left, error = list(steps), None
    count = 0
    while True:
        try:
            waits = work.send(None) if error is None else work.throw(error)
        except StopIteration as end:
            return end.value
        count += 1
        if left and count >= left[0]:
            left.pop(0)
            count = 0
            cancel()
        error = None
        try:
            yield waits
        except BaseException as thrown:  # noqa: BLE001 - it is handed on
            error = thrown
