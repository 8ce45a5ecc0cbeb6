"""How long answers take, of late: what a hedge waits before it is sent.

The nearest-rank quantile of the latest samples, kept in order. Not the P2 estimate of
Jain and Chlamtac (1985), which needs five numbers instead of a few hundred but never
forgets: an hour of slow answers would go on deciding long after.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Final

MOST_SAMPLES: Final = 256
"""Samples kept; the oldest makes room."""

SPAN: Final = 300.0
"""Seconds after which a sample is forgotten."""

_LEAST_SAMPLES: Final = 20


class Latencies:
    """The latencies of the latest answers of one origin, and a quantile of them.

    Args:
        quantile: The share of samples that are no greater; between 0 and 1.

    """

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._warm_up = _warm_up(quantile)
        self._samples: deque[tuple[float, float]] = deque()
        self._ordered: list[float] = []

    def record(self, seconds: float, now: float) -> None:
        """Take in an answer that came at `now` and took `seconds`."""
        if len(self._samples) == MOST_SAMPLES:
            self._drop_oldest()
        self._samples.append((now, seconds))
        insort(self._ordered, seconds)

    def estimate(self, now: float) -> float | None:
        """Return the quantile in seconds; None while too few samples tell."""
        self._forget(now)
        count = len(self._ordered)
        if count < self._warm_up:
            return None
        return self._ordered[math.ceil(self._quantile * count) - 1]

    def _forget(self, now: float) -> None:
        while self._samples and self._samples[0][0] <= now - SPAN:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, seconds = self._samples.popleft()
        del self._ordered[bisect_left(self._ordered, seconds)]


def _warm_up(quantile: float) -> int:
    """Return how many samples it takes until one is expected above the quantile."""
    needed = 1 / (1 - quantile)
    return math.ceil(min(max(_LEAST_SAMPLES, needed), MOST_SAMPLES))
