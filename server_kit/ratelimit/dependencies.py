"""Quotas for single endpoints, as FastAPI dependencies.

    @router.get("/search")
    async def search(_: Annotated[None, Depends(rate_limit(limit=5, window=60))]):
        ...

They need nothing of FastAPI themselves: in Starlette, `await` one with the request.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from starlette.requests import Request

from server_kit.exchange import exchange_of
from server_kit.ratelimit.enforcement import ask, refusal
from server_kit.ratelimit.keys import api_key_key, client_key, endpoint_key, user_key
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.quota import Quota, check_limit, check_window

KeyFunc: TypeAlias = Callable[[Request], str | Awaitable[str]]
"""Tells whose quota a request counts against."""

_OF_THE_PROCESS: Final = RateLimiter()


# Compared by value: FastAPI runs a dependency that stands twice on one route only once.
@dataclass(frozen=True, slots=True)
class RateLimitDependency:
    """Refuse a request past its quota; what `rate_limit` and its like return.

    Asks the limiter given to `server_kit.wrap`, else one in this process's memory.

    Raises:
        RateLimitException: When called, if the quota is used up.

    """

    limit: int
    """Requests that a window holds."""

    window: float
    """Seconds."""

    key_func: KeyFunc
    """Tells whose quota it is; every endpoint has one of its own."""

    def __post_init__(self) -> None:
        check_limit("limit", self.limit)
        check_window("window", self.window)
        if not callable(self.key_func):
            raise TypeError(f"key_func must be callable, got {self.key_func!r}")

    async def __call__(self, request: Request) -> None:
        """Charge `request`."""
        key = f"{endpoint_key(request.scope)} {await self._whose(request)}"
        exchange = exchange_of(request.scope)
        limiter = None if exchange is None else exchange.limiter
        decision = await ask(
            _OF_THE_PROCESS if limiter is None else limiter,
            Quota(key, self.limit, self.window),
            request.scope,
        )
        if not decision.allowed:
            raise refusal(decision)

    async def _whose(self, request: Request) -> str:
        key = self.key_func(request)
        if inspect.isawaitable(key):
            key = await key
        if not isinstance(key, str):
            # Written into a key, None would be one quota for all the world.
            raise TypeError(f"key_func must return a string, got {key!r}")
        return key


def rate_limit(
    limit: int, window: float, key_func: KeyFunc | None = None
) -> RateLimitDependency:
    """Return a dependency that lets each key through `limit` times in a window.

    Args:
        limit: Requests per key and endpoint.
        window: Seconds.
        key_func: Tells the key, as text; may be async. By default the client's address.

    """
    whose = _client if key_func is None else key_func
    return RateLimitDependency(limit, window, whose)


def per_user_rate_limit(limit: int, window: float) -> RateLimitDependency:
    """Return a dependency that lets each user through `limit` times in a window.

    The user is `request.state.user`, else `request.scope["user"]`, and must have been
    set before; requests without one count by the client's address.
    """
    return RateLimitDependency(limit, window, user_key)


def per_api_key_rate_limit(limit: int, window: float) -> RateLimitDependency:
    """Return a dependency that lets each `X-API-Key` through `limit` times in a window.

    Requests without one count by the client's address. Keys are not checked here: to
    stop those who make them up, limit clients as well.
    """
    return RateLimitDependency(limit, window, api_key_key)


def _client(request: Request) -> str:
    return client_key(request.scope)
