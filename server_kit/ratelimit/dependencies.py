"""Quotas for single endpoints, as FastAPI dependencies.

    @router.get("/search")
    async def search(_: Annotated[None, Depends(rate_limit(limit=5, window=60))]):
        ...

They need nothing of FastAPI themselves: in Starlette, `await` one with the request.
"""

from dataclasses import dataclass
from typing import Final

from starlette.requests import HTTPConnection

from server_kit.exchange import exchange_of
from server_kit.ratelimit.enforcement import charge, note, refusal
from server_kit.ratelimit.keys import api_key_key, endpoint_key, user_key
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.plans import CostFunc, KeyFunc, Plan, Quotas

_OF_THE_PROCESS: Final = RateLimiter()


# Compared by value: FastAPI runs a dependency that stands twice on one route only once.
@dataclass(frozen=True, slots=True)
class RateLimitDependency:
    """Refuse a request past its quotas; what `rate_limit` and its like return.

    Asks the limiter given to `server_kit.wrap`, else one in this process's memory.

    Raises:
        RateLimitException: When called, if a quota is used up.
        OverloadedException: When called, if Redis is not to be had, and the limiter is
            told to let nobody through then.

    """

    plan: Plan
    """What counts; every endpoint has quotas of its own."""

    async def __call__(self, request: HTTPConnection) -> None:
        """Charge `request`, which may be a websocket's."""
        asked = await self.plan.of(request, f"{endpoint_key(request.scope)} ")
        if not asked:
            return
        exchange = exchange_of(request.scope)
        limiter = None if exchange is None else exchange.limiter
        charges = await charge(_OF_THE_PROCESS if limiter is None else limiter, asked)
        note(charges, request.scope)
        if any(one.is_refusal for one in charges):
            raise refusal(charges, request.scope)


def rate_limit(
    limit: int,
    window: float,
    key_func: KeyFunc | None = None,
    *,
    cost: int | CostFunc = 1,
    quotas: Quotas | None = None,
) -> RateLimitDependency:
    """Return a dependency that lets each key through `limit` times in a window.

    The functions are called with the request, of a websocket with its `WebSocket`, and
    may be async.

    Args:
        limit: Units per key and endpoint.
        window: Seconds.
        key_func: Tells the key, as text. By default the client's address.
        cost: Units that a request takes, 0 to `limit`; or a function that tells.
        quotas: As of `RateLimitMiddleware`: tell which quotas there are instead.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range.

    """
    return RateLimitDependency(Plan(limit, window, key_func, cost, quotas))


def per_user_rate_limit(
    limit: int, window: float, *, cost: int | CostFunc = 1
) -> RateLimitDependency:
    """Return a dependency that lets each user through `limit` times in a window.

    The user is `request.state.user`, else `request.scope["user"]`, and must have been
    set before; requests without one count by the client's address.
    """
    return rate_limit(limit, window, user_key, cost=cost)


def per_api_key_rate_limit(
    limit: int, window: float, *, cost: int | CostFunc = 1
) -> RateLimitDependency:
    """Return a dependency that lets each `X-API-Key` through `limit` times in a window.

    Requests without one count by the client's address. Keys are not checked here: to
    stop those who make them up, limit clients as well.
    """
    return rate_limit(limit, window, api_key_key, cost=cost)
