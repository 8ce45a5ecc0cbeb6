"""Claims and answers in the memory of one process."""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from server_kit.idempotency.ledger import Ledger, LedgerFullError
from server_kit.idempotency.rules import Claim, Kept, Standing
from server_kit.idempotency.settings import Idempotency
from server_kit.idempotency.stores import StoreUnavailableError

logger: Final = logging.getLogger("server_kit")


class MemoryStore:
    """A ledger with a clock. Safe from threads, and for any event loop.

    Args:
        settings: How long what is kept, and how much of it.
        clock: Gives the time in seconds.

    """

    def __init__(
        self, settings: Idempotency, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ledger = Ledger(
            lease=settings.lease,
            keep_for=settings.keep_for,
            max_entries=settings.max_entries,
            max_bytes=settings.max_bytes,
        )
        self._clock = clock
        self._lock = Lock()
        self._is_full = False

    async def claim(self, claim: Claim) -> Standing | Kept:
        """Ask for a key."""
        with self._lock:
            try:
                found = self.ledger.claim(claim, self._clock())
            except LedgerFullError as error:
                self._note(is_full=True)
                raise StoreUnavailableError from error
            self._note(is_full=False)
            return found

    async def renew(self, claim: Claim) -> bool:
        """Hold a claim for another lease."""
        with self._lock:
            return self.ledger.renew(claim, self._clock())

    async def settle(self, claim: Claim, answer: Kept | None) -> bool:
        """Keep an answer."""
        with self._lock:
            return self.ledger.settle(claim, answer, self._clock())

    async def release(self, claim: Claim) -> bool:
        """Let go of a claim."""
        with self._lock:
            return self.ledger.release(claim, self._clock())

    async def aclose(self) -> None:
        """Do nothing: what is in memory goes with it."""

    def _note(self, *, is_full: bool) -> None:
        if is_full and not self._is_full:
            logger.error("idempotency keys: every place in memory is being served")
        self._is_full = is_full
