"""Time that is a number: it passes when somebody waits, or when the test says so."""

import asyncio
import math
import threading
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import anyio.lowlevel

from resilient_http._hands import timers

_ROUNDING: Final = 1e-9
"""Seconds by which sums of the same waits may differ."""


class ManualClock:
    """A `Clock` for tests: `State(clock=ManualClock())`.

    By default each wait moves the clock by itself and returns at once; waits of several
    tasks or threads add up. With `autojump=False` whoever waits really does, until the
    test calls `advance`.

    A deadline that the clock has passed cuts short what is awaited under it, as it
    would in real time: at the end of the wait that passed it, or of `advance`.

    Any number of threads and event loops may share one, and `advance` may be called in
    any of them. Tasks of one loop run in the order of their time; threads, and loops
    among each other, as they are scheduled. In the thread of an event loop call nothing
    that stops it: neither `wait_for_threads` nor, without autojump, `sleep`.

    Args:
        start: What the clock shows at first, in seconds.
        autojump: Whether a wait moves the clock by itself.
        patience: Real seconds after which `wait_for_waiters` and `wait_for_threads`
            give up.

    """

    def __init__(
        self, start: float = 1_000.0, *, autojump: bool = True, patience: float = 10.0
    ) -> None:
        self.time = start
        """Seconds. Set by hand it wakes nobody; `advance` does."""
        self.waits: list[float] = []
        """Every wait that was asked of `sleep` and `asleep`, in order, in seconds."""
        self.autojump = autojump
        self._patience = patience
        # One that may be entered again: a task may be finalised anywhere, and leaves.
        self._lock = threading.RLock()
        self._waiters: list[_Waiter] = []
        self._watchers: list[tuple[int, _Bell]] = []
        self._waking: set[object] = set()

    @property
    def waiting(self) -> int:
        """How many wait, and have not been woken."""
        return len(self._waiters)

    def now(self) -> float:
        """Return seconds on the clock."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Wait in this thread."""
        self.waits.append(seconds)
        self.spend(seconds)

    async def asleep(self, seconds: float) -> None:
        """Wait in this task."""
        if self.autojump:
            self.sleep(seconds)
            await self._arrive()
        else:
            self.waits.append(seconds)
            await self.aspend(seconds)

    def spend(self, seconds: float) -> None:
        """Wait as in `sleep`, without a note in `waits`: for what a server takes."""
        if self.autojump:
            with self._lock:
                self.time += max(0.0, seconds)
            return
        bell = _ThreadBell()
        with self._among_waiters(seconds, bell):
            bell.wait(None)

    async def aspend(self, seconds: float) -> None:
        """Wait as in `asleep`, without a note in `waits`: for what a server takes."""
        if self.autojump:
            self.spend(seconds)
            await self._arrive()
            return
        bell = _TaskBell()
        with self._among_waiters(seconds, bell):
            await bell.wait()

    def advance(self, seconds: float) -> None:
        """Move the clock, and wake whoever has waited long enough.

        It does not wait for them to run: all of them see the time that it is then.

        Raises:
            ValueError: Time does not go back, nor on for ever.

        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"seconds must be finite, at least 0, got {seconds!r}")
        with self._lock:
            self.time += seconds
            bells = [waiter.bell for waiter in self._waiters]
            self._wake()
        timers.look()
        for bell in bells:
            bell.look()

    async def wait_for_waiters(self, count: int = 1) -> None:
        """Let others run until `count` tasks or threads wait.

        Raises:
            TimeoutError: They do not, and patience is over.

        """
        with anyio.move_on_after(self._patience):
            while True:
                bell = _TaskBell()
                with self._watching(count, bell):
                    await bell.wait()
                # Whoever was being cancelled as it rang has left by now.
                if self.waiting >= count:
                    return
        raise self._nobody(count)

    def wait_for_threads(self, count: int = 1) -> None:
        """Stop this thread until `count` threads or tasks wait.

        Raises:
            TimeoutError: They do not, and patience is over.

        """
        bell = _ThreadBell()
        with self._watching(count, bell):
            came = bell.wait(self._patience)
        if not came:
            raise self._nobody(count)

    async def _arrive(self) -> None:
        timers.look()
        await anyio.lowlevel.checkpoint()

    @contextmanager
    def _among_waiters(self, seconds: float, bell: "_Bell") -> Iterator[None]:
        with self._lock:
            waiter = _Waiter(self.time + seconds, bell)
            insort(self._waiters, waiter, key=_due)
            self._wake()
            self._tell()
        try:
            yield
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    self._waking.discard(bell.home)
                self._wake()

    @contextmanager
    def _watching(self, count: int, bell: "_Bell") -> Iterator[None]:
        watcher = (count, bell)
        with self._lock:
            self._watchers.append(watcher)
            self._tell()
        try:
            yield
        finally:
            with self._lock:
                self._watchers.remove(watcher)

    def _tell(self) -> None:
        for count, bell in self._watchers:
            if self.waiting >= count:
                bell.ring()

    def _wake(self) -> None:
        """Wake who is due; of the tasks of a loop the first, who wakes the next.

        Woken all at once they would run in any order on trio. To be called with the
        lock held.
        """
        for waiter in tuple(self._waiters):
            home = waiter.bell.home
            if waiter.due > self.time + _ROUNDING or home in self._waking:
                continue
            self._waiters.remove(waiter)
            self.time = max(self.time, waiter.due)
            if waiter.bell.ring():
                self._waking.add(home)

    def _nobody(self, count: int) -> TimeoutError:
        return TimeoutError(f"{count} should wait on the clock, {self.waiting} do")


class _ThreadBell:
    """What wakes one thread."""

    def __init__(self) -> None:
        self.home: object = self
        self._event = threading.Event()

    def wait(self, seconds: float | None) -> bool:
        """Return whether it was rung within `seconds`."""
        return self._event.wait(seconds)

    def ring(self) -> bool:
        """Wake who waits."""
        self._event.set()
        return True

    def look(self) -> None:
        """Nothing to do: a thread is not cut short."""


class _TaskBell:
    """What wakes one task, from whichever thread."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self.home, self._soon = _loop()

    async def wait(self) -> None:
        """Return when it is rung."""
        await self._event.wait()

    def ring(self) -> bool:
        """Wake who waits; return False if its loop is no more."""
        return self._have(self._event.set)

    def look(self) -> None:
        """Have the timers of its loop look at the clock."""
        self._have(timers.look)

    def _have(self, done: Callable[[], object]) -> bool:
        try:
            self._soon(done)
        except RuntimeError:
            return False
        return True


_Bell = _ThreadBell | _TaskBell


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    due: float
    bell: _Bell


def _due(waiter: _Waiter) -> float:
    return waiter.due


def _loop() -> tuple[object, Callable[[Callable[[], object]], object]]:
    """Return the loop of this task, and what calls a function in it from any thread."""
    try:
        task: asyncio.Task[Any] | None = asyncio.current_task()
    except RuntimeError:
        task = None
    if task is not None:
        loop = task.get_loop()
        return loop, loop.call_soon_threadsafe
    import trio  # noqa: PLC0415 - not needed where it is not what runs

    token = trio.lowlevel.current_trio_token()
    return token, token.run_sync_soon
