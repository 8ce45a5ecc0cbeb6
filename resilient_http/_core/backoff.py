"""How long to wait before a retry."""

import math
from random import Random
from typing import Final

from resilient_http.policy import RetryConfig

_THROTTLED_BASE: Final = 1.0
_SPREAD: Final = 1.1
_MOST_DOUBLINGS: Final = 1_000  # past any ceiling, and within what a float can hold


def delay(
    config: RetryConfig,
    retry_number: int,
    rng: Random,
    *,
    throttled: bool = False,
    retry_after: float | None = None,
) -> float:
    """Draw the wait before retry `retry_number`, the first being 1.

    Full jitter, as in AWS's *Exponential Backoff and Jitter*: evenly from 0 to a
    ceiling that doubles and is capped before the draw. Capping afterwards would make
    every client that has failed often come back after the same `max_delay`.

    Args:
        config: Gives the first ceiling and the greatest.
        retry_number: How many retries there will have been with this one.
        rng: Where the draw comes from.
        throttled: The server asked for less traffic, so the first ceiling is at
            least 1 s; `max_delay` still holds.
        retry_after: Seconds the server asked for. The wait is then drawn from that to
            a tenth more: never sooner, and not all at once. 0 says only that there is
            no need to wait, and leaves the draw as it was.

    """
    if retry_after is not None and retry_after > 0:
        return rng.uniform(retry_after, _SPREAD * retry_after)
    base = max(config.base_delay, _THROTTLED_BASE) if throttled else config.base_delay
    doubled = base * math.exp2(min(retry_number - 1, _MOST_DOUBLINGS))
    return rng.uniform(0, min(config.max_delay, doubled))
