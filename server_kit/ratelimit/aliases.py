"""Ready-made quotas for the parameters of FastAPI endpoints.

Apart, as nothing else in the kit needs FastAPI.
"""

from typing import Annotated, TypeAlias

from fastapi import Depends

from server_kit.ratelimit.dependencies import per_user_rate_limit, rate_limit

RateLimited: TypeAlias = Annotated[None, Depends(rate_limit(limit=100, window=60))]
"""100 requests a minute, per client."""

StrictRateLimit: TypeAlias = Annotated[None, Depends(rate_limit(limit=10, window=60))]
"""10 requests a minute, per client."""

UserRateLimit: TypeAlias = Annotated[
    None, Depends(per_user_rate_limit(limit=50, window=60))
]
"""50 requests a minute, per user."""
