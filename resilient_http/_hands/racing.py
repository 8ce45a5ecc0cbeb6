"""A send, and a second one beside it if the first takes long.

What is to be sent, waited for and dropped is for the hop to say, as ever. In an async
client each send is a task, and dropping one cancels it. In a sync client each is a
thread, and dropping one cuts its connection, where no other request shares that.
"""

import queue
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from resilient_http._core.steps import Drop, Ended, Hedge, Pending, Stay
from resilient_http._hands.pool import aclose
from resilient_http._hands.sync_backend import cut
from resilient_http.hop import Hop
from resilient_http.sending import Sending

AsyncSend = Callable[[Any], Awaitable[Any]]
AsyncSendOnce = Callable[[Sending, AsyncSend], Awaitable[Ended]]
SyncSend = Callable[[Any], Any]
SyncSendOnce = Callable[[Sending, SyncSend], Ended]

_LONGEST_JOIN: Final = 1.0
"""Seconds that a dropped thread is waited for. One whose connection could not be cut
closes its answer by itself when that comes."""


async def arace(
    hop: Hop, hedge_after: float, send: AsyncSend, send_once: AsyncSendOnce
) -> None:
    """Do what `hop` wants done, from its first send until it wants something else."""
    crash: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            race = _AsyncRace(hop, tasks, send, send_once)
            try:
                await race.run(hedge_after)
            except Exception as error:  # noqa: BLE001 - raised below, and not in a group
                crash = error
            tasks.cancel_scope.cancel()
        if crash is not None:
            raise crash  # noqa: TRY301 - it leaves as what a send raised in any client
    except BaseException:
        await _aclose(hop.out)
        raise
    finally:
        del crash  # or it would hold on to itself


class _AsyncRace:
    def __init__(
        self, hop: Hop, tasks: TaskGroup, send: AsyncSend, send_once: AsyncSendOnce
    ) -> None:
        self._hop = hop
        self._tasks = tasks
        self._send = send
        self._send_once = send_once
        self._scopes: dict[Sending, anyio.CancelScope] = {}
        self._ended: list[Ended | Exception] = []
        self._changed = anyio.Event()

    async def run(self, hedge_after: float) -> None:
        hop = self._hop
        self._start(hop.sending())
        self._tasks.start_soon(self._alarm, hedge_after)
        hop.advance(await self._first())
        while isinstance(command := hop.command, Hedge | Stay | Drop):
            if isinstance(command, Drop):
                await self._drop(hop.keep(command.keep))
                hop.advance(hop.woke())
                continue
            if isinstance(command, Hedge):
                self._start(hop.sending(beside=True))
            hop.advance(await self._first())

    def _start(self, sending: Sending) -> None:
        self._scopes[sending] = anyio.CancelScope()
        self._tasks.start_soon(self._run, sending)

    async def _run(self, sending: Sending) -> None:
        with self._scopes[sending]:
            try:
                self._ended.append(await self._send_once(sending, self._send))
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                self._ended.append(error)
        del self._scopes[sending]
        self._changed.set()

    async def _alarm(self, hedge_after: float) -> None:
        await self._hop.call.settings.state.clock.asleep(hedge_after)
        if not self._ended and len(self._scopes) == 1:
            self._changed.set()

    async def _first(self) -> Ended | Pending:
        if not self._ended:
            await self._changed.wait()
        self._changed = anyio.Event()
        if not self._ended:
            return Pending(self._hop.call.now())
        ended = self._ended.pop(0)
        if isinstance(ended, Exception):
            raise ended
        return ended

    async def _drop(self, dropped: list[Sending]) -> None:
        for sending in dropped:
            if sending in self._scopes:
                self._scopes[sending].cancel()
        while any(sending in self._scopes for sending in dropped):
            await self._changed.wait()
            self._changed = anyio.Event()
        await _aclose(dropped)


async def _aclose(sendings: list[Sending]) -> None:
    with anyio.CancelScope(shield=True):
        for sending in sendings:
            if sending.response is not None:
                await aclose(sending.call.family, sending.response)


def race(hop: Hop, hedge_after: float, send: SyncSend, send_once: SyncSendOnce) -> None:
    """Do what `hop` wants done, from its first send until it wants something else."""
    running = _Race(hop, send, send_once)
    try:
        running.run(hedge_after)
    except BaseException:
        running.drop(hop.out)
        raise


class _Race:
    def __init__(self, hop: Hop, send: SyncSend, send_once: SyncSendOnce) -> None:
        self._hop = hop
        self._send = send
        self._send_once = send_once
        self._threads: dict[Sending, threading.Thread] = {}
        self._ended: queue.SimpleQueue[Ended | BaseException] = queue.SimpleQueue()

    def run(self, hedge_after: float) -> None:
        hop = self._hop
        self._start(hop.sending())
        hop.advance(self._first(hedge_after))
        while isinstance(command := hop.command, Hedge | Stay | Drop):
            if isinstance(command, Drop):
                self.drop(hop.keep(command.keep))
                hop.advance(hop.woke())
                continue
            if isinstance(command, Hedge):
                self._start(hop.sending(beside=True))
            hop.advance(self._first(None))

    def drop(self, dropped: list[Sending]) -> None:
        for sending in dropped:
            sending.drop()
            cut(sending)
        for sending in dropped:
            self._threads[sending].join(_LONGEST_JOIN)
            _close(sending)

    def _start(self, sending: Sending) -> None:
        target = copy_context().run
        thread = threading.Thread(target=target, args=[self._run, sending], daemon=True)
        self._threads[sending] = thread
        thread.start()

    def _run(self, sending: Sending) -> None:
        try:
            self._ended.put(self._send_once(sending, self._send))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._ended.put(error)
        if sending.is_dropped:
            _close(sending)

    def _first(self, within: float | None) -> Ended | Pending:
        try:
            ended = self._ended.get(timeout=within)
        except queue.Empty:
            return Pending(self._hop.call.now())
        if isinstance(ended, BaseException):
            raise ended
        return ended


def _close(sending: Sending) -> None:
    if sending.response is not None:
        sending.response.close()
