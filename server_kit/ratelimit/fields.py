"""A decision as response headers: the usual ones, and those of the IETF's draft.

The draft (draft-ietf-httpapi-ratelimit-headers-10) is not final; nothing else in the
kit knows how it looks on the wire.
"""

import math
from typing import Final

import http_sf
from http_sf.types import ParamsType

from server_kit.ratelimit.quota import Decision

POLICY: Final = "default"
"""The name by which `RateLimit` refers to `RateLimit-Policy`."""

_LARGEST: Final = 10**15 - 1  # RFC 9651, section 3.3.1


def fields(decision: Decision, wall: float) -> dict[str, str]:
    """Return the headers that tell a client where it stands.

    After a refusal the reset is when to try again, so that no header asks for another
    wait than Retry-After does; else it is when all units are there again.

    Args:
        decision: Of the tightest quota.
        wall: The time as Unix seconds.

    """
    after = decision.reset_after if decision.allowed else decision.retry_after
    policy: ParamsType = {"q": _whole(decision.limit), "w": _whole(decision.window)}
    left: ParamsType = {"r": _whole(decision.remaining), "t": _whole(after)}
    return {
        "X-RateLimit-Limit": str(decision.limit),
        "X-RateLimit-Remaining": str(decision.remaining),
        "X-RateLimit-Reset": str(_whole(wall + after)),
        "RateLimit-Policy": http_sf.ser([(POLICY, policy)]),
        "RateLimit": http_sf.ser([(POLICY, left)]),
    }


def _whole(number: float) -> int:
    return min(math.ceil(number), _LARGEST)
