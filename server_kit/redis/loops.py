"""What belongs to one event loop each, as connections do."""

import asyncio
from typing import Generic, TypeVar

from resilient_http.loops import running_loop

_T = TypeVar("_T")


class ByLoop(Generic[_T]):
    """One of something for each event loop of asyncio."""

    def __init__(self) -> None:
        self._all: dict[asyncio.AbstractEventLoop | None, _T] = {}

    def here(self) -> _T | None:
        """Return that of the running loop, if there is one."""
        return self._all.get(running_loop())

    def put(self, value: _T) -> _T:
        """Make `value` that of the running loop, and return it."""
        # A value may refer to its loop: no weak table would ever let go of it.
        for loop in [it for it in self._all if it is None or it.is_closed()]:
            del self._all[loop]
        self._all[running_loop()] = value
        return value

    def pop(self) -> _T | None:
        """Forget that of the running loop, and return it."""
        return self._all.pop(running_loop(), None)
