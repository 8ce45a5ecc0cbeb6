"""Claims and answers of one process. Pure: it is told the time.

A key is free, claimed, or served::

    free    -- claim -->                     claimed, for a lease
    claimed -- renew, by its holder -->      claimed, for another lease
    claimed -- settle, by its holder -->     served, until its answer is forgotten
    claimed -- release, by its holder -->    free
    claimed -- the lease runs out -->        free

The scripts of `stores/*.lua` are the same machine in Redis, and one test plays both.
"""

from collections import OrderedDict
from dataclasses import dataclass

from server_kit.idempotency.rules import Claim, Kept, Standing


class LedgerFullError(Exception):
    """Every place is taken by a claim: there is no room for another."""


@dataclass(slots=True)
class _Entry:
    claim: Claim
    until: float
    answer: Kept | None = None


class Ledger:
    """Up to `max_entries` keys, and `max_bytes` of answers.

    Where room is needed the oldest answers go. Claims never do.

    Args:
        lease: Seconds that a claim is held without being renewed.
        keep_for: Seconds that an answer is kept.
        max_entries: Claims and answers, at least 1.
        max_bytes: Of all answers together.

    """

    def __init__(
        self, *, lease: float, keep_for: float, max_entries: int, max_bytes: int
    ) -> None:
        self._lease = lease
        self._keep_for = keep_for
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        # Each in the order in which they end, so that only the first need be looked at.
        self._claimed: OrderedDict[str, _Entry] = OrderedDict()
        self._served: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._claimed) + len(self._served)

    @property
    def size(self) -> int:
        """Bytes of all answers."""
        return self._bytes

    def claim(self, claim: Claim, now: float) -> Standing | Kept:
        """Ask for a key.

        Args:
            claim: Who asks, and for what.
            now: Seconds on any monotonic clock, never less than in an earlier call.

        Returns:
            CLAIMED, if the key is the caller's now; else why not, or the answer.

        Raises:
            LedgerFullError: It would be the caller's, if there were room.

        """
        self._forget(now)
        served = self._served.get(claim.name)
        entry = self._claimed.get(claim.name) if served is None else served
        if entry is None:
            self._make_room()
            self._claimed[claim.name] = _Entry(claim, now + self._lease)
            return Standing.CLAIMED
        if entry.claim.fingerprint != claim.fingerprint:
            return Standing.DIFFERS
        if served is None:
            return Standing.RUNNING
        return Standing.SPENT if served.answer is None else served.answer

    def renew(self, claim: Claim, now: float) -> bool:
        """Hold `claim` for another lease; False if it is not held any more."""
        self._forget(now)
        entry = self._held(claim)
        if entry is None:
            return False
        entry.until = now + self._lease
        self._claimed.move_to_end(claim.name)
        return True

    def settle(self, claim: Claim, answer: Kept | None, now: float) -> bool:
        """Keep the answer to what was claimed; None says that it cannot be kept.

        A claim that has run out, and that nobody has made since, is settled as well:
        that the work is done is worth knowing.

        Returns:
            Whether it is settled now, or was before; False if another holds the key, or
            was served, and then nothing has changed.

        """
        self._forget(now)
        served = self._served.get(claim.name)
        if served is not None:
            return served.claim.token == claim.token
        if self._held(claim) is not None:
            del self._claimed[claim.name]
        elif claim.name in self._claimed:
            return False
        self._keep(_Entry(claim, now + self._keep_for, answer))
        return True

    def release(self, claim: Claim, now: float) -> bool:
        """Let go of a claim, as if it had not been made; False if it is not held."""
        self._forget(now)
        if self._held(claim) is None:
            return False
        del self._claimed[claim.name]
        return True

    def _held(self, claim: Claim) -> _Entry | None:
        entry = self._claimed.get(claim.name)
        is_ours = entry is not None and entry.claim.token == claim.token
        return entry if is_ours else None

    def _keep(self, entry: _Entry) -> None:
        self._served[entry.claim.name] = entry
        self._bytes += _size(entry)
        while self._bytes > self._max_bytes or len(self) > self._max_entries:
            self._drop_oldest()

    def _make_room(self) -> None:
        if len(self._claimed) >= self._max_entries:
            raise LedgerFullError
        while len(self) >= self._max_entries:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, entry = self._served.popitem(last=False)
        self._bytes -= _size(entry)

    def _forget(self, now: float) -> None:
        while self._claimed and next(iter(self._claimed.values())).until <= now:
            self._claimed.popitem(last=False)
        while self._served and next(iter(self._served.values())).until <= now:
            self._drop_oldest()


def _size(entry: _Entry) -> int:
    return 0 if entry.answer is None else entry.answer.size
