"""One quota per client for all that an app serves."""

import time
from collections.abc import Iterable
from typing import Final

from server_kit.asgi import (
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    add_missing,
    headers_of,
    local_path,
)
from server_kit.exchange import exchange_of
from server_kit.problems import send_problem
from server_kit.proxies import TrustedProxies, trust
from server_kit.ratelimit.enforcement import ask, refusal
from server_kit.ratelimit.fields import fields
from server_kit.ratelimit.keys import client_key
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.quota import Decision, Quota, check_limit, check_window

EXEMPT: Final = frozenset(
    {
        *("/health", "/healthz", "/livez", "/readyz", "/metrics"),
        *("/docs", "/redoc", "/openapi.json"),
    }
)
"""Paths that the middleware does not count unless told otherwise."""


class RateLimitMiddleware:
    """Refuse clients that ask more often than they may, with a 429 problem.

    Clients are told apart by their address, IPv6 ones by its first 64 bits. Every
    counted response says in headers where its client stands. Works inside and outside a
    wrapped app; what is not HTTP passes.

    Args:
        app: What to protect.
        limiter: Who decides.
        default_limit: Requests that a client may make in a window.
        default_window: Seconds.
        exempt_paths: Paths, relative to the app, that are neither counted nor refused.
        trusted_proxies: Whom to believe about who the client is. None: as the wrapped
            app around it, or else nobody. What is further out decides.

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
        trusted_proxies: TrustedProxies | None = None,
    ) -> None:
        if not isinstance(limiter, RateLimiter):
            raise TypeError(f"limiter must be a RateLimiter, got {limiter!r}")
        check_limit("default_limit", default_limit)
        check_window("default_window", default_window)
        if not isinstance(trusted_proxies, TrustedProxies | None):
            raise TypeError(
                f"trusted_proxies must be TrustedProxies, got {trusted_proxies!r}"
            )
        self._app = app
        self._limiter = limiter
        self._limit = default_limit
        self._window = default_window
        self._exempt = _paths("exempt_paths", exempt_paths)
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        exchange = exchange_of(scope)
        is_health = exchange is not None and exchange.is_health
        is_exempt = is_health or scope["type"] != "http"
        if is_exempt or local_path(scope) in self._exempt:
            await self._app(scope, receive, send)
            return
        trust(scope, self._trusted_proxies)
        quota = Quota(client_key(scope), self._limit, self._window)
        decision = await ask(self._limiter, quota, scope)
        if not decision.allowed:
            await send_problem(refusal(decision), scope, send)
        elif exchange is None:
            await self._app(scope, receive, _telling(decision, send))
        else:
            await self._app(scope, receive, send)


def _telling(decision: Decision, send: Send) -> Send:
    """Return `send` with the fields of `decision` put on the response."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = [
                (name.lower().encode(), value.encode())
                for name, value in fields(decision, time.time()).items()
            ]
            message = {**message, "headers": add_missing(headers_of(message), ours)}
        await send(message)

    return tell


def _paths(name: str, values: Iterable[object]) -> frozenset[object]:
    if isinstance(values, str):
        raise TypeError(f"{name} must be a collection of paths, got {values!r}")
    paths = frozenset(values)
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ValueError(f"{name} must be paths that begin with /, got {path!r}")
    return paths
