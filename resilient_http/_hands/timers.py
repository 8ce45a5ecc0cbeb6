"""Giving up on what is awaited once its time is over.

On asyncio every loop has one timer for all calls under way: when it fires it asks each
how much time it has left, and is set for the soonest. A call whose limit is put off,
which is nearly every call, costs a place in a table; a timer of its own would be set
and called off again for each. On trio a cancel scope does the same.

Single reads and writes have limits that stay where they are, and of few lengths. Those
of one length end in the order in which they began, so none but the first is looked at.
"""

import asyncio
import math
import threading
from collections.abc import Callable
from itertools import takewhile
from types import TracebackType
from typing import Any, Final, Protocol, Self

import anyio

from resilient_http.loops import running_loop

_TABLE: Final = "_resilient_http_timers"
_STALL: Final = 0.25
"""Seconds by which a timer is late only if its loop had no time for it."""

Left = Callable[[], float]
"""Seconds that are left; infinity for no limit. May grow while the timer runs."""


class Timer(Protocol):
    """A context manager that cuts short what is awaited in it, and swallows the cut."""

    expired: bool
    """Whether it did."""
    stalled: bool
    """Whether it came late itself: what it cut may have been done, and not seen."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Stop."""

    def rearm(self) -> None:
        """Take in that there is more time left than there was."""


def timer(left: Left) -> Timer:
    """Return a timer for the task that asks, on whichever loop."""
    return timer_in(running_loop(), left)


def timer_in(loop: asyncio.AbstractEventLoop | None, left: Left) -> Timer:
    """Return a timer for the task that asks, where its loop is known."""
    task = None if loop is None else asyncio.current_task(loop)
    if loop is None or task is None:
        return _ScopeTimer(left)
    timer = _TaskTimer(task, _table_of(loop))
    timer.left = left
    return timer


def phase(seconds: float | None) -> "_PhaseTimer | None":
    """Return a timer for one read or write of the task that asks.

    Args:
        seconds: How long it may take; None for as long as it likes.

    Returns:
        None where the loop is not asyncio's.

    """
    loop = running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    if loop is None or task is None:
        return None
    queue = _table_of(loop).queue(math.inf if seconds is None else seconds)
    return _PhaseTimer(task, queue)


def look() -> None:
    """Have the timers of this thread's loop see what is left, and cut what is over.

    For clocks that jump: they pass a limit, and the loop's own time does not.
    """
    loop = running_loop()
    if loop is not None:
        _table_of(loop).look()
    for scope in tuple(_scopes.running):
        scope.rearm()


class _ScopeTimer:
    """On trio, or wherever anyio is at home."""

    def __init__(self, left: Left) -> None:
        self._left = left
        self._scope = anyio.CancelScope()
        self.expired = self.stalled = False

    def __enter__(self) -> Self:
        self.rearm()
        self._scope.__enter__()
        _scopes.running.add(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        _scopes.running.discard(self)
        swallowed = self._scope.__exit__(exc_type, exc, traceback)
        self.expired = self._scope.cancelled_caught
        self.stalled = anyio.current_time() - self._scope.deadline > _STALL
        return bool(swallowed)

    def rearm(self) -> None:
        self._scope.deadline = anyio.current_time() + max(0.0, self._left())


class _Cut:
    """On asyncio: cancels the task, and takes that back on the way out.

    Whose a cancellation is, is told apart as `asyncio.timeout` does it.

    Args:
        task: What is cut.
        among: Those that are looked at when it is time.

    """

    # Defaults of the class, and not set for each: there is one of these for each send.
    expired = stalled = _fired = False

    def __init__(self, task: "asyncio.Task[object]", among: Any) -> None:
        self._task = task
        self._among = among

    def __enter__(self) -> Self:
        self._cancelling = self._task.cancelling()
        self._among.add(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._among.discard(self)
        if not self._fired:
            return False
        only_ours = self._task.uncancel() <= self._cancelling
        was_cut = exc_type is not None and issubclass(exc_type, asyncio.CancelledError)
        self.expired = only_ours and was_cut
        return self.expired

    def _fire(self) -> None:
        self._fired = True
        self._task.cancel()


class _TaskTimer(_Cut):
    """Cuts the task when nothing is left, which is asked again and again."""

    left: Left

    @staticmethod  # or whoever holds it would hold the timer, which holds it
    def rearm() -> None:
        """Nothing to do: the table asks for what is left when it looks."""

    def look(self, *, stalled: bool) -> float:
        """Cut the task short if it is time; return what is left."""
        if self._fired:
            return math.inf
        left = self.left()
        if left <= 0:
            self.stalled = stalled
            self._fire()
        return left


class _PhaseTimer(_Cut):
    """Cuts the task when its queue says so, but for what has come by then.

    A loop that stalls finds what has come and what is too late in the same turn. anyio
    lets a task go on that has what it waits for; so does this, for one turn.
    """

    _gave_way = False

    def cut(self) -> bool:
        """Cut the task short, or give way and return False."""
        waits_for = getattr(self._task, "_fut_waiter", None)  # asyncio's, and anyio's
        if not self._gave_way and (waits_for is None or waits_for.done()):
            self._gave_way = True
            return False
        self._fire()
        return True


class _Table:
    """The timers of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time = loop.time
        self.call_at = loop.call_at
        self.timers: set[_TaskTimer] = set()
        self.discard = self.timers.discard
        self._queues: dict[float, _Queue] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._due = math.inf

    def queue(self, seconds: float) -> "_Queue":
        """Return the timers that run for so long."""
        found = self._queues.get(seconds)
        if found is None:
            found = self._queues[seconds] = _Queue(self, seconds)
        return found

    def forget(self, seconds: float) -> None:
        del self._queues[seconds]

    def add(self, timer: _TaskTimer) -> None:
        self.timers.add(timer)
        at = self.time() + timer.left()
        if at < self._due:
            self._expect(at)

    def _ring(self) -> None:
        self.look(stalled=self.time() - self._due > _STALL)

    def look(self, *, stalled: bool = False) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._due = None, math.inf
        lefts = [timer.look(stalled=stalled) for timer in tuple(self.timers)]
        soonest = min((left for left in lefts if left > 0), default=math.inf)
        if soonest < math.inf:
            self._expect(self.time() + soonest)

    def _expect(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self.call_at(at, self._ring)
        self._due = at


class _Queue:
    """The timers of one loop that run equally long, in the order in which they end."""

    def __init__(self, table: "_Table", seconds: float) -> None:
        self._table = table
        self._seconds = seconds
        self._ends: dict[_PhaseTimer, float] = {}
        table.call_at(table.time() + seconds, self._ring)

    def add(self, timer: _PhaseTimer) -> None:
        self._ends[timer] = self._table.time() + self._seconds

    def discard(self, timer: _PhaseTimer) -> None:
        self._ends.pop(timer, None)

    def _ring(self) -> None:
        now = self._table.time()
        for timer in tuple(takewhile(lambda it: self._ends[it] <= now, self._ends)):
            if timer.cut():
                del self._ends[timer]
        soonest = next(iter(self._ends.values()), None)
        if soonest is None:
            self._table.forget(self._seconds)
        else:
            self._table.call_at(soonest, self._ring)


class _Scopes(threading.local):
    """The timers of the loop that runs in this thread, where it is not asyncio."""

    def __init__(self) -> None:
        self.running: set[_ScopeTimer] = set()


_scopes: Final = _Scopes()


def _table_of(loop: asyncio.AbstractEventLoop) -> _Table:
    # With the loop, so that it goes when the loop does: kept anywhere else it would
    # keep the loop, whose time it asks for.
    found: _Table | None = getattr(loop, _TABLE, None)
    if found is None:
        found = _Table(loop)
        setattr(loop, _TABLE, found)
    return found
