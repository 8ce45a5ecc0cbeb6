"""The other end: what an ASGI service owes to clients like resilient_http.

`RateLimited`, `StrictRateLimit` and `UserRateLimit` are imported when first asked for:
they need FastAPI, which is no dependency of the kit.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from server_kit.access_log import (
    AccessLog,
    Listener,
    RequestIdFilter,
    RequestServed,
    add_request_id,
)
from server_kit.deadlines import Deadlines, remaining
from server_kit.health import Health
from server_kit.idempotency import Idempotency
from server_kit.kit import wrap
from server_kit.openapi import raises
from server_kit.problems import (
    app_exception_handler,
    generic_exception_handler,
    pydantic_validation_exception_handler,
    validation_exception_handler,
)
from server_kit.proxies import TrustedProxies
from server_kit.ratelimit import (
    Decision,
    Lease,
    Quota,
    RateLimiter,
    RateLimitMiddleware,
    per_api_key_rate_limit,
    per_user_rate_limit,
    rate_limit,
)
from server_kit.security import SecurityHeaders, SecurityHeadersMiddleware, csp_nonce
from server_kit.shedding import Shedding

if TYPE_CHECKING:
    from server_kit.ratelimit import RateLimited, StrictRateLimit, UserRateLimit

__all__ = [
    "AccessLog",
    "Deadlines",
    "Decision",
    "Health",
    "Idempotency",
    "Lease",
    "Listener",
    "Quota",
    "RateLimitMiddleware",
    "RateLimiter",
    "RequestIdFilter",
    "RequestServed",
    "SecurityHeaders",
    "SecurityHeadersMiddleware",
    "Shedding",
    "TrustedProxies",
    "add_request_id",
    "app_exception_handler",
    "csp_nonce",
    "generic_exception_handler",
    "per_api_key_rate_limit",
    "per_user_rate_limit",
    "pydantic_validation_exception_handler",
    "raises",
    "rate_limit",
    "remaining",
    "validation_exception_handler",
    "wrap",
]
if find_spec("fastapi") is not None:  # or `import *` would fail without it
    __all__ += ["RateLimited", "StrictRateLimit", "UserRateLimit"]


def __getattr__(name: str) -> Any:
    if name not in ("RateLimited", "StrictRateLimit", "UserRateLimit"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from server_kit import ratelimit  # noqa: PLC0415 - see the docstring

    return getattr(ratelimit, name)
