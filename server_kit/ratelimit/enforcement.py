"""Asking about one request, and what a refusal is told."""

import math
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, TypeAlias

from resilient_http.problems import (
    AppException,
    OverloadedException,
    RateLimitException,
)
from server_kit.asgi import Scope
from server_kit.exchange import exchange_of
from server_kit.ratelimit.fields import POLICY, fields, names
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.quota import Charge, Quota
from server_kit.ratelimit.stores import tightest

Named: TypeAlias = tuple[str, Quota]
"""A quota, and what clients know it by."""

_PARTITION_BYTES: Final = 9  # and no padding in base64


async def charge(
    limiter: RateLimiter, asked: Sequence[Named], secret: bytes | None = None
) -> list[Charge]:
    """Charge a request to all of `asked`, at least one; or to none, if one refuses.

    A quota that stands there twice, as it is a user's and nobody is logged in, is
    charged once.

    Args:
        limiter: Who decides.
        asked: The quotas.
        secret: What makes of their keys what clients may know; None: nothing.

    """
    different: dict[tuple[str, int, float], Named] = {}
    for named in asked:
        quota = named[1]
        different.setdefault((quota.key, quota.limit, quota.window), named)
    decisions = await limiter.decide(quota for _, quota in different.values())
    return [
        Charge(name, quota, decision, _partition(quota.key, secret))
        for (name, quota), decision in zip(different.values(), decisions, strict=True)
    ]


def _partition(key: str, secret: bytes | None) -> bytes | None:
    if secret is None:
        return None
    whose = key.encode(errors="surrogatepass")
    return blake2b(whose, digest_size=_PARTITION_BYTES, key=secret).digest()


def note(charges: Sequence[Charge], scope: Scope) -> None:
    """Have the response of `scope`, if it is a wrapped app's, tell of `charges`."""
    exchange = exchange_of(scope)
    if exchange is not None:
        exchange.decisions.extend(charges)


def refusal(charges: Sequence[Charge], scope: Scope) -> AppException:
    """Return the problem to answer a refused request with.

    A 429; but a 503 where Redis is not to be had, and nobody is let through: what the
    caller has used is not known, and no fault of its own.
    """
    exchange = exchange_of(scope)
    # In a wrapped app the fields are put on whatever leaves it.
    headers = fields(charges, time.time()) if exchange is None else None
    decision = tightest(it.decision for it in charges)
    seconds = math.ceil(decision.retry_after)
    if decision.outage == "closed":
        return OverloadedException(
            "Rate limits cannot be looked up",
            retry_after=seconds,
            headers=headers,
        )
    return RateLimitException(
        f"Rate limit exceeded. Retry after {seconds} seconds",
        retry_after=seconds,
        headers=headers,
        extra=_violated(charges, scope),
        limit=decision.limit,
        remaining=decision.remaining,
    )


def _violated(charges: Sequence[Charge], scope: Scope) -> dict[str, list[str]]:
    """Return which policies refuse, where the response names more than the usual."""
    exchange = exchange_of(scope)
    noted = charges if exchange is None else exchange.decisions
    named = list(zip(names(noted), noted, strict=True))
    if [name for name, _ in named] == [POLICY]:
        return {}
    return {"violated-policies": [name for name, it in named if it.is_refusal]}
