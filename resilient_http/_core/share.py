"""How fast to call where others use the same quota, whom nobody knows of.

An answer says how much of the quota is left, and its policy how much there is in a
window: the difference is what all have taken. What is more than we took, others did::

    unpaced   --  little is left, and others took of it  -->  paced
    paced     --  for a window: half is left, or we are alone  -->  unpaced
    paced     --  a window after the reset: nothing more was told  -->  unpaced

Paced, our calls form a line that moves at a rate of its own. With each answer it goes

    up      while more is left than `_MARGIN` of the quota
    down    while less is
    down    by three tenths at a refusal, and not up for a window after it

and towards the usual share, the faster the farther it is from that. All who share the
quota are told of the same level, and so go up and down together; who has little goes up
the more, and so all come to equal shares, however many they are.
"""

import math
from collections import deque
from typing import Final

_MARGIN: Final = 0.09
"""Of the quota: what is to be left. A sliding window is used up to what is left of it,
and what comes between two looks at it has to fit in."""
_LITTLE: Final = 2 * _MARGIN
_PLENTY: Final = 0.5
_OTHERS: Final = 0.1
"""Of what was taken: others that take less are not seen."""

_INTEGRAL: Final = 0.16
_PROPORTIONAL: Final = 0.12
"""For a bucket: its level adds up what the rate is off by, and would swing for ever."""
_EQUALISING: Final = 0.16
_USUAL: Final = 0.05
"""Share that is drawn to neither side. As many as have it use up the margin exactly;
twice as many go a little into it, half as many leave a little more."""
_CUT: Final = 0.7

_SLICES: Final = 32
_LEARNING: Final = 1.0
"""Seconds, at most, in which those calls come home that nobody has counted."""
_CLOCK_NOISE: Final = 1e-6
_RESET_NOISE: Final = 1.5  # whole seconds, rounded by the server, and the way to us


Quota = tuple[float, float]
"""Units that a window holds, and its length in seconds."""


class Share:
    """Our part in a quota. Time may not go back from one call to the next.

    Until the first answers are home, and for a lone caller, it does nothing.
    """

    __slots__ = (
        *("_answered", "_gone", "_at", "_before", "_before_until", "_comes_back"),
        *("_cut_at", "_easy_since", "_gap", "_heard_at", "_held_until", "_last"),
        *("_learns_from", "_left", "_lowest", "_moved", "_quota", "_until"),
        *("_window", "rate"),
    )

    def __init__(self) -> None:
        self.rate = math.inf
        """Calls a second; infinity where nothing is paced."""
        self._gap = 0.0
        # The line: how many it has let go, until when, and the last place in it.
        self._moved = 0.0
        self._at = -math.inf
        self._last = 0.0
        self._held_until = -math.inf
        self._cut_at = -math.inf
        self._quota, self._window = 0.0, 0.0
        self._heard_at = self._until = -math.inf
        self._left = math.inf
        self._easy_since = math.inf
        self._comes_back = False
        """Whether the quota comes back bit by bit, before its reset."""
        self._lowest = _Lowest(1.0, 1.0, 0.0)
        self._gone = _Recent(1.0)
        self._answered = _Recent(1.0)
        # What was taken before we looked may all have been ours, and counts as that
        # until it is a window old.
        self._before = 0.0
        self._before_until = self._learns_from = -math.inf

    @property
    def is_paced(self) -> bool:
        """Whether calls wait in line."""
        return self._gap > 0

    # What is told.

    def hear(self, left: float, until: float, quota: Quota, now: float) -> None:
        """Take in an answer: `left` units of a quota, and its reset.

        Args:
            left: At least 0.
            until: When the reset is.
            quota: At least 1, in more than 0 seconds.
            now: When the answer came.

        """
        self._move(now)
        self._suit(*quota, now)
        self._answered.add(now)
        if left > self._left and now < self._until - _RESET_NOISE:
            self._comes_back = True
        self._left, self._until = left, until
        used = max(0.0, self._quota - left)
        if now < self._learns_from:
            self._before = max(self._before, used)
            return
        level = min(1.0, left / self._quota)
        mine = self._mine(now)
        is_shared = used - mine >= _OTHERS * used and level < _PLENTY
        if self.is_paced:
            self._lowest.note(level, now)
            self._steer(level, mine, now)
            self._leave_off(is_shared=is_shared, now=now)
        elif is_shared and level <= _LITTLE:
            self._lowest = _Lowest(self._window / 2, level, now)
            self._easy_since = math.inf
            self._moved = self._last  # whoever was in line has gone
            fair = (1 - _MARGIN) * self._quota / self._window
            self._set(self._answered.within(now) / used * fair, level)
        if left < 1 and until - now > _RESET_NOISE and not self._comes_back:
            self._held_until = max(self._held_until, until)
        self._heard_at = now

    def refuse(self, until: float, now: float) -> None:
        """Take in a refusal, that asks for silence until then."""
        self._move(now)
        self._held_until = max(self._held_until, until)
        # Those in flight together are refused together: that is one mistake, not ten.
        if self.is_paced and now >= self._cut_at + self._window:
            self._cut_at = now
            self._set(_CUT * self.rate, _MARGIN)

    def count(self, calls: int, now: float) -> None:
        """Take in calls that went, but for those that had a place in line."""
        if self._window:
            self._gone.add(now, calls)

    # The line.

    def wait(self, now: float) -> float:
        """Return how long the next one to come would wait, in seconds."""
        self._move(now)
        return self.wait_of(self._end(), now) if self.is_paced else 0.0

    def take(self, now: float) -> float | None:
        """Return a place at the end of the line; None if there is none."""
        self._move(now)
        if not self.is_paced:
            return None
        self._last = self._end()
        return self._last

    def wait_of(self, place: float, now: float) -> float:
        """Return how long a place has to wait yet, as the line moves now."""
        self._move(now)
        held = max(0.0, self._held_until - now)
        ahead = (place - self._moved) * self._gap
        return held + ahead if ahead > _CLOCK_NOISE else held

    def nap(self, wait: float) -> float:
        """Return when to look again: the line may move faster until then."""
        return wait if wait <= 2 * self._gap else wait / 2

    def _end(self) -> float:
        return max(self._last + 1, self._moved)

    def _move(self, now: float) -> None:
        """Let those go whose turn it has been, as the rate was until now."""
        if self.is_paced:
            since = max(self._at, self._held_until)
            self._moved += max(0.0, now - since) / self._gap
            if now > max(self._until, self._held_until) + self._window:
                self._stop()
        self._at = max(self._at, now)

    # The rate.

    def _steer(self, level: float, mine: float, now: float) -> None:
        """Move the rate, by as much as the time since the last answer allows."""
        limit = self._quota / self._window
        off = _off(self._lowest.level())
        drawn = _EQUALISING * math.log(_USUAL * limit / self.rate)
        # Those that have nearly nothing must not be drawn into a quota that is used up,
        # nor a few kept from one that is not.
        drawn *= 1 + off if drawn > 0 else 1 - off
        change = _INTEGRAL * off + drawn
        is_calm = now > self._held_until + self._window
        is_used = mine >= 0.5 * self.rate * self._window
        rate = self.rate
        if change < 0 or (is_calm and is_used):
            step = min(1.0, (now - self._heard_at) / self._window)
            rate *= math.exp(step * change)
        self._set(rate, level)

    def _set(self, rate: float, level: float) -> None:
        # No place in line is more than a window behind the one before it.
        least, most = 1 / self._window, self._quota / self._window
        self.rate = min(max(rate, least), most)
        pace = self.rate * math.exp(_PROPORTIONAL * _off(level))
        self._gap = 1 / max(pace, least)

    def _leave_off(self, *, is_shared: bool, now: float) -> None:
        if is_shared:
            self._easy_since = math.inf
        elif self._easy_since == math.inf:
            self._easy_since = now
        elif now - self._easy_since > self._window:
            self._stop()

    def _stop(self) -> None:
        self.rate, self._gap = math.inf, 0.0

    # Who took what.

    def _mine(self, now: float) -> float:
        """Return what we may have taken of what is gone, rather too much."""
        mine = self._answered.within(now)
        if not self.is_paced:
            # Many may be out at once, and be told of one another.
            mine = max(mine, self._gone.within(now))
        return mine + (self._before if now < self._before_until else 0.0)

    def _suit(self, quota: float, window: float, now: float) -> None:
        if window != self._window:
            self._begin(quota, window, now)
        elif quota != self._quota:
            grown = quota / self._quota
            self._quota, self._before = quota, self._before * grown
            if self.is_paced:
                self._set(self.rate * grown, _MARGIN)

    def _begin(self, quota: float, window: float, now: float) -> None:
        """Forget all but the line: it is another quota."""
        self._stop()
        self._quota, self._window = quota, window
        self._heard_at, self._until, self._left = now, now, math.inf
        self._comes_back = False
        self._gone, self._answered = _Recent(window), _Recent(window)
        self._before, self._before_until = 0.0, now + window
        self._learns_from = now + min(window, _LEARNING)


class _Recent:
    """How many there were in the last `span` seconds, or a little more."""

    __slots__ = ("_slices", "_total", "_width")

    def __init__(self, span: float) -> None:
        self._width = span / _SLICES
        self._slices: deque[list[float]] = deque()
        self._total = 0

    def add(self, now: float, count: int = 1) -> None:
        index = now // self._width
        if self._slices and self._slices[-1][0] == index:
            self._slices[-1][1] += count
        else:
            self._forget(index)
            self._slices.append([index, count])
        self._total += count

    def within(self, now: float) -> float:
        self._forget(now // self._width)
        return self._total

    def _forget(self, index: float) -> None:
        while self._slices and self._slices[0][0] < index - _SLICES:
            self._total -= int(self._slices.popleft()[1])


class _Lowest:
    """The lowest level of the last one or two `span` seconds.

    A quota that is used in bursts is full most of the time, and still used up.
    """

    __slots__ = ("_before", "_latest", "_since", "_span")

    def __init__(self, span: float, level: float, now: float) -> None:
        self._span = span
        self._latest = self._before = level
        self._since = now

    def note(self, level: float, now: float) -> None:
        passed = now - self._since
        if passed >= self._span:
            self._before = self._latest if passed < 2 * self._span else level
            self._latest, self._since = level, now
        self._latest = min(self._latest, level)

    def level(self) -> float:
        return min(self._latest, self._before)


def _off(level: float) -> float:
    """Return by how much more is left than should be: from -1 to 1."""
    return min(1.0, (level - _MARGIN) / _MARGIN)
