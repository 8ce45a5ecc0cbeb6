"""Drop-ins for `httpx.AsyncClient` and `httpx.Client`.

Two seams, both tried against httpx's own tests: `send` opens the call, and
`_send_single_request` brings each of its hops home. Redirects, authentication, cookies,
event hooks, mounts and proxies stay httpx's own.
"""

from functools import cache
from typing import Any, Final, TypeVar

import anyio
import httpx

from resilient_http._sync_backend import bind
from resilient_http.call import Call, Hop, current
from resilient_http.policy import Policy
from resilient_http.problems import Contract
from resilient_http.settings import Settings
from resilient_http.state import State
from resilient_http.transport import acarry_out, carry_out

_Client = TypeVar("_Client", httpx.AsyncClient, httpx.Client)

_NET: Final = 0.05
"""Seconds after a deadline at which what is neither send nor wait is cut short: by then
a send has been given up by the timer that knows it for one."""


class AsyncClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` whose calls survive a bad day.

    Takes every argument of `httpx.AsyncClient`, and besides:

    Args:
        policy: What to do when things go wrong; None for the defaults. For one request:
            `extensions={"policy": Policy(...)}`, `extensions={"deadline": 2.0}` in
            seconds, `extensions={"idempotent": True}`.
        contract: The problems that the other end may answer with; None for the built-in
            ones alone.
        state: What is remembered between calls; None for one of its own. Share one
            where clients are made for each request.

    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        contract: Contract | None = None,
        state: State | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._settings = Settings(policy, contract, state, self.base_url)

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """Send a request: one call, with all its sends, redirects and waits."""
        self._set_timeout(request)
        call = Call(self._settings, request, streamed=stream)
        with call.carried(), anyio.CancelScope() as net:
            net.deadline = anyio.current_time() + call.chosen() + _NET
            return await super().send(request, stream=stream, **options)
        raise call.too_late(request)

    async def _send_single_request(self, request: httpx.Request) -> httpx.Response:
        hop = Hop(current(), request, httpx.AsyncByteStream)
        return await acarry_out(hop, super()._send_single_request)

    def snapshot(self) -> dict[str, Any]:
        """Return what is known of every origin, as plain data of this moment."""
        return self._settings.state.snapshot()


class Client(httpx.Client):
    """An `httpx.Client` whose calls survive a bad day. See `AsyncClient`."""

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        contract: Contract | None = None,
        state: State | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._settings = Settings(policy, contract, state, self.base_url)
        _bind_all(self)

    def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """Send a request: one call, with all its sends, redirects and waits."""
        self._set_timeout(request)
        call = Call(self._settings, request, streamed=stream)
        with call.carried():
            return super().send(request, stream=stream, **options)

    def _send_single_request(self, request: httpx.Request) -> httpx.Response:
        hop = Hop(current(), request, httpx.SyncByteStream)
        return carry_out(hop, super()._send_single_request)

    def snapshot(self) -> dict[str, Any]:
        """Return what is known of every origin, as plain data of this moment."""
        return self._settings.state.snapshot()


def wrap(
    client: _Client,
    policy: Policy | None = None,
    contract: Contract | None = None,
    state: State | None = None,
) -> _Client:
    """Make an existing client resilient, in place, and return it.

    Its transport, mounts, proxies, authentication, cookies and event hooks stay as they
    are. A client that is resilient already is returned unchanged.

    Raises:
        TypeError: It is not an httpx client.

    """
    given: Any = client
    if isinstance(given, AsyncClient | Client):
        return client
    if not isinstance(given, httpx.AsyncClient | httpx.Client):
        raise TypeError(f"wrap() takes an httpx client, got {given!r}")
    settings = Settings(policy, contract, state, client.base_url)
    vars(client)["_settings"] = settings
    cls: Any = type(client)
    client.__class__ = _resilient(cls)
    if isinstance(client, httpx.Client):
        _bind_all(client)
    return client


@cache
def _resilient(cls: Any) -> type[Any]:
    ours = AsyncClient if issubclass(cls, httpx.AsyncClient) else Client
    if cls in ours.__bases__:
        return ours
    return type(cls.__name__, (ours, cls), {})


def _bind_all(client: httpx.Client) -> None:
    routes = vars(client)
    for transport in (routes["_transport"], *routes["_mounts"].values()):
        bind(transport)
