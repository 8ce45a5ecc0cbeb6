"""Where claims and answers are. All stores behave alike; see `ledger`."""

from typing import Protocol

from server_kit.idempotency.rules import Claim, Kept, Standing


class StoreUnavailableError(Exception):
    """The store did not answer, or has no room: nothing may be begun."""


class Store(Protocol):
    """One place for claims and answers.

    Every method raises `StoreUnavailableError`, and may have taken effect all the same.
    What a caller began and is cancelled in goes on without it.
    """

    async def claim(self, claim: Claim) -> Standing | Kept:
        """Ask for a key: `Ledger.claim`. Cancelled or failed, it is given back."""

    async def renew(self, claim: Claim) -> bool:
        """Hold a claim for another lease: `Ledger.renew`."""

    async def settle(self, claim: Claim, answer: Kept | None) -> bool:
        """Keep an answer: `Ledger.settle`. Failed, it is tried again for a lease."""

    async def release(self, claim: Claim) -> bool:
        """Let go of a claim: `Ledger.release`. Tried again as `settle` is."""

    async def aclose(self) -> None:
        """Let go of all that is open."""
