"""Waiting for a slot that another call gives back, in whichever loop or thread."""

import asyncio
import math
import threading
from collections.abc import Callable
from contextlib import suppress

import anyio

from resilient_http._core.concurrency import Ticket
from resilient_http._hands.timers import timer
from resilient_http.hop import Hop


async def await_slot(hop: Hop, ticket: Ticket) -> None:
    """Wait until `ticket` has its slot, or the time of the call is over."""
    event = anyio.Event()
    hop.wake = _waker(event)
    if ticket.slot is None:  # else it was handed over before anybody could be woken
        with timer(hop.call.left):
            await event.wait()


def wait_for_slot(hop: Hop, ticket: Ticket) -> None:
    """Wait until `ticket` has its slot, or the time of the call is over."""
    event = threading.Event()
    hop.wake = event.set
    if ticket.slot is None:
        left = hop.call.left()
        event.wait(None if left == math.inf else min(left, threading.TIMEOUT_MAX))


def _waker(event: anyio.Event) -> Callable[[], object]:
    """Return what sets `event` in the loop it belongs to, from wherever it is called.

    A state is shared by threads, and each may run a loop of its own.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _trio_waker(event)

    def wake() -> None:
        # A loop that is closed has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)

    return wake


def _trio_waker(event: anyio.Event) -> Callable[[], object]:
    import trio  # noqa: PLC0415 - here only if it runs

    token = trio.lowlevel.current_trio_token()

    def wake() -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(event.set)

    return wake
