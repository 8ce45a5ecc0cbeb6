"""Which asyncio loop runs in this thread."""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any, Final
from weakref import ref


class _Last(threading.local):
    """What was found last in this thread: nearly always what is found next."""

    hook: Callable[[], Any] = staticmethod(lambda: None)
    loop: Callable[[], asyncio.AbstractEventLoop | None] = staticmethod(lambda: None)


_last: Final = _Last()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread; None where asyncio runs none.

    On Python 3.11 asyncio itself asks the kernel for the process first, each time. A
    loop that runs has hooked itself to asynchronous generators, and that is as good a
    sign of it: the hook is made anew for each run, and gone when it is over.
    """
    hook = sys.get_asyncgen_hooks().firstiter
    if hook is not None and hook is _last.hook():
        return _last.loop()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    if hook is not None:
        _last.hook, _last.loop = ref(hook), ref(loop)
    return loop
