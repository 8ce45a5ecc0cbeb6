"""Cutting a request short: by the clock, or when somebody says so.

On asyncio the task is cancelled once, as by `asyncio.timeout`, so that what it awaits
to clean up is awaited; a cancel scope of anyio would cut that as well. On trio it is a
cancel scope, as everything there.
"""

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import anyio

from resilient_http.loops import running_loop


def now() -> float:
    """Return the time of the running loop, in seconds."""
    return clock()()


def clock() -> Callable[[], float]:
    """Return what gives the time of the running loop, in seconds."""
    loop = running_loop()
    return anyio.current_time if loop is None else loop.time


class Cut(Protocol):
    """A context manager around what may be cut short. It swallows the cut."""

    happened: bool
    """Whether what ran in it was cut short; known on leaving."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Stop."""

    def now(self) -> None:
        """Cut. To be called by another task than the one inside."""

    def lift(self) -> None:
        """Let go on for as long as it takes."""


def cut_after(seconds: float) -> Cut:
    """Return a cut for the task that asks; infinity leaves it to `Cut.now`."""
    loop = running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    if loop is None or task is None:
        return _ScopeCut(seconds)
    return _TaskCut(seconds, task, loop)


class _TaskCut:
    __slots__ = ("_cancelling", "_fired", "_handle", "_task", "happened")

    def __init__(
        self,
        seconds: float,
        task: "asyncio.Task[object]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._task = task
        self._fired = self.happened = False
        self._handle = None
        if seconds < math.inf:
            self._handle = loop.call_later(seconds, self.now)

    def __enter__(self) -> Self:
        self._cancelling = self._task.cancelling()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.lift()
        if not self._fired:
            return False
        # Whose cancellation it was is told apart as `asyncio.timeout` does it.
        is_only_ours = self._task.uncancel() <= self._cancelling
        was_cut = exc_type is not None and issubclass(exc_type, asyncio.CancelledError)
        self.happened = is_only_ours and was_cut
        return self.happened

    def now(self) -> None:
        if not self._fired:
            self._fired = True
            self._task.cancel()

    def lift(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _ScopeCut:
    def __init__(self, seconds: float) -> None:
        self._scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)
        self.happened = False

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        swallowed = self._scope.__exit__(exc_type, exc, traceback)
        self.happened = self._scope.cancelled_caught
        return bool(swallowed)

    def now(self) -> None:
        self._scope.cancel()

    def lift(self) -> None:
        self._scope.deadline = math.inf
