"""What there is to show, and a way to show it: a terminal or plain lines."""

from dataclasses import dataclass
from typing import Any, Protocol, Self

from demo.script import SCRIPT, Phase
from demo.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopSide:
    """What the client inside shop knows of payments."""

    breaker: str = "closed"
    retry_after: float = 0.0
    """Seconds until an open breaker lets a call through to look."""
    calls: int = 0
    sends: int = 0
    refused: int = 0
    """Calls that the breaker refused, without a send."""
    raised: tuple[str, ...] = ()
    """The typed exceptions it raised of late, as shop's own code caught them."""

    @property
    def retries(self) -> int:
        """Sends that were not the first of their call."""
        return max(0, self.sends - (self.calls - self.refused))

    @classmethod
    def read(cls, known: dict[str, Any]) -> Self:
        """Return what `GET /payments` of shop says."""
        origin, raised = known["origin"], tuple(known["raised"])
        if origin is None:
            return cls(raised=raised)
        breaker = origin["breaker"]
        return cls(
            breaker=breaker["state"],
            retry_after=breaker["retry_after"],
            calls=origin["calls"],
            sends=origin["sends"],
            refused=origin["refused"],
            raised=raised,
        )


@dataclass(slots=True, kw_only=True)
class View:
    """The demo at this moment."""

    tally: Tally
    now: float = 0.0
    """Seconds on the clock of the tally."""
    elapsed: float = 0.0
    """Seconds since the demo began."""
    index: int = 0
    """Place of the phase in the script."""
    shop: ShopSide = ShopSide()

    @property
    def phase(self) -> Phase:
        """The phase that is being played."""
        return SCRIPT[self.index]


class Display(Protocol):
    """Somewhere to show it."""

    def __enter__(self) -> Self:
        """Take hold of the terminal."""

    def __exit__(self, *_: object) -> None:
        """Give it back as it was."""

    def started(self, where: str) -> None:
        """Say that the services have been started."""

    def refresh(self, view: View) -> None:
        """Show this moment."""

    def phase_ended(self, view: View) -> None:
        """Show what came of the phase; some of its calls may be under way still."""
