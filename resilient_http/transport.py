"""Transports that send through another under a policy."""

from collections.abc import Iterable
from typing import Any

import httpx

from resilient_http._hands.async_backend import quicken
from resilient_http._hands.driving import acarry_out, carry_out
from resilient_http._hands.places import settle, watch
from resilient_http._hands.rescuing import arescue, rescue
from resilient_http._hands.sync_backend import bind
from resilient_http.call import Call
from resilient_http.events import Listener
from resilient_http.family import HTTPX, Family
from resilient_http.hop import Hop
from resilient_http.policy import Policy
from resilient_http.problems import Contract
from resilient_http.settings import Settings
from resilient_http.state import State


class Transport:
    """What both transports do, in whichever family and colour."""

    _family: Family
    _loop: Any = None
    is_closed = False
    """Whether it was closed, and sends nothing any more."""
    _takes: str
    """The family's name for what may be inside."""
    _makes: str
    """The family's name for what is inside unless told otherwise."""

    def __init__(
        self,
        inner: Any = None,
        policy: Policy | None = None,
        *,
        contract: Contract | None = None,
        state: State | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        http = self._family.http
        if not isinstance(inner, getattr(http, self._takes) | None):
            raise TypeError(f"inner must be {self._takes} or None, got {inner!r}")
        self._inner = getattr(http, self._makes)() if inner is None else inner
        self._settings = Settings(
            policy=policy,
            contract=contract,
            state=state,
            family=self._family,
            listeners=listeners,
        )
        bind(self._inner, self._family)
        quicken(self._inner, self._family)
        watch(self)

    def transports(self) -> tuple[object, ...]:
        """Return what requests are sent through."""
        return (self._inner,)


class AsyncTransport(Transport):
    """What `AsyncResilientTransport` does, in whichever family."""

    _takes = "AsyncBaseTransport"
    _makes = "AsyncHTTPTransport"

    async def handle_async_request(self, request: Any) -> Any:
        """Send `request` as often as the policy allows; return the last answer."""
        call = Call(self._settings, request, streamed=True, sender=self)
        call.loop = settle(self)
        hop = Hop(call, request, self._family.http.AsyncByteStream)
        if call.policy.fallback is None:
            return await acarry_out(hop, self._send_once)
        return await arescue(hop, self._send_once)

    async def _send_once(self, request: Any) -> Any:
        response = await self._inner.handle_async_request(request)
        response.request = request
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        settle(self)
        self.is_closed = True
        await self._inner.aclose()


class SyncTransport(Transport):
    """What `ResilientTransport` does, in whichever family."""

    _takes = "BaseTransport"
    _makes = "HTTPTransport"

    def handle_request(self, request: Any) -> Any:
        """Send `request` as often as the policy allows; return the last answer."""
        call = Call(self._settings, request, streamed=True, sender=self)
        hop = Hop(call, request, self._family.http.SyncByteStream)
        if call.policy.fallback is None:
            return carry_out(hop, self._send_once)
        return rescue(hop, self._send_once)

    def _send_once(self, request: Any) -> Any:
        response = self._inner.handle_request(request)
        response.request = request
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self.is_closed = True
        self._inner.close()


class AsyncResilientTransport(AsyncTransport, httpx.AsyncBaseTransport):
    """Send through `inner` under a policy; for clients that are not ours.

    Each request that reaches it is a call of its own, and every response counts as
    streamed: its body is bounded by what the caller chose, and never read twice.

    Args:
        inner: Where requests go; None for an `httpx.AsyncHTTPTransport`. A client that
            is given a transport ignores its own `verify`, `http2`, `limits` and
            proxies: set them on `inner`, or use `resilient_http.wrap(client)`.
        policy: What to do when things go wrong; None for the defaults.
        contract: The problems to tell apart; None for the built-in ones.
        state: What is remembered between calls; None for one of its own.
        listeners: Called with each event of `resilient_http.events`.

    """

    _family = HTTPX


class ResilientTransport(SyncTransport, httpx.BaseTransport):
    """Send through `inner` under a policy; for clients that are not ours.

    See `AsyncResilientTransport`. A foreign `inner` is bounded between the chunks of a
    body only; httpx's own is bounded in every read and write.
    """

    _family = HTTPX
