"""Who may ask how often: a limiter, a middleware, dependencies.

`RateLimited`, `StrictRateLimit` and `UserRateLimit` are imported when first asked for:
they need FastAPI, which is no dependency of the kit.
"""

from typing import TYPE_CHECKING, Any

from server_kit.ratelimit.dependencies import (
    RateLimitDependency,
    per_api_key_rate_limit,
    per_user_rate_limit,
    rate_limit,
)
from server_kit.ratelimit.events import RedisBack, RedisDown, Refused
from server_kit.ratelimit.keys import api_key_key, client_key, user_key
from server_kit.ratelimit.leases import Lease
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.middleware import RateLimitMiddleware
from server_kit.ratelimit.quota import Decision, Quota
from server_kit.ratelimit.reservation import Reservation

if TYPE_CHECKING:
    from server_kit.ratelimit.aliases import RateLimited as RateLimited
    from server_kit.ratelimit.aliases import StrictRateLimit as StrictRateLimit
    from server_kit.ratelimit.aliases import UserRateLimit as UserRateLimit

__all__ = [
    "Decision",
    "Lease",
    "Quota",
    "RateLimitDependency",
    "RateLimitMiddleware",
    "RateLimiter",
    "RedisBack",
    "RedisDown",
    "Refused",
    "Reservation",
    "api_key_key",
    "client_key",
    "per_api_key_rate_limit",
    "per_user_rate_limit",
    "rate_limit",
    "user_key",
]


def __getattr__(name: str) -> Any:
    if name not in ("RateLimited", "StrictRateLimit", "UserRateLimit"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from server_kit.ratelimit import aliases  # noqa: PLC0415 - see the docstring

    return getattr(aliases, name)
