"""Making calls, cutting them short, and what became of each."""

import asyncio
import json
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import anyio
import httpx
import httpx2

import resilient_http
import resilient_http.httpx2
from incidents.app import content_of
from incidents.schedule import Call, Cut, Schedule
from resilient_http import Contract, State
from resilient_http.problems import AppException

ORIGIN: Final = "http://10.0.0.1"


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


class Caller:
    """One client, over its family's own transport and pool.

    Args:
        schedule: How it is set up.
        rng: Draws what the schedule leaves open.
        note: Is told what happens.
        met: Counts it.

    """

    def __init__(
        self,
        schedule: Schedule,
        rng: Random,
        note: Callable[[str], None],
        met: Counter[str],
    ) -> None:
        is_httpx = schedule.family == "httpx"
        self.family: Any = httpx if is_httpx else httpx2
        self._schedule = schedule
        self._note = note
        self._met = met
        ours: Any = resilient_http if is_httpx else resilient_http.httpx2
        limits = self.family.Limits(
            max_connections=schedule.places, keepalive_expiry=rng.choice([1, 5])
        )
        loop = asyncio.get_running_loop()
        self.client: Any = ours.AsyncClient(
            transport=self.family.AsyncHTTPTransport(limits=limits, verify=False),
            base_url=ORIGIN,
            policy=schedule.policy,
            contract=Contract(),
            state=State(clock=_Clock(loop), rng=Random(rng.random())),
            timeout=self.family.Timeout(rng.choice([0.5, 5.0])),
            headers={"Authorization": "Bearer of-all"},  # or each had keys of its own
            trust_env=False,
        )

    @property
    def pool(self) -> Any:
        """Where its connections are."""
        return vars(self.transport)["_pool"]

    @property
    def transport(self) -> Any:
        """What it sends through."""
        return self.client._transport

    async def make(self, call: Call) -> Record:
        """Make a call, cut it short if it is to be, and say how it ended."""
        loop = asyncio.get_running_loop()
        record = Record(call, loop.time(), loop.time() + call.deadline)
        self._note(f"call {call.number}: {call.kind} by client {call.client}")
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
            record.sends = len(getattr(error, "attempts", ()))
        self._met[f"ended: {_kind_of(record)}"] += 1
        self._note(f"call {call.number}: {record.outcome}")
        return record

    def _cancel(self, task: "asyncio.Task[Any]", record: Record) -> None:
        if not task.done():
            self._met["cancel"] += 1
            self._note(f"call {record.call.number}: cancelled")
            if record.cancelled_at is None:
                record.cancelled_at = asyncio.get_running_loop().time()
            task.cancel()

    def _cut_short(self, call: Call, record: Record) -> Coroutine[Any, Any, None]:
        steps = [cut.steps for cut in call.cuts if cut.steps is not None]
        if steps:

            def cancel() -> None:
                task = asyncio.current_task()
                assert task is not None
                self._cancel(task, record)

            return _cut_at(lambda: self._ask(call, record), steps, cancel)
        scoped = [cut for cut in call.cuts if cut.scope and cut.after is not None]
        if scoped:
            return self._within(scoped[0], call, record)
        return self._ask(call, record)

    async def _within(self, cut: Cut, call: Call, record: Record) -> None:
        loop = asyncio.get_running_loop()
        with anyio.move_on_after(cut.after or 0.0) as scope:
            await self._ask(call, record)
        if scope.cancelled_caught:
            self._met["cancel"] += 1
            record.cancelled_at = record.began + (cut.after or 0.0)
            record.outcome = f"left after {loop.time() - record.began:.3f}"

    async def _ask(self, call: Call, record: Record) -> None:
        # Only now: time may have passed since its task was made.
        record.began = asyncio.get_running_loop().time()
        record.due = record.began + call.deadline
        extensions = {"deadline": call.deadline}
        if call.kind == "order":
            await self._order(call, record, extensions)
            return
        path = f"/things/{call.number}"
        url = f"{path}?size={call.size}&work={call.work}&chunks={call.chunks}"
        expected = content_of(path, call.size)
        if call.kind == "get":
            response = await self.client.get(url, extensions=extensions)
            self._take(record, response)
            if response.status_code == httpx.codes.OK and response.content != expected:
                record.wrong = "another body than was asked for"
            return
        async with self.client.stream("GET", url, extensions=extensions) as response:
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
        self, call: Call, record: Record, extensions: dict[str, Any]
    ) -> None:
        order = f"order-{call.number if call.key is None else call.key}"
        headers = {"Content-Type": "application/json"}
        if call.key is not None:
            headers["Idempotency-Key"] = f'"key-{call.key}"'
            order = f"order-of-key-{call.key}"
        response = await self.client.post(
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
        same = (one.work for one in self._schedule.calls if one.key == call.key)
        return call.work if call.key is None else next(same, call.work)

    def _take(self, record: Record, response: Any) -> None:
        record.status = response.status_code
        record.outcome = str(response.status_code)
        record.sends = len(response.attempts)
        headers = response.headers
        record.is_marked = headers.get("idempotent-replayable") == "false"
        record.is_replayed = headers.get("idempotent-replayed") == "true"


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


def _ending(timer: asyncio.TimerHandle) -> Callable[[object], None]:
    return lambda _: timer.cancel()


def _kind_of(record: Record) -> str:
    if record.error is not None:
        return "problem" if isinstance(record.error, AppException) else "error"
    return record.outcome.partition(" ")[0]


async def _cut_at(
    begin: Callable[[], Coroutine[Any, Any, Any]],
    steps: list[int],
    cancel: Callable[[], None],
) -> None:
    """Do what `begin` begins, and cancel it as it waits for the nth time."""
    await _driven(begin(), steps, cancel)


@types.coroutine
def _driven(
    work: Coroutine[Any, Any, Any], steps: list[int], cancel: Callable[[], None]
) -> Generator[Any, Any, Any]:
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
