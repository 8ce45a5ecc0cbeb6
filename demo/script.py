"""The script of the outage: its phases, and which orders they hurt.

Nothing is left to chance or to the clock. An order's number says what it asks for, and,
with the mood that payments is in, what happens to it. Numbers come round in cycles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final

CYCLE: Final = 20
"""Orders after which it all begins again."""

RATE: Final = 10
"""Orders a second, each of them placed both ways."""


class Mood(StrEnum):
    """How payments behaves."""

    WELL = "well"
    SLOW = "slow"
    BURSTS = "bursts"
    RESETS = "resets"
    TRUNCATED = "truncated"
    STOPPED = "stopped"
    """Its process is stopped (SIGSTOP): the port takes connections, nobody answers."""
    KILLED = "killed"
    """Its process is killed (SIGKILL): the port refuses."""


class Act(Enum):
    """What payments does when it is asked for a charge."""

    ANSWER = "charge, and answer"
    DAWDLE = "sleep, charge, and answer"
    HANG = "sleep for longer than anybody waits"
    REFUSE = "answer 503 at once"
    RESET_BEFORE = "reset the connection, and charge nothing"
    RESET_AFTER = "charge, then reset the connection in place of an answer"
    CUT_OFF = "charge, then send half of an answer"


AT_FIRST: Final[Mapping[Mood, Mapping[int, Act]]] = MappingProxyType(
    {
        Mood.SLOW: dict.fromkeys((1, 6, 11, 16), Act.DAWDLE),
        Mood.BURSTS: dict.fromkeys((0, 1, 2, 10, 11, 12), Act.REFUSE),
        Mood.RESETS: dict.fromkeys((2, 7, 12, 17), Act.RESET_BEFORE)
        | dict.fromkeys((4, 14), Act.RESET_AFTER),
        Mood.TRUNCATED: dict.fromkeys((1, 6, 8, 11, 16), Act.CUT_OFF),
    }
)
"""What the first send of an order meets, by its place in the cycle."""

HANGS_ALWAYS: Final = 5
"""Place in the cycle of the order that no send of will be answered, in mood SLOW."""


def act(mood: Mood, number: int, send: int) -> Act:
    """Return what payments does with one send of an order, the first of which is 1."""
    place = number % CYCLE
    if mood is Mood.SLOW and place == HANGS_ALWAYS:
        return Act.HANG
    if send > 1:
        return Act.ANSWER
    return AT_FIRST.get(mood, {}).get(place, Act.ANSWER)


@dataclass(frozen=True, slots=True)
class Wish:
    """What one customer orders."""

    number: int
    sku: str = "teapot"
    quantity: int = 1
    card: str = "good"
    patience: float | None = None
    """Seconds they wait at most; None if they did not say."""


def wish(number: int, mood: Mood) -> Wish:
    """Return order `number`: some cannot be had, or paid, or are in a hurry."""
    place = number % CYCLE
    if place in (3, 13):
        return Wish(number, sku="samovar", quantity=3)
    if place == 9:  # noqa: PLR2004 - a place like the others
        return Wish(number, card="empty")
    if mood is Mood.SLOW and place == HANGS_ALWAYS and number // CYCLE % 2 == 0:
        return Wish(number, patience=0.5)
    return Wish(number)


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of the script."""

    name: str
    what: str
    """What payments does, for people."""
    seconds: int
    mood: Mood = Mood.WELL
    greedy: bool = False
    """Whether one customer asks far more often than shop allows."""

    @property
    def orders(self) -> int:
        """How many are placed, each both ways."""
        return self.seconds * RATE


SCRIPT: Final = (
    Phase("healthy", "payments answers within milliseconds", 3),
    Phase(
        "a greedy customer",
        "payments is well; one customer asks shop for more than its quota",
        3,
        greedy=True,
    ),
    Phase(
        "slow",
        "one charge in five takes 2.5 s at first; one in twenty hangs for 6 s, always",
        5,
        Mood.SLOW,
    ),
    Phase(
        "503 bursts",
        "three charges in ten, in a row, are answered 503 at first",
        4,
        Mood.BURSTS,
    ),
    Phase(
        "connection resets",
        "three in ten are reset in place of an answer, one of those after the charge",
        4,
        Mood.RESETS,
    ),
    Phase(
        "truncated bodies",
        "one answer in four breaks off half way, after the charge",
        4,
        Mood.TRUNCATED,
    ),
    Phase(
        "outage: no answer",
        "the process of payments is stopped: connections are taken, and nobody answers",
        4,
        Mood.STOPPED,
    ),
    Phase(
        "outage: no process",
        "the process of payments is killed: its port refuses connections",
        4,
        Mood.KILLED,
    ),
    Phase("recovery", "payments is started again, on the same port", 6),
)
