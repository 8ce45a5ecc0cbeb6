"""Quotas for all that an app serves."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from starlette.requests import HTTPConnection, Request

from server_kit.asgi import (
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    headers_of,
    local_path,
)
from server_kit.denial import deny
from server_kit.exchange import exchange_of
from server_kit.frameworks.ahead import endpoint_ahead
from server_kit.problems import answer_failure, log, send_problem
from server_kit.proxies import TrustedProxies, trust
from server_kit.ratelimit.enforcement import charge, note, refusal
from server_kit.ratelimit.events import Refused
from server_kit.ratelimit.fields import SWITCHING, names, with_fields
from server_kit.ratelimit.keys import route_key
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.plans import KeyFunc, Plan, Quotas, check_function, settled
from server_kit.ratelimit.quota import Charge, check_limit, check_window

Exempt: TypeAlias = Callable[[Any], bool | Awaitable[bool]]
"""Tells whether a request is neither counted nor refused."""

logger: Final = logging.getLogger("server_kit")

EXEMPT: Final = frozenset(
    {
        *("/health", "/healthz", "/livez", "/readyz", "/metrics"),
        *("/docs", "/redoc", "/openapi.json"),
    }
)
"""Paths that the middleware does not count unless told otherwise."""


_SECRETS: Final = range(16, 65)  # of BLAKE2b
_ANSWERS: Final = frozenset(
    {"http.response.start", "websocket.http.response.start", "websocket.accept"}
)


class RateLimitMiddleware:
    """Refuse clients that ask more often than they may, with a 429 problem.

    Clients are told apart by their address, IPv6 ones by its first 64 bits, unless
    `key_func` or `quotas` say otherwise. Every counted response says in headers where
    its client stands. Works inside and outside a wrapped app. Of a websocket the
    handshake counts; other protocols pass.

    The functions are called with the `Request`, of a websocket with its
    `HTTPConnection`, and may be async. What they raise is answered as what a handler
    raises.

    Args:
        app: What to protect.
        limiter: Who decides.
        default_limit: Requests that a client may make in a window.
        default_window: Seconds.
        exempt_paths: Paths, relative to the app, that are neither counted nor refused.
        key_func: Tells whose quota a request counts against, as text.
        quotas: Tell which quotas a request counts against instead, all or none: a
            function that returns a list of them, or None for the usual one; or such
            functions, each of one `Quota` or None, by the names that responses are to
            give them. No quota at all: there is no limit.
        exempt: Tells of other requests that are neither counted nor refused.
        per_route: Whether every route has quotas of its own, and what there is no route
            for another.
        shadow: Whether to count, and to tell `listeners`, and to leave all else as if
            there were no limit.
        trusted_proxies: Whom to believe about who the client is. None: as the wrapped
            app around it, or else nobody. What is further out decides.
        partition_keys: A secret of 16 to 64 bytes, the same in all processes, with
            which responses say whose quota it is they speak of (`pk`), and tell nobody
            who that is. None: they do not say.
        listeners: Called with a `Refused` for each quota that refuses. They must not
            block; what they raise is logged and changes nothing.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range.

    """

    def __init__(  # noqa: PLR0913 - what it may be told, each by its name
        self,
        app: ASGIApp,
        limiter: RateLimiter,
        default_limit: int = 100,
        default_window: float = 60,
        exempt_paths: Iterable[str] = EXEMPT,
        *,
        key_func: KeyFunc | None = None,
        quotas: Quotas | None = None,
        exempt: Exempt | None = None,
        per_route: bool = False,
        shadow: bool = False,
        trusted_proxies: TrustedProxies | None = None,
        partition_keys: bytes | None = None,
        listeners: Iterable[Callable[[Refused], object]] = (),
    ) -> None:
        _check("limiter", limiter, RateLimiter)
        check_limit("default_limit", default_limit)
        check_window("default_window", default_window)
        check_function("exempt", exempt)
        _check("per_route", per_route, bool)
        _check("shadow", shadow, bool)
        _check("trusted_proxies", trusted_proxies, TrustedProxies | None)
        _check_secret("partition_keys", partition_keys)
        self._app = app
        self._limiter = limiter
        self._plan = Plan(default_limit, default_window, key_func, quotas=quotas)
        self._exempt_paths = _paths("exempt_paths", exempt_paths)
        self._exempt = exempt
        self._per_route = per_route
        self._shadow = shadow
        self._trusted_proxies = trusted_proxies
        self._secret = partition_keys
        self._listeners = tuple(listeners)
        self._failed: list[object] = []
        for listener in self._listeners:
            check_function("listeners", listener, optional=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        exchange = exchange_of(scope)
        is_health = exchange is not None and exchange.is_health
        is_exempt = is_health or scope["type"] not in ("http", "websocket")
        if is_exempt or local_path(scope) in self._exempt_paths:
            await self._app(scope, receive, send)
            return
        trust(scope, self._trusted_proxies)
        try:
            charges = await self._charge(scope)
        except Exception as error:  # whatever a user's function raises is the answer
            if self._shadow:
                log(logging.ERROR, "its rate limits failed", scope, error)
                charges = []
            elif exchange is None and scope["type"] == "http":
                if await answer_failure(error, scope, send):
                    raise
                return
            else:
                raise
        if self._shadow:
            await self._app(scope, receive, send)
        elif any(one.is_refusal for one in charges):
            await _refuse(charges, scope, send)
        elif exchange is None and charges:
            await self._app(scope, receive, _telling(charges, send))
        else:
            await self._app(scope, receive, send)

    async def _charge(self, scope: Scope) -> list[Charge]:
        """Return what became of the quotas of a request; none, if it has none."""
        is_http = scope["type"] == "http"
        connection = Request(scope) if is_http else HTTPConnection(scope)
        if self._exempt is not None and await settled(self._exempt(connection)):
            return []
        prefix = f"route {route_key(self._app, scope)} " if self._per_route else ""
        asked = await self._plan.of(connection, prefix)
        if not asked:
            return []
        charges = await charge(self._limiter, asked, self._secret)
        if self._listeners and any(one.is_refusal for one in charges):
            self._tell(charges, scope)
        if not self._shadow:
            note(charges, scope)
        return charges

    def _tell(self, charges: list[Charge], scope: Scope) -> None:
        endpoint = endpoint_ahead(self._app, scope)
        route = None if endpoint is None else endpoint.template
        for policy, one in zip(names(charges), charges, strict=True):
            quota, decision = one.quota, one.decision
            if decision is None or decision.allowed:
                continue
            event = Refused(
                policy=policy,
                key=self._digest(quota.key),
                limit=quota.limit,
                window=quota.window,
                cost=quota.cost,
                retry_after=decision.retry_after,
                route=route,
                outage=decision.outage,
                shadow=self._shadow,
            )
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001 - the user's
                    self._complain(listener, error)

    def _digest(self, key: str) -> str:
        secret = b"" if self._secret is None else self._secret
        whose = key.encode(errors="surrogatepass")
        return blake2b(whose, digest_size=16, key=secret).hexdigest()

    def _complain(self, listener: object, error: Exception) -> None:
        if listener not in self._failed:
            self._failed.append(listener)
            what = "%r failed; this is not logged again"
            logger.error(what, listener, exc_info=error)


async def _refuse(charges: list[Charge], scope: Scope, send: Send) -> None:
    problem = refusal(charges, scope)
    if scope["type"] == "http":
        await send_problem(problem, scope, send)
    else:
        await deny(problem, scope, send)


def _telling(charges: list[Charge], send: Send) -> Send:
    """Return `send` with the fields of `charges` put on the response."""

    async def tell(message: Message) -> None:
        if message["type"] in _ANSWERS:
            status = message.get("status", SWITCHING)
            headers = headers_of(message)
            headers = with_fields(headers, charges, time.time(), status)
            message = {**message, "headers": headers}
        await send(message)

    return tell


def _check_secret(name: str, value: object) -> None:
    """Refuse what cannot be a secret, without showing it."""
    if value is None:
        return
    if not isinstance(value, bytes):
        raise TypeError(f"{name} must be bytes or None, got {type(value).__name__}")
    if len(value) not in _SECRETS:
        raise ValueError(f"{name} must be 16 to 64 bytes, got {len(value)}")


def _check(name: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        expected = getattr(kind, "__name__", kind)
        raise TypeError(f"{name} must be {expected}, got {value!r}")


def _paths(name: str, values: Iterable[object]) -> frozenset[object]:
    if isinstance(values, str):
        raise TypeError(f"{name} must be a collection of paths, got {values!r}")
    paths = frozenset(values)
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ValueError(f"{name} must be paths that begin with /, got {path!r}")
    return paths
