"""How many requests may be in flight, as a machine that is told the time.

What a service can bear is not known, and changes. What is seen is how long requests
take, and by Little's law more in flight than are worked on only wait inside::

    in flight = throughput * latency

So the limit is brought down as latency is above what it should be, and up while it is
not and the limit is what holds requests back. What it should be is the mean latency of
calmer times, the `base`, and some slack. What is not used is given up again.

It is brought down in two ways, each followed by a look at what that did:

- In proportion, at the end of a span, when latency is above what is allowed.
- At once, when those in flight would take more than twice as long as allowed, at the
  rate at which answers come: a *crowd*. Latency is known when it is over, and then the
  callers have gone. As many as are left of it must have passed as the new limit has
  room for; the rate at which they did says what that is.

Latency may also rise for a reason that fewer requests do not mend: a slower dependency,
another mix of routes. Then a lower limit loses throughput and nothing else. It shows,
as latency stays, or as answers come more slowly: the cut is taken back, and the latency
becomes the new base.
"""

import math
from dataclasses import dataclass
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
_CROWD: Final = 2.0  # in what is allowed
_FEW: Final = 1 / 8  # of the limit are no crowd
_CHANCE: Final = 2.0  # standard deviations of what comes in a moment
_OVERDUE: Final = 2.0  # in what the crowd should take to pass
_DEVIATIONS: Final = 2.5  # by which too few answers are too few
_ENOUGH: Final = 200  # answers to tell in any case


@dataclass(slots=True)
class _Crowd:
    """More than can be served in time, and how fast they go."""

    limit: float
    """What the limit was."""
    size: int
    began: float
    due: float
    """When it should long have passed."""
    answers: int
    """Since it began."""
    passed: int = 0
    """Of those, how many since it was seen to be one."""
    total: float = 0.0
    """Of their latencies."""


@dataclass(slots=True)
class _Trial:
    """A limit that a crowd has left, and what it is compared with."""

    limit: float
    """What to go back to."""
    rate: float
    """Answers a second while the crowd passed."""
    crowd: int
    """Answers that the rate was seen by."""
    latency: float
    """Their mean."""
    share: float
    """In flight since, of those of the crowd."""
    began: float
    answers: int = 0
    samples: int = 0
    """Of those, how many were admitted since."""
    total: float = 0.0
    """Of the latencies of the samples."""


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
        self._crowd: _Crowd | None = None
        self._trial: _Trial | None = None
        self._moment = -math.inf
        """When it began, in which answers of whatever era are counted."""
        self._answers = 0
        self._slow = 0
        self._base = 0.0
        self.latency = 0.0
        """Mean of the last span, in seconds, or what a cut should have made of it; 0
        before the first has ended."""
        self.era = 0
        """The span between two cuts."""
        self._began = 0.0
        self._samples = self._busiest = 0
        self._total = 0.0

    @property
    def value(self) -> int:
        """The limit."""
        return int(self._value)

    @property
    def pace(self) -> float:
        """Seconds from one answer to the next, if the limit is reached; 0 unknown."""
        return self.latency / self._value

    def answered(
        self, seconds: float, era: int, in_flight: int, unanswered: int, now: float
    ) -> None:
        """Learn from one request.

        Args:
            seconds: How long it took, from its admission to its response.
            era: That in which it was admitted. What a cut found in flight tells of the
                limit before it.
            in_flight: How many there were, this one included.
            unanswered: How many of them had no response yet, this one included.
            now: When it was answered.

        """
        if self._crowd is not None:
            self._let_pass(self._crowd, seconds, in_flight, unanswered, now)
            return
        if self._is_crowd(seconds, unanswered, now):
            self._hold(in_flight, unanswered, now)
            return
        if self._trial is not None:
            self._try(self._trial, seconds, now, is_new=era == self.era)
            return
        if era != self.era:
            return
        if self._samples == 0:
            self._began = now
        self._samples += 1
        self._total += seconds
        self._busiest = max(self._busiest, in_flight)
        if now - self._began >= SPAN and self._samples >= SAMPLES:
            self._end_span()

    def look(self, now: float) -> None:
        """Take in that time has passed, where somebody wants to be admitted."""
        crowd = self._crowd
        if crowd is not None and now >= crowd.due:  # it does not move, whatever we do
            self._crowd = None
            self._value = crowd.limit

    @property
    def _allowed(self) -> float:
        """What latency may be."""
        tolerated = min(self._base * _TOLERANCE, self._slack * _MOST_SLACK)
        return self._base + max(self._slack, tolerated)

    def _is_crowd(self, seconds: float, unanswered: int, now: float) -> bool:
        """Tell whether those in flight are more than can be answered in time.

        They are if latency is rising, and so few answers came in the last moment, which
        is as long as latency may be, that chance does not explain it: if it was allowed
        for all of them, as many would come in a moment as there are.
        """
        length, moment = now - self._moment, self._allowed
        self._answers += 1
        self._slow += seconds > (self._base + moment) / 2
        if length < moment:
            return False
        answers = self._answers * moment / length
        spread = _CHANCE * math.sqrt(unanswered)
        is_crowd = (
            answers < min(unanswered / _CROWD, unanswered - spread)
            and unanswered >= self._value * _FEW
            and length < 2 * moment  # or nobody was there
            and self._slow > self._answers / 2
            and self.latency > 0
        )
        if not is_crowd:
            self._begin_moment(now)
        return is_crowd

    def _begin_moment(self, now: float) -> None:
        self._moment = now
        self._answers = 0
        self._slow = 0

    def _hold(self, in_flight: int, unanswered: int, now: float) -> None:
        began, answers = self._moment, self._answers
        self._begin_moment(now)
        rate = answers / (now - began)
        due = now + _OVERDUE * unanswered / rate
        limit = self._value if self._trial is None else self._trial.limit
        self._crowd = _Crowd(limit, unanswered, began, due, answers)
        self._trial = self._before_cut = None
        self._growth = _GROWTH
        self._fit(rate, in_flight - unanswered, limit)

    def _let_pass(
        self,
        crowd: _Crowd,
        seconds: float,
        in_flight: int,
        unanswered: int,
        now: float,
    ) -> None:
        crowd.answers += 1
        crowd.passed += 1
        crowd.total += seconds
        if in_flight > self._value:
            return
        self._crowd = None
        self._begin_moment(now)
        rate = crowd.answers / (now - crowd.began)
        held = in_flight - unanswered
        self._fit(rate, held, crowd.limit)
        share = max(0.0, self._value - held) / crowd.size
        if share < _DEEP:
            latency = crowd.total / crowd.passed
            self._trial = _Trial(crowd.limit, rate, crowd.answers, latency, share, now)

    def _fit(self, rate: float, held: int, most: float) -> None:
        """Let as many be in flight as are answered within what is allowed.

        Args:
            rate: Answers a second.
            held: Places of those that have been answered and are not over.
            most: What it was before.

        """
        fitting = held + rate * self._allowed
        self._value = max(self._least, min(fitting, most))
        self.latency = self._allowed
        self.era += 1
        self._samples = self._busiest = 0
        self._total = 0.0

    def _try(self, trial: _Trial, seconds: float, now: float, *, is_new: bool) -> None:
        """See whether the lower limit has cost throughput.

        If requests wait inside, as many are answered as before; if all are as slow as
        before, as few as there are in flight. In between is the geometric mean.
        """
        trial.answers += 1
        if is_new:
            trial.samples += 1
            trial.total += seconds
        if trial.samples == 0:
            return
        latency = trial.total / trial.samples
        if trial.samples >= SAMPLES and latency <= self._allowed:
            self._trial = None
            return
        expected = trial.rate * (now - trial.began)
        threshold = math.sqrt(trial.share)
        doubt = math.sqrt(1 / max(expected, 1) + 1 / trial.crowd)
        if 1 - threshold < _DEVIATIONS * doubt and expected < _ENOUGH:
            return
        self._trial = None
        has_cost = trial.answers < threshold * expected
        if has_cost and latency > max(self._allowed, _STAYED * trial.latency):
            self._value, self._base = trial.limit, latency

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
        allowed = self._allowed
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
        self.latency = latency * share
        self.era += 1
