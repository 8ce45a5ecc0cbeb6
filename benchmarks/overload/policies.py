"""Who calls, and what the servers are wrapped with.

Every client is told what the scenario says, that a try is given up after a second, and
ours by when its call is of no use any more. All else is what each has as its default.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import Final

import httpx

import resilient_http
from benchmarks.overload.scenario import ATTEMPT_TIMEOUT, PATIENCE
from benchmarks.overload.service import Wrap
from benchmarks.overload.virtual import LoopClock
from resilient_http import Contract, Policy, State
from server_kit import Shedding, wrap
from server_kit.asgi import ASGIApp

Get = Callable[[], Awaitable[httpx.Response]]
"""One call of one client."""

Transport = httpx.AsyncBaseTransport
"""The way to the servers."""

_URL: Final = "http://shop.example"
_PATH: Final = "/orders"
_DEFAULT: Final = Policy()


def _unwrapped(app: ASGIApp) -> ASGIApp:
    return app


def _with_deadlines(app: ASGIApp) -> ASGIApp:
    return wrap(app)


def _with_shedding(app: ASGIApp) -> ASGIApp:
    return wrap(app, shedding=Shedding())


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A client, and the server that it calls."""

    name: str
    client: Callable[[Transport, Random], Get]
    around: Wrap = _unwrapped
    module: str | None = None
    """What has to be installed."""
    is_control: bool = False
    """Whether it must not come back, or what is simulated is no overload."""

    @property
    def is_installed(self) -> bool:
        """Whether it can take part."""
        return self.module is None or find_spec(self.module) is not None


def _plain(service: Transport) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=_URL, transport=service, timeout=ATTEMPT_TIMEOUT, trust_env=False
    )


def _httpx(service: Transport, _: Random) -> Get:
    return partial(_plain(service).get, _PATH)


def _loop(service: Transport, rng: Random) -> Get:
    """Retry as one writes it by hand: three times, after growing waits, jittered."""
    client = _plain(service)

    async def get() -> httpx.Response:
        for ceiling in (0.5, 1.0, 2.0):
            try:
                return (await client.get(_PATH)).raise_for_status()
            except httpx.HTTPError:
                await asyncio.sleep(rng.uniform(0, ceiling))
        return (await client.get(_PATH)).raise_for_status()

    return get


def _tenacity(service: Transport, _: Random) -> Get:
    tenacity = import_module("tenacity")
    client = _plain(service)

    async def get() -> httpx.Response:
        return (await client.get(_PATH)).raise_for_status()

    retrying: Callable[..., Awaitable[httpx.Response]] = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(4),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=30),
        retry=tenacity.retry_if_exception_type(httpx.HTTPError),
        reraise=True,
    )
    return partial(retrying, get)


def _httpx_retries(service: Transport, _: Random) -> Get:
    module = import_module("httpx_retries")
    return partial(_plain(module.RetryTransport(service)).get, _PATH)


def _ours(
    service: Transport, rng: Random, policy: Policy = _DEFAULT, *, shares: bool = True
) -> Get:
    policy = replace(policy, attempt_timeout=ATTEMPT_TIMEOUT, deadline=PATIENCE)
    client = resilient_http.AsyncClient(
        base_url=_URL,
        transport=service,
        timeout=ATTEMPT_TIMEOUT,
        trust_env=False,
        policy=policy,
        contract=Contract() if shares else None,
        state=State(clock=LoopClock(), rng=rng),
    )
    return partial(client.get, _PATH)


NONE: Final = Contender(name="httpx, no retries", client=_httpx)
LOOP: Final = Contender(name="a loop of three retries", client=_loop, is_control=True)
TENACITY: Final = Contender(
    name="tenacity", client=_tenacity, module="tenacity", is_control=True
)
HTTPX_RETRIES: Final = Contender(
    name="httpx-retries",
    client=_httpx_retries,
    module="httpx_retries",
    is_control=True,
)
BREAKER: Final = Contender(
    name="resilient_http, breaker alone",
    client=partial(_ours, policy=Policy(budget=None), shares=False),
)
BUDGET: Final = Contender(
    name="resilient_http, budget alone",
    client=partial(_ours, policy=Policy(breaker=None), shares=False),
)
CLIENT: Final = Contender(name="resilient_http", client=partial(_ours, shares=False))
DEADLINES: Final = Contender(
    name="resilient_http + server_kit, deadlines alone",
    client=_ours,
    around=_with_deadlines,
)
SHED: Final = Contender(
    name="tenacity + server_kit",
    client=_tenacity,
    around=_with_shedding,
    module="tenacity",
)
OURS: Final = Contender(
    name="resilient_http + server_kit", client=_ours, around=_with_shedding
)
CONTENDERS: Final = (
    *(NONE, TENACITY, HTTPX_RETRIES, BREAKER, BUDGET, CLIENT, DEADLINES, SHED, OURS),
)
