"""How many requests may be in flight, as a machine that is told the time.

What a service can bear is not known, and changes. What is seen is how long requests
take, and by Little's law more in flight than are worked on only wait inside::

    in flight = throughput * latency

So the limit is brought down in proportion as latency is above what it should be, and up
while it is not and the limit is what holds requests back. What it should be is the
mean latency of calmer times, the `base`, and some slack. What is not used is given up
again.

Latency may also rise for a reason that fewer requests do not mend: a slower dependency,
another mix of routes. Then a lower limit loses throughput and nothing else. It shows,
as latency stays: the cut is taken back, and the latency becomes the new base.
"""

from typing import Final

SPAN: Final = 0.5
"""Seconds of a span at least; the limit is moved at the end of each."""

SAMPLES: Final = 20
"""Requests of a span at least."""

_TOLERANCE: Final = 0.5  # of the base: latencies vary without meaning anything,
_MOST_SLACK: Final = 2.0  # up to so many times the slack
_FIRST_GROWTH: Final = 2.0  # until the first cut, as TCP starts
_GROWTH: Final = 1.25
_LEAST_CUT: Final = 0.5
_DEEP: Final = 0.6  # a cut to this share of the limit must have shown in latency,
_STAYED: Final = 0.8  # and has not if this share of the latency is left
_FALL: Final = 0.5
_RISE: Final = 0.05
_DECAY: Final = 0.95


class AdaptiveLimit:
    """A limit between `least` and `most`.

    Args:
        start: What it begins with.
        least: What it never falls below.
        most: What it never grows beyond.
        slack: Seconds by which latency may be above the base.

    """

    def __init__(self, start: int, least: int, most: int, slack: float) -> None:
        self._value = self._start = float(start)
        self._least = float(least)
        self._most = float(most)
        self._slack = slack
        self._growth = _FIRST_GROWTH
        self._before_cut: tuple[float, float] | None = None
        self._base = 0.0
        self.latency = 0.0
        """Mean of the last span, in seconds; 0 before the first has ended."""
        self.era = 0
        """The span between two cuts."""
        self._began = 0.0
        self._samples = self._busiest = 0
        self._total = 0.0

    @property
    def value(self) -> int:
        """The limit."""
        return int(self._value)

    def answered(self, seconds: float, era: int, in_flight: int, now: float) -> None:
        """Learn from one request.

        Args:
            seconds: How long it took, from its admission to its response.
            era: That in which it was admitted. What a cut found in flight tells of the
                limit before it.
            in_flight: How many there were, this one included.
            now: When it was answered.

        """
        if era != self.era:
            return
        if self._samples == 0:
            self._began = now
        self._samples += 1
        self._total += seconds
        self._busiest = max(self._busiest, in_flight)
        if now - self._began >= SPAN and self._samples >= SAMPLES:
            self._end_span()

    def _end_span(self) -> None:
        latency = self._total / self._samples
        busiest = self._busiest
        self._samples = self._busiest = 0
        self._total = 0.0
        is_first = self.latency == 0
        self.latency = latency
        was_tried = busiest >= self._value / 2
        if is_first:
            self._base = latency
        elif latency < self._base:
            self._base += _FALL * (latency - self._base)
        elif not was_tried:
            # Only then: latency at the limit is what the limit makes it.
            self._base += _RISE * (latency - self._base)
        if was_tried:
            self._move(latency, is_binding=busiest >= self.value)
        elif self._value > self._start:
            # What was borne once may not be now, and it is soon found again.
            self._value = max(self._start, self._value * _DECAY)

    def _move(self, latency: float, *, is_binding: bool) -> None:
        tolerated = min(self._base * _TOLERANCE, self._slack * _MOST_SLACK)
        allowed = self._base + max(self._slack, tolerated)
        if latency > allowed:
            self._cut(latency, allowed)
            return
        self._before_cut = None
        if is_binding:
            grown = max(self._value + 1, self._value * self._growth)
            self._value = min(grown, self._most)

    def _cut(self, latency: float, allowed: float) -> None:
        self._growth = _GROWTH
        limit, before = self._before_cut or (self._value, latency)
        if self._value <= limit * _DEEP:
            if latency > before * _STAYED:
                self._value, self._base = limit, latency
                self._before_cut = None
                return
            limit, before = self._value, latency
        self._before_cut = limit, before
        share = max(_LEAST_CUT, allowed / latency)
        self._value = max(self._least, self._value * share)
        self.era += 1
