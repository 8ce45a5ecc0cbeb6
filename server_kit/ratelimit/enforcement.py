"""Asking about one request, and what a refusal is told."""

import math
import time

from resilient_http.problems import RateLimitException
from server_kit.asgi import Scope
from server_kit.exchange import exchange_of
from server_kit.ratelimit.fields import fields
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.quota import Decision, Quota


async def ask(limiter: RateLimiter, quota: Quota, scope: Scope) -> Decision:
    """Charge the request of `scope`, and note the decision for its response."""
    decision = await limiter.check_all([quota])
    exchange = exchange_of(scope)
    if exchange is not None:
        exchange.decisions.append(decision)
    return decision


def refusal(decision: Decision) -> RateLimitException:
    """Return the problem to answer a refused request with."""
    seconds = math.ceil(decision.retry_after)
    return RateLimitException(
        f"Rate limit exceeded. Retry after {seconds} seconds",
        retry_after=seconds,
        headers=fields(decision, time.time()),
        limit=decision.limit,
        remaining=decision.remaining,
    )
