"""Event loops whose time is a number: it passes when all tasks wait for it."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio
import trio.testing

Main: TypeAlias = Callable[[], Awaitable[Any]]


class VirtualLoop(asyncio.SelectorEventLoop):
    """One that waits for nobody outside: no sockets, no threads."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self._pass))

    def time(self) -> float:
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += seconds


class StillLoop(asyncio.SelectorEventLoop):
    """One that waits for sockets as long as it takes, and whose time stands still."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()

    def time(self) -> float:
        return self.now


class _Jumping(selectors.SelectSelector):
    def __init__(self, wait: Callable[[float], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "all tasks wait for something that never comes"
        self._wait(timeout)
        return super().select(0)


def run_on_asyncio(main: Main) -> None:
    async def done() -> None:
        await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(done())


def run_on_trio(main: Main) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
