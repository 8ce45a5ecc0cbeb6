"""asyncio's own loop, with two things in its hands changed: the time and the network.

Time is a number, which passes when all tasks wait for it. The same schedule gives the
same run, tick by tick, whatever addresses and hashes the process happens to have.
"""

import asyncio
import contextlib
import gc
import os
import random
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any, Final
from unittest import mock

from anyio._backends._asyncio import CancelScope

from incidents.network import here
from resilient_http._hands import timers

START: Final = 1_000.0
"""Seconds on the monotonic clock of a machine that has run for a while."""
WALL: Final = 1_800_000_000.0
"""Unix time then."""
TURN: Final = 1e-6
"""Seconds that a turn of the loop takes. Or who waits for less than a number can hold
would wait for ever."""
_MOST_TURNS: Final = 400_000
"""Turns of the loop after which a run goes round in circles."""


class EndlessError(Exception):
    """A run does not come to its end: all wait for nothing, or time stands still."""


class Loop(asyncio.SelectorEventLoop):
    """One that waits for nobody outside: no sockets, no threads.

    Args:
        connect: Opens a connection, as `create_connection` does.

    """

    def __init__(self, connect: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._now = START
        self._turns = 0
        self.stepped = 0.0
        """Seconds by which somebody has set the wall clock forward."""
        super().__init__(_Jumping(self._pass))
        self._connect = connect
        self._made = 0
        self.set_task_factory(self._numbered)
        # Looked at in the order of their addresses otherwise, of which no two runs
        # have the same.
        table = timers._table_of(self)
        table.timers = ordered = _InOrder()  # type: ignore[assignment] # all of it that is used
        table.discard = ordered.discard

    def time(self) -> float:
        """Return seconds on the monotonic clock."""
        return self._now

    def wall(self) -> float:
        """Return Unix time."""
        return WALL + self._now - START + self.stepped

    def leap(self, seconds: float) -> None:
        """Let time pass in which nothing runs: the machine was suspended."""
        self._now += seconds

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """Open a connection through the network that the loop was given."""
        return await self._connect(*args, **options)

    def _write_to_self(self) -> None:
        """Do nothing: no other thread has to be woken by it."""

    def _pass(self, seconds: float | None) -> None:
        self._turns += 1
        if seconds is None:
            raise EndlessError("all tasks wait for something that never comes")
        if self._turns > _MOST_TURNS:
            raise EndlessError(f"time stands still at {self._now:.6f}")
        self._now += max(TURN, seconds)

    def _numbered(
        self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any
    ) -> "asyncio.Task[Any]":
        self._made += 1
        task = _Task(work, loop=loop, **options)
        task.number = self._made
        context = options.get("context")
        task.home = here.get(None) if context is None else context.get(here)
        return task


class _Task(asyncio.Task[Any]):
    """One whose place in a set is the same in every run."""

    number = 0
    home: Any = None
    """The host that it is part of."""

    def __hash__(self) -> int:
        return self.number


class _Jumping(selectors.SelectSelector):
    def __init__(self, wait: Callable[[float | None], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        return []  # there is nobody outside


class _InOrder(dict[Any, None]):
    """A set that remembers in which order things came."""

    def add(self, thing: Any) -> None:
        self[thing] = None

    def discard(self, thing: Any) -> None:
        self.pop(thing, None)


def run(
    main: Callable[[], Coroutine[Any, Any, None]],
    connect: Callable[..., Coroutine[Any, Any, Any]],
    seed: int,
) -> None:
    """Run `main` to its end, in no time, with what is drawn drawn from `seed`.

    Raises:
        EndlessError: It has none.

    """
    with (
        _without_collector(),
        asyncio.Runner(loop_factory=lambda: Loop(connect)) as runner,
        _one_world(runner.get_loop(), seed),
    ):
        runner.run(main())


@contextlib.contextmanager
def _one_world(loop: Any, seed: int) -> Iterator[None]:
    """Have all that asks for the time, or for chance, get that of the run."""
    before = random.getstate()
    random.seed(seed)
    chance = Random(seed)
    with (
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "time", loop.wall),
        mock.patch.object(os, "urandom", chance.randbytes),
        mock.patch.object(CancelScope, "__hash__", _number_of),
    ):
        try:
            yield
        finally:
            random.setstate(before)


def _number_of(scope: Any) -> int:
    """Return what a scope is found by in a set: the same in every run."""
    return getattr(scope._host_task, "number", 0)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Have nothing end at a time that only the collector knows."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
