"""What origins that share a contract with us are told beside the request.

Without a contract nobody said that the other end is ours, and nothing is added. What
the sender of a request set itself is left as it is.
"""

import math
from typing import Any, Final

from resilient_http.call import Call
from resilient_http.context import request_id, traceparent

ATTEMPT: Final = "X-Request-Attempt"
"""Which send of a call it is, from 1."""
TIMEOUT: Final = "X-Request-Timeout-Ms"
"""What is left of the call when it is sent, in whole milliseconds."""


def announce(call: Call, request: Any, *, ours: bool, attempt: int) -> None:
    """Write what the other end is told, or take off what another was told."""
    headers = request.headers
    if not ours:
        for name in call.announced:  # httpx carries headers over a redirect
            headers.pop(name, None)
        call.announced = frozenset()
        return
    told = {
        "X-Request-ID": request_id.get(),
        "traceparent": traceparent.get(),
        ATTEMPT: str(attempt),
        TIMEOUT: _milliseconds(call),
    }
    for name, value in told.items():
        if value is not None and (name in call.announced or name not in headers):
            headers[name] = value
            call.announced |= {name}


def _milliseconds(call: Call) -> str | None:
    left = call.left()
    if left == math.inf or not call.policy.propagate_deadline:
        return None
    return str(max(1, math.floor(left * 1000)))
