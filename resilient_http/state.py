"""What is remembered between calls: a breaker and some counts for each origin."""

import hashlib
import os
import secrets
import threading
import time
from collections import OrderedDict
from random import Random
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import anyio

from resilient_http._core.breaker import Mode
from resilient_http._core.origin import Origin
from resilient_http.policy import Policy

MOST_ORIGINS: Final = 1024
"""Origins remembered at once; the least recently used harmless one makes room."""


PORTS: Final = {"http": 80, "https": 443}
"""Where a URL that names no port leads."""
_CREDENTIALS: Final = ("authorization", "x-api-key")
_MODES: Final = {
    "open": Mode.FORCED_OPEN,
    "closed": Mode.FORCED_CLOSED,
    "metrics_only": Mode.METRICS_ONLY,
}


class Clock(Protocol):
    """Where the time comes from. A test's own makes it a number."""

    def now(self) -> float:
        """Return seconds on a monotonic clock."""

    def sleep(self, seconds: float) -> None:
        """Let time pass in this thread."""

    async def asleep(self, seconds: float) -> None:
        """Let time pass in this task."""


class SystemClock:
    """The machine's monotonic clock; steps of the wall clock do not reach it."""

    now = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        """Let time pass in this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let time pass in this task."""
        await anyio.sleep(seconds)


_states: "WeakKeyDictionary[State, bool]" = WeakKeyDictionary()
"""Every state, and whether its jitter is seeded by the system."""
_making = threading.Lock()
_held: list[Any] = []
"""Locks, while the process forks."""


class State:
    """Breakers and counts, by origin. Safe to share by clients, threads and loops.

    A forked child has a copy, which knows what its parent knew.

    Share one where clients are made for each request, or each would start without a
    memory. At most 1,024 origins are remembered.

    Args:
        clock: Where the time comes from; None for the machine's monotonic clock.
        rng: Where jitter comes from; None for one seeded by the system.

    """

    def __init__(
        self, *, clock: Clock | None = None, rng: Random | None = None
    ) -> None:
        self.clock: Clock = SystemClock() if clock is None else clock
        self.rng = Random() if rng is None else rng  # noqa: S311 - jitter, not secrets
        self.lock = threading.RLock()
        """Held for a step of a decision, never across I/O."""
        self._origins: OrderedDict[str, Origin] = OrderedDict()
        self._forced: dict[str, Mode] = {}
        self._salt = secrets.token_bytes(16)
        with _making:
            _states[self] = rng is None

    def origin(self, key: str, policy: Policy) -> Origin:
        """Return what is known of an origin, with the machines that `policy` asks for.

        To be called with the lock held, as all that is done with what it returns.
        """
        origins = self._origins
        found = origins.get(key)
        if found is None:
            found = Origin()
            if self._make_room():
                origins[key] = found
        else:
            origins.move_to_end(key)
        if found.made_for is not policy:
            found.equip(policy, self.rng)
        if self._forced:
            self._force(key, found)
        return found

    def peek(self, key: str, policy: Policy) -> Origin:
        """Return what `origin` would, and remember nothing new; with the lock held."""
        known = self._origins.get(key)
        if known is None:
            known = Origin()
            known.equip(policy, self.rng)
            self._force(key, known)
        return known

    def force(
        self,
        origin: str,
        mode: Literal["open", "closed", "metrics_only"] | None,
    ) -> None:
        """Decide for the breaker of an origin, from now on; seen by every client.

        Args:
            origin: Its URL; scheme, host and port count.
            mode: `"open"`: nothing is sent. `"closed"`: everything is, and nothing is
                counted. `"metrics_only"`: everything is, and the breaker counts and
                moves as ever. None: it decides again.

        Raises:
            ValueError: `origin` is no URL of a server, or `mode` none of these.

        """
        if mode is not None and mode not in _MODES:
            message = " or ".join([*map(repr, _MODES), "None"])
            raise ValueError(f"mode must be {message}, got {mode!r}")
        key = _key(origin)
        forced = None if mode is None else _MODES[mode]
        with self.lock:
            self._forced.pop(key, None)
            if forced is not None:
                self._forced[key] = forced
            known = self._origins.get(key)
            if known is not None and known.breaker is not None:
                known.breaker.force(forced)

    def partition(self, headers: Any) -> bytes:
        """Return what stands for the credential in `headers`, which it does not show.

        What a server announces is meant for whom it was told, and nobody else is to be
        slowed down by it.
        """
        secret = hashlib.blake2b(key=self._salt, digest_size=16)
        for name in _CREDENTIALS:
            for value in headers.get_list(name):
                secret.update(f"{name}={value};".encode())
        return secret.digest()

    def snapshot(self) -> dict[str, Any]:
        """Return what is known of every origin, as plain data of this moment."""
        now = self.clock.now()
        with self.lock:
            origins = self._origins.items()
            return {"origins": {key: known.snapshot(now) for key, known in origins}}

    def _force(self, key: str, known: Origin) -> None:
        if known.breaker is not None and key in self._forced:
            known.breaker.force(self._forced[key])

    def _make_room(self) -> bool:
        """Return whether there is a place for one more origin."""
        if len(self._origins) < MOST_ORIGINS:
            return True
        now = self.clock.now()
        # An open breaker is what this memory is for. If every place holds trouble, the
        # newcomer is not remembered.
        harmless = (k for k, known in self._origins.items() if known.is_harmless(now))
        gone = next(harmless, None)
        if gone is not None:
            del self._origins[gone]
        return gone is not None


def _key(origin: str) -> str:
    try:
        url = urlsplit(origin)
        port = url.port or PORTS[url.scheme]
    except (ValueError, KeyError):
        url, port = urlsplit(""), 0
    if not url.hostname:
        raise ValueError(f"origin must be an http or https URL, got {origin!r}")
    return f"{url.scheme}://{url.hostname}:{port}"


def _hold_still() -> None:
    # A child has no other threads: a lock that one of them holds would never be free,
    # and the step that it guards never be whole.
    _making.acquire()
    _held.extend(state.lock for state in _states)
    for lock in _held:
        lock.acquire()


def _go_on() -> None:
    for lock in _held:
        lock.release()
    _held.clear()
    _making.release()


def _differ() -> None:
    _go_on()
    for state, is_random in _states.items():
        if is_random:
            state.rng.seed()  # or parent and children would wait in step


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_hold_still, after_in_parent=_go_on, after_in_child=_differ
    )
