"""Drop-ins for `httpx.AsyncClient` and `httpx.Client`.

Two seams, both tried against httpx's own tests: `send` opens the call, and
`_send_single_request` brings each of its hops home. Redirects, authentication, cookies,
event hooks, mounts and proxies stay httpx's own; authentication is passed by where
there is none.
"""

import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from resilient_http._hands.async_backend import quicken
from resilient_http._hands.driving import acarry_out, carry_out
from resilient_http._hands.handing import lean_send
from resilient_http._hands.places import settle, watch
from resilient_http._hands.rescuing import arescue, rescue
from resilient_http._hands.sync_backend import bind
from resilient_http._hands.timers import timer
from resilient_http.call import Call, current
from resilient_http.events import Listener
from resilient_http.explain import Explanation, explain
from resilient_http.family import HTTPX, Family
from resilient_http.hop import Hop, copy_of
from resilient_http.policy import Policy
from resilient_http.problems import Contract
from resilient_http.response import news
from resilient_http.settings import Settings
from resilient_http.state import State

_Client = TypeVar("_Client", httpx.AsyncClient, httpx.Client)

_NET: Final = 0.05
"""Seconds after a deadline at which what is neither send nor wait is cut short: by then
a send has been given up by the timer that knows it for one."""


class Calls:
    """What both clients do besides what those of their family do."""

    _family: Family
    _settings: Settings
    _loop: Any = None

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        contract: Contract | None = None,
        state: State | None = None,
        listeners: Iterable[Listener] = (),
        routes: Mapping[str, Policy] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._settings = Settings(
            policy=policy,
            contract=contract,
            state=state,
            family=self._family,
            base_url=getattr(self, "base_url", None),
            listeners=listeners,
            routes=routes,
        )
        self._bind()

    def snapshot(self) -> dict[str, Any]:
        """Return what is known of every origin, as plain data of this moment."""
        return self._settings.state.snapshot()

    def explain(self, request: Any) -> Explanation:
        """Say what would be done with `request` now, and why. Nothing is sent."""
        http = self._family.http
        is_async = isinstance(self, http.AsyncClient)
        colour = http.AsyncByteStream if is_async else http.SyncByteStream
        sender: Any = self
        looked_at = copy_of(request, self._family)
        call = Call(self._settings, looked_at, streamed=False, sender=sender)
        return explain(Hop(call, looked_at, colour))

    if not TYPE_CHECKING:  # or their types would hide those of the family

        @property
        def cookies(self) -> Any:
            """Cookies to send with each request, and those that answers brought."""
            return self._cookies

        @cookies.setter
        def cookies(self, cookies: Any) -> None:
            vars(self)["_cookies"] = lean(
                self._family.http.Cookies(cookies), self._family
            )

    def _bind(self) -> None:
        """Prepare the transports: each backend is for those of one colour."""
        lean(vars(self)["_cookies"], self._family)
        for transport in self.transports():
            bind(transport, self._family)
            quicken(transport, self._family)
        family: Any = super()
        lean_send(family._send_single_request)  # reads a file, which no call waits for
        watch(self)

    def transports(self) -> tuple[object, ...]:
        """Return what requests are sent through."""
        transports = vars(self)
        return transports["_transport"], *transports["_mounts"].values()


class AsyncCalls(Calls):
    """What `AsyncClient` does, in whichever family."""

    if not TYPE_CHECKING:  # likewise

        async def send(
            self, request: Any, *, stream: bool = False, **options: Any
        ) -> Any:
            """Send a request: one call, with all its sends, redirects and waits."""
            family: Any = super()
            if "timeout" not in request.extensions:
                family._set_timeout(request)
            call = Call(self._settings, request, streamed=stream, sender=self)
            token = current.set(call)
            try:
                if call.limits.chosen == math.inf:  # nobody chose when it is to end
                    return await family.send(request, stream=stream, **options)
                with timer(lambda: call.chosen_left() + _NET):
                    return await family.send(request, stream=stream, **options)
            finally:
                current.reset(token)
            raise call.too_late(request)

        # No coroutines of their own, those that follow: they only hand on another's.

        def _send_handling_auth(self, request: Any, auth: Any, **options: Any) -> Any:
            if type(auth) is self._family.http.Auth:  # nothing, by way of generators
                return self._send_handling_redirects(request, **options)
            return super()._send_handling_auth(request, auth, **options)

        def _send_single_request(self, request: Any) -> Any:
            call = current.get()
            call.loop = settle(self)
            send = lean_send(super()._send_single_request)
            hop = Hop(call, request, self._family.http.AsyncByteStream)
            if call.policy.fallback is None:
                return acarry_out(hop, send)
            return arescue(hop, send)

    async def aclose(self) -> None:
        """Close the transports."""
        settle(self)
        family: Any = super()
        await family.aclose()


class SyncCalls(Calls):
    """What `Client` does, in whichever family."""

    if not TYPE_CHECKING:  # likewise

        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            """Send a request: one call, with all its sends, redirects and waits."""
            family: Any = super()
            if "timeout" not in request.extensions:
                family._set_timeout(request)
            call = Call(self._settings, request, streamed=stream, sender=self)
            token = current.set(call)
            try:
                return family.send(request, stream=stream, **options)
            finally:
                current.reset(token)

        def _send_handling_auth(self, request: Any, auth: Any, **options: Any) -> Any:
            if type(auth) is self._family.http.Auth:  # likewise
                return self._send_handling_redirects(request, **options)
            return super()._send_handling_auth(request, auth, **options)

        def _send_single_request(self, request: Any) -> Any:
            send = lean_send(super()._send_single_request)
            hop = Hop(current.get(), request, self._family.http.SyncByteStream)
            if hop.call.policy.fallback is None:
                return carry_out(hop, send)
            return rescue(hop, send)


class AsyncClient(AsyncCalls, httpx.AsyncClient):
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
        listeners: Called with each event of `resilient_http.events`.
        routes: Policies for parts of what is called, by URL or path: see
            `resilient_http.settings.Routes`.

    """

    _family = HTTPX


class Client(SyncCalls, httpx.Client):
    """An `httpx.Client` whose calls survive a bad day. See `AsyncClient`."""

    _family = HTTPX


def wrap(  # noqa: PLR0913 - what a client may be told, each by its name
    client: _Client,
    policy: Policy | None = None,
    contract: Contract | None = None,
    state: State | None = None,
    *,
    listeners: Iterable[Listener] = (),
    routes: Mapping[str, Policy] | None = None,
) -> _Client:
    """Make an existing client resilient, in place, and return it.

    Its transport, mounts, proxies, authentication, cookies and event hooks stay as they
    are. A client that is resilient already is returned unchanged.

    Raises:
        TypeError: It is not an httpx client.

    """
    wrapped: _Client = rewrap(
        client,
        (AsyncClient, Client),
        policy=policy,
        contract=contract,
        state=state,
        listeners=listeners,
        routes=routes,
    )
    return wrapped


def rewrap(
    client: Any,
    resilient: tuple[type[AsyncCalls], type[SyncCalls]],
    **told: Any,
) -> Any:
    """Make `client` one of the `resilient` classes, whichever fits.

    Args:
        client: Any client of their family.
        resilient: Ours, async and sync.
        told: What `Settings` takes besides.

    """
    if isinstance(client, resilient):
        return client
    family = resilient[0]._family
    plain = (family.http.AsyncClient, family.http.Client)
    fitting = [
        ours
        for ours, cls in zip(resilient, plain, strict=True)
        if isinstance(client, cls)
    ]
    if not fitting:
        name = family.http.__name__
        raise TypeError(f"wrap() takes an {name} client, got {client!r}")
    base_url = client.base_url
    vars(client)["_settings"] = Settings(family=family, base_url=base_url, **told)
    cls: Any = type(client)
    ours: Any = fitting[0]
    client.__class__ = _resilient(ours, cls)
    client._bind()
    return client


def lean(cookies: Any, family: Family) -> Any:
    """Have `cookies` look for news only in an answer that brings some.

    To look costs a third of a call: a urllib request is made of each httpx one.
    """
    if type(cookies) is family.http.Cookies:
        cookies.__class__ = _lean(family)
    return cookies


@cache
def _lean(family: Family) -> Any:
    class Cookies(family.http.Cookies):  # type: ignore[name-defined,misc]  # made here
        def extract_cookies(self, response: Any) -> None:
            if b"set-cookie" in news(response):
                super().extract_cookies(response)

        def __bool__(self) -> bool:
            # Without a look: each call asks, and nearly every jar is empty.
            return bool(self.jar._cookies) and super().__bool__()

    return Cookies


@cache
def _resilient(ours: Any, cls: Any) -> type[Any]:
    return ours if cls in ours.__bases__ else type(cls.__name__, (ours, cls), {})
