"""A loop whose time is a number: it passes when all tasks wait for it.

It is asyncio's, since httpx-retries can wait on no other, and since its tasks run in
the order in which they became ready: the same seed gives the same run. trio draws that
order anew each time.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Loop(asyncio.SelectorEventLoop):
    """One that waits for nobody outside: no sockets, no threads."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self._pass))

    def time(self) -> float:
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, wait: Callable[[float], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("all tasks wait for something that never comes")
        self._wait(timeout)
        return []  # there is nobody outside


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, in no time, from the time 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(main)


class LoopClock:
    """The time of the running loop, for `resilient_http.State`."""

    def __init__(self) -> None:
        self.now = asyncio.get_running_loop().time

    def sleep(self, seconds: float) -> None:
        """Stop the loop, which nobody may."""
        raise NotImplementedError

    async def asleep(self, seconds: float) -> None:
        """Let time pass in this task."""
        await asyncio.sleep(seconds)
