"""Claims and answers in Redis, Valkey or a cluster of them. asyncio only.

One hash for each key, which ends by Redis' own clock: with the lease while it is a
claim, with its retention once there is an answer. Each step is one script over that one
hash.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

from server_kit.idempotency.rules import Claim, Kept, Standing, unpack
from server_kit.idempotency.settings import Idempotency
from server_kit.idempotency.stores import StoreUnavailableError
from server_kit.redis import Call, RedisLink, RedisUnavailableError, Script

_HERE: Final = Path(__file__).parent
CLAIM: Final = Script.of(_HERE / "claim.lua")
RENEW: Final = Script.of(_HERE / "renew.lua")
SETTLE: Final = Script.of(_HERE / "settle.lua")
RELEASE: Final = Script.of(_HERE / "release.lua")

_ONLY_THE_FACT: Final = 2


class RedisStore:
    """A ledger in Redis.

    Args:
        settings: Where Redis is, and how long what is kept.

    """

    def __init__(self, settings: Idempotency) -> None:
        self._link = RedisLink(
            settings.store, timeout=settings.timeout, what="idempotency keys"
        )
        self._prefix = settings.prefix
        self._lease = settings.lease
        self._lease_ms = _milliseconds(settings.lease)
        self._keep_ms = _milliseconds(settings.keep_for)

    def key(self, claim: Claim) -> str:
        """Return the key in Redis. The braces keep it in one slot of a cluster."""
        return f"{self._prefix}:{{{claim.name}}}"

    async def claim(self, claim: Claim) -> Standing | Kept:
        """Ask for a key."""
        args = (claim.token, claim.fingerprint, self._lease_ms)
        try:
            reply = await self._link.run(self._call(CLAIM, claim, *args))
        except RedisUnavailableError as error:
            if error.may_have_run:
                self._give_back(claim)
            raise StoreUnavailableError from error
        except asyncio.CancelledError:
            self._give_back(claim)
            raise
        if reply[0] != b"kept":
            return Standing(reply[0].decode())
        try:
            return unpack(reply[1])
        except ValueError:  # another version's, and the request was served all the same
            return Standing.SPENT

    async def renew(self, claim: Claim) -> bool:
        """Hold a claim for another lease."""
        held: int = await self._run(RENEW, claim, claim.token, self._lease_ms)
        return held == 1

    async def settle(self, claim: Claim, answer: Kept | None) -> bool:
        """Keep an answer."""
        packed = b"" if answer is None else answer.pack()
        args = (claim.token, claim.fingerprint, packed, self._keep_ms)
        try:
            settled = await self._run(SETTLE, claim, *args)
        except StoreUnavailableError:
            self._link.insist(self._lease, self._call(SETTLE, claim, *args))
            raise
        if settled == _ONLY_THE_FACT:
            raise StoreUnavailableError("Redis has no memory for the answer")
        return bool(settled)

    async def release(self, claim: Claim) -> bool:
        """Let go of a claim."""
        try:
            return bool(await self._run(RELEASE, claim, claim.token))
        except StoreUnavailableError:
            self._give_back(claim)
            raise

    async def aclose(self) -> None:
        """Close the connections, those of a client that was handed in excepted."""
        await self._link.aclose()

    def _give_back(self, claim: Claim) -> None:
        self._link.insist(self._lease, self._call(RELEASE, claim, claim.token))

    def _call(self, script: Script, claim: Claim, *args: str | bytes | int) -> Call:
        return Call(script, [self.key(claim)], args)

    async def _run(self, script: Script, claim: Claim, *args: str | bytes | int) -> Any:
        try:
            return await self._link.run(self._call(script, claim, *args))
        except RedisUnavailableError as error:
            raise StoreUnavailableError from error


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
