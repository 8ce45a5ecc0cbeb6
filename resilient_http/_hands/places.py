"""Where connections may be used: in one process, and in one event loop.

A pool hands out whatever it has. A forked child would talk in the middle of its
parent's conversations, and a second `asyncio.run` through a loop that is closed. So
both start with none. Versions and transports that are not known are left as they are.
"""
# ruff: noqa: SLF001 - pools, and what their users have of ours, are private

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

from resilient_http._hands.pool import owners
from resilient_http.family import Family
from resilient_http.loops import running_loop


class User(Protocol):
    """A client or a transport, which sends through others."""

    _family: Family
    _loop: Any
    """Where it last sent from; None for no asyncio loop, or before it has."""

    def transports(self) -> Iterable[object]:
        """Return what it sends through."""


_users: WeakSet[User] = WeakSet()
_watching = threading.Lock()
_loops: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""The event loop of the connections in each pool."""


def watch(user: User) -> None:
    """Give `user` a fresh start in every forked child."""
    with _watching:
        _users.add(user)


def settle(user: User) -> Any:
    """Forget the connections of another event loop than this one, and return this one.

    They are not closed: that would take their own loop. None is for where asyncio runs
    no loop.
    """
    loop = running_loop()
    if loop is user._loop:
        return loop
    user._loop = loop
    with suppress(AttributeError):  # a version with other names than those we know
        for pool in _pools(user):
            # A pool may be shared by clients that come and go within one loop.
            if _loops.get(pool, loop) is not loop:
                pool._connections.clear()
            _loops[pool] = loop
    return loop


def _pools(user: User) -> Iterator[Any]:
    for transport in user.transports():
        for owner in owners(user._family, transport):
            yield owner._pool


def _start_over() -> None:
    _watching.release()
    for user in tuple(_users):
        with suppress(
            AttributeError
        ):  # likewise, and the others start over all the same
            for pool in _pools(user):
                lock = pool._optional_thread_lock
                pool._optional_thread_lock = type(lock)()  # its holder may not be here
                pool._connections.clear()
                pool._requests[:] = [r for r in pool._requests if not r.is_queued()]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_watching.acquire,
        after_in_parent=_watching.release,
        after_in_child=_start_over,
    )
