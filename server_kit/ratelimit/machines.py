"""How a quota runs out and comes back, as machines that are told the time.

Nothing here reads a clock or locks. A machine holds what one key has used of one quota.
Asking how long to `wait` takes nothing, `charge` does: so several quotas can be asked
first, and then all be charged or none.

Time is in whole microseconds, on any clock, and units are whole: the scripts that do
the same in Redis (`stores/*.lua`) come to the same numbers. Should the clock step back,
nobody is locked out for longer than a window.
"""

from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

SLICES: Final = 10
"""A sliding window forgets a tenth of its limit, or of its length, at a time."""

Algorithm: TypeAlias = Literal["sliding_window", "token_bucket"]


class Level(Protocol):
    """How much of a quota has been charged, and when that comes back.

    Who asks about a time calls `forward` to it before.
    """

    taken: int
    """Units that are taken."""

    def forward(self, now: int) -> None:
        """Let all come back that is back by `now`."""

    def until(self, most: int, now: int) -> int:
        """Return in how many microseconds no more than `most` will be taken."""

    def reset(self, now: int) -> int:
        """Return in how many microseconds none will be taken."""

    def charge(self, cost: int, now: int) -> None:
        """Take `cost` units, whether they are there or not."""

    def give_back(self, cost: int) -> None:
        """Undo the latest charges, as far as `cost` units or as there are any."""

    def copy(self) -> "Level":
        """Return one that goes on by itself."""


class SlidingWindow:
    """At most `limit` units in a window that moves with the clock.

    Charges are counted in slices. A slice begins with a charge, and takes in those that
    follow until it holds a tenth of the limit or is a tenth of the window old. One
    window after its first charge it is forgotten as a whole. Therefore

    - nothing comes back before the first charge is a window old, and a wait is never
      longer than the window;
    - no window, however placed, holds more than 1.1 times the limit: charges that are
      younger than a window but forgotten all belong to one slice, and a slice of more
      than one charge holds a tenth of the limit at most;
    - there are fewer than 30 slices: two neighbours hold more than a tenth of the limit
      together, or began a tenth of the window apart.

    Two weighted counters, the usual way, let nearly twice the limit through when its
    use is uneven; slices on a fixed grid, when it falls on the edge of one.
    """

    __slots__ = ("_limit", "_slices", "_tenth", "_window", "taken")

    def __init__(self, limit: int, window: int) -> None:
        self._limit = limit
        self._window = window
        self._tenth = limit // SLICES
        # Pairs of when it began and what it holds, the oldest first.
        self._slices: list[list[int]] = []
        self.taken = 0

    def forward(self, now: int) -> None:
        """Let all come back that is back by `now`."""
        slices = self._slices
        if not slices:
            return
        if slices[-1][0] > now:  # the clock was set back
            for pair in slices:
                pair[0] = min(pair[0], now)
        forgotten = now - self._window
        while slices and slices[0][0] <= forgotten:
            self.taken -= slices.pop(0)[1]

    def until(self, most: int, now: int) -> int:
        """Return in how many microseconds no more than `most` will be taken."""
        too_many = self.taken - most
        left = 0
        for since, units in self._slices:
            if too_many <= 0:
                break
            too_many -= units
            left = since + self._window - now
        return left

    def reset(self, now: int) -> int:
        """Return in how many microseconds none will be taken."""
        return self._slices[-1][0] + self._window - now if self._slices else 0

    def charge(self, cost: int, now: int) -> None:
        """Take `cost` units, whether they are there or not."""
        if cost == 0:
            return
        slices = self._slices
        newest = slices[-1] if slices else None
        if newest is not None and (
            (now - newest[0]) * SLICES < self._window
            and newest[1] + cost <= self._tenth
        ):
            newest[1] += cost
        elif self.taken > self._limit:
            # By what turned out to cost more: memory is bounded all the same.
            slices[-1] = [now, slices[-1][1] + cost]
        else:
            slices.append([now, cost])
        self.taken += cost

    def give_back(self, cost: int) -> None:
        """Undo the latest charges, as far as `cost` units or as there are any."""
        left = min(cost, self.taken)
        self.taken -= left
        slices = self._slices
        while left:
            undone = min(left, slices[-1][1])
            slices[-1][1] -= undone
            left -= undone
            if slices[-1][1] == 0:
                slices.pop()

    def copy(self) -> "SlidingWindow":
        """Return one that goes on by itself."""
        twin = SlidingWindow(self._limit, self._window)
        twin._slices = [pair.copy() for pair in self._slices]
        twin.taken = self.taken
        return twin


class TokenBucket:
    """A burst of `limit` units at most, coming back evenly over the window.

    The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"), told by the
    units taken since it was last full: adding up times would add up their rounding, and
    cost a caller the end of a burst. A window that begins with a burst may see nearly
    twice the limit. What is charged beyond the limit is forgiven. A unit that is not
    back yet counts whole.
    """

    __slots__ = ("_limit", "_since", "_units", "_window", "taken")

    def __init__(self, limit: int, window: int) -> None:
        self._limit = limit
        self._window = window
        self._since = 0
        self._units = 0
        self.taken = 0

    def forward(self, now: int) -> None:
        """Let all come back that is back by `now`."""
        if self._units == 0:
            return
        passed = now - self._since
        if passed < 0:  # the clock was set back
            self._since, passed = now, 0
            self._units = min(self._units, self._limit)
        elif passed >= self._window:
            # By whole windows, so that nothing is rounded.
            windows = passed // self._window
            self._since += windows * self._window
            self._units = max(0, self._units - windows * self._limit)
            passed -= windows * self._window
        self.taken = self._units - passed * self._limit // self._window
        if self.taken > self._limit:  # the clock shows again what it has shown before
            self._units -= self.taken - self._limit
            self.taken = self._limit
        elif self.taken <= 0:
            self._units = self.taken = 0

    def until(self, most: int, now: int) -> int:
        """Return in how many microseconds no more than `most` will be taken."""
        if self.taken <= most:
            return 0
        returned = -((most - self._units) * self._window // self._limit)
        return self._since + returned - now

    def reset(self, now: int) -> int:
        """Return in how many microseconds none will be taken."""
        return self.until(0, now)

    def charge(self, cost: int, now: int) -> None:
        """Take `cost` units, whether they are there or not."""
        if self.taken == 0:
            self._since, self._units = now, 0
        charged = min(cost, self._limit - self.taken)
        self._units += charged
        self.taken += charged

    def give_back(self, cost: int) -> None:
        """Undo the latest charges, as far as `cost` units or as there are any."""
        undone = min(cost, self.taken)
        self._units -= undone
        self.taken -= undone

    def copy(self) -> "TokenBucket":
        """Return one that goes on by itself."""
        twin = TokenBucket(self._limit, self._window)
        twin._since, twin._units, twin.taken = self._since, self._units, self.taken
        return twin


LEVELS: Final[dict[Algorithm, type[SlidingWindow] | type[TokenBucket]]] = {
    "sliding_window": SlidingWindow,
    "token_bucket": TokenBucket,
}
"""The algorithms by their names."""


class Hold(NamedTuple):
    """Units that are set aside for whoever will say what they came to."""

    units: int
    expires: int
    """When they are no longer set aside."""

    is_used: bool
    """Whether they count as used then, or else come back."""


_NONE: Final[dict[str, Hold]] = {}  # nearly no account ever has one


class Account:
    """What one key has used of one quota, and what is set aside of it.

    Not safe from threads. What is set aside takes up room until it is settled or
    expires; only then is it charged, so that it is remembered for a window after the
    last of it can have been used. Who asks about a time calls `forward` to it before.
    """

    __slots__ = ("_held", "_holds", "_level", "_limit", "_window")

    def __init__(self, algorithm: Algorithm, limit: int, window: int) -> None:
        self._limit = limit
        self._window = window
        self._level: Level = LEVELS[algorithm](limit, window)
        self._holds = _NONE
        self._held = 0

    @property
    def used(self) -> int:
        """How many units are not there: at times more than the limit."""
        return self._level.taken + self._held

    def forward(self, now: int) -> None:
        """Let all come back that is back by `now`."""
        if self._holds:
            self._expire(now)
        self._level.forward(now)

    def wait(self, cost: int, now: int) -> int:
        """Return in how many microseconds `cost` units will be there; 0 if they are.

        Waiting exactly so long is always enough, if nobody else takes them.
        """
        most = self._limit - cost
        if cost == 0 or self._level.taken + self._held <= most:
            return 0
        return (
            self._level.until(most, now) if not self._holds else self._until(most, now)
        )

    def charge(self, cost: int, now: int) -> None:
        """Take `cost` units."""
        self._level.charge(cost, now)

    def reset(self, now: int) -> int:
        """Return in how many microseconds all units will be there, at the latest."""
        latest = self._level.reset(now)
        if self._holds:
            for hold in self._holds.values():
                latest = max(latest, hold.expires + hold.is_used * self._window - now)
        return latest

    def refund(self, cost: int) -> None:
        """Undo the latest charges, as far as `cost` units or as there are any."""
        self._level.give_back(cost)

    def hold(self, name: str, hold: Hold) -> None:
        """Set units aside. No other hold has this name."""
        if self._holds is _NONE:
            self._holds = {}
        self._holds[name] = hold
        self._held += hold.units

    def settle(self, name: str, cost: int, now: int, *, is_used: bool) -> None:
        """Charge what became of a hold: less than was set aside, or more.

        One that has expired is charged all the same, unless it counted as used then.
        """
        hold = self._holds.pop(name, None)
        if hold is not None:
            self._held -= hold.units
        if hold is not None or not is_used:
            self._level.charge(cost, now)

    def _expire(self, now: int) -> None:
        for name, hold in self._by_expiry():
            if hold.expires > now:
                return
            self._holds.pop(name)
            self._held -= hold.units
            if hold.is_used:
                self._level.forward(hold.expires)
                self._level.charge(hold.units, hold.expires)

    def _until(self, most: int, now: int) -> int:
        """Return in how many microseconds no more than `most` will be used."""
        level, held, at = self._level.copy(), self._held, now
        for _, hold in self._by_expiry():
            if held <= most:
                then = at + level.until(most - held, at)
                if then <= hold.expires:
                    return then - now
            held -= hold.units
            at = hold.expires
            level.forward(at)
            if hold.is_used:
                level.charge(hold.units, at)
        return at + level.until(most, at) - now

    def _by_expiry(self) -> list[tuple[str, Hold]]:
        return sorted(self._holds.items(), key=lambda it: (it[1].expires, it[0]))
