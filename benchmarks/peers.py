"""The contenders: plain httpx, ours, the usual glue, and the libraries beside it.

Each is built as its own documentation has it, with its own defaults. What cannot be
had on this Python, or not for this family, says why.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from benchmarks.figures import BARE
from benchmarks.setting import Setting

T = TypeVar("T")

_BOTH: Final = frozenset({"httpx", "httpx2"})
_PLENTY: Final = 1_000_000
"""Calls a second: a limit that is asked, and never waited for."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One contender."""

    name: str
    build: Callable[[Setting], Any]
    """Returns a client: something with `get(url)`, and `aclose()` or `close()`."""
    modules: tuple[str, ...] = ()
    """What has to be installed."""
    families: frozenset[str] = _BOTH
    colours: frozenset[str] = frozenset({"async", "sync"})
    python: tuple[int, int] = (3, 11)
    """The oldest Python that its releases can be installed on."""

    def why_not(self, setting: Setting) -> str | None:
        """Return why it does not take part; None if it does."""
        if setting.family not in self.families:
            return f"has nothing for {setting.family}"
        if setting.colour not in self.colours:
            return f"is not {setting.colour}"
        if sys.version_info < self.python:
            needed = ".".join(map(str, self.python))
            return f"not installable on this Python: needs {needed}"
        missing = [name for name in self.modules if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None


def plain(setting: Setting) -> Any:
    """Return the client of the family itself."""
    client = getattr(setting.http, setting.client_name)
    return client(transport=setting.transport())


def ours(setting: Setting, **options: Any) -> Any:
    """Return our client, with the default policy."""
    modules = {"httpx": "resilient_http", "httpx2": "resilient_http.httpx2"}
    client = getattr(import_module(modules[setting.family]), setting.client_name)
    return client(transport=setting.transport(), **options)


class _Glue:
    """What a team writes around `client.get` from four libraries.

    Everything that can be made once is. The retrying itself cannot: it keeps the state
    of one call.
    """

    def __init__(self, setting: Setting) -> None:
        self._tenacity = tenacity = import_module("tenacity")
        self._client = plain(setting)
        self._limiter = import_module("aiolimiter").AsyncLimiter(_PLENTY, 1)
        self._breakers = import_module("purgatory").AsyncCircuitBreakerFactory(
            default_threshold=5, default_ttl=5
        )
        self._stop = tenacity.stop_after_attempt(3)
        self._wait = tenacity.wait_random_exponential(multiplier=0.05, max=5)
        self._retry = tenacity.retry_if_exception_type(setting.http.TransportError)

    async def get(self, url: str) -> Any:
        retrying = self._tenacity.AsyncRetrying(
            stop=self._stop, wait=self._wait, retry=self._retry, reraise=True
        )
        async with asyncio.timeout(30), self._limiter:
            async for attempt in retrying:
                with attempt:
                    async with await self._breakers.get_breaker("orders"):
                        response = await self._client.get(url)
        return response

    async def aclose(self) -> None:
        await self._client.aclose()


def _httpx_retries(setting: Setting) -> Any:
    transport = import_module("httpx_retries").RetryTransport(setting.transport())
    client = getattr(setting.http, setting.client_name)
    return client(transport=transport)


def _interlock(setting: Setting) -> Any:
    module = import_module(f"interlock.integrations.{setting.family}")
    prefix = "Async" if setting.colour == "async" else ""
    transport = getattr(module, f"{prefix}CircuitBreakerTransport")
    client = getattr(setting.http, setting.client_name)
    return client(transport=transport(setting.transport()))


def _clientwright(setting: Setting) -> Any:
    module = import_module("clientwright")
    build = module.build if setting.colour == "async" else module.build_sync
    client = build(setting.family, module.ClientConfig(service_name="orders"))
    client._transport._inner = setting.transport()  # noqa: SLF001 - it takes no other
    return client


OURS: Final = "resilient_http"
GLUE: Final = "glue"
WITH_AIOHTTP: Final = " + httpx-aiohttp"

PEERS: Final = (
    Peer(BARE, plain),
    Peer(OURS, ours),
    Peer(
        GLUE,
        _Glue,
        modules=("tenacity", "purgatory", "aiolimiter"),
        colours=frozenset({"async"}),
    ),
    Peer(
        "httpx-retries",
        _httpx_retries,
        modules=("httpx_retries",),
        families=frozenset({"httpx"}),
    ),
    Peer("interlock-cb", _interlock, modules=("interlock",)),
    Peer("clientwright", _clientwright, modules=("clientwright",), python=(3, 12)),
)
"""Who takes part, where nothing keeps it from that."""


def clients(setting: Setting) -> Mapping[str, Any]:
    """Return a new client of each contender that takes part in `setting`.

    Where httpx-aiohttp can go over the network, the bare client and ours are there with
    it inside, too.
    """
    taking_part = [peer for peer in PEERS if peer.why_not(setting) is None]
    built = {peer.name: peer.build(setting) for peer in taking_part}
    if setting == Setting("httpx", "async", "loopback"):
        faster = replace(setting, aiohttp=True)
        built |= {
            peer.name + WITH_AIOHTTP: peer.build(faster)
            for peer in taking_part
            if peer.name in (BARE, OURS)
        }
    return built


def installed(
    builders: Mapping[str, Callable[[], T]],
) -> tuple[dict[str, T], dict[str, str]]:
    """Return what could be built, and why the others could not."""
    built: dict[str, T] = {}
    reasons: dict[str, str] = {}
    for name, build in builders.items():
        try:
            built[name] = build()
        except ModuleNotFoundError as missing:
            reasons[name] = f"not installed: {missing.name}"
    return built, reasons


def left_out(setting: Setting) -> dict[str, str]:
    """Return who does not take part in `setting`, and why."""
    reasons = {peer.name: peer.why_not(setting) for peer in PEERS}
    return {name: reason for name, reason in reasons.items() if reason is not None}
