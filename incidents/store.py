"""A Redis that knows four scripts: those that keep idempotency keys.

What they do is done by `Ledger`, which is the same machine: a test plays both, and the
Lua in a real server. All else is real: redis-py's connections, ours, and the bytes.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from hiredis import Reader

from server_kit.idempotency.ledger import Ledger
from server_kit.idempotency.rules import Claim, Kept, Standing, unpack
from server_kit.idempotency.stores.in_redis import CLAIM, RELEASE, RENEW, SETTLE

_NOTHING: Final = object()
_KEEP_FOR: Final = 86_400.0


class Keys:
    """What a Redis holds, whoever is connected to it."""

    def __init__(self, lease: float) -> None:
        self.ledger = Ledger(
            lease=lease, keep_for=_KEEP_FOR, max_entries=10_000, max_bytes=1 << 30
        )
        self._known: set[bytes] = set()
        self._scripts: dict[str, Callable[[str, list[str], list[bytes]], Any]] = {
            CLAIM.name: self._claim,
            RENEW.name: self._renew,
            SETTLE.name: self._settle,
            RELEASE.name: self._release,
        }
        self._texts = {one.text: one.name for one in (CLAIM, RENEW, SETTLE, RELEASE)}

    def claims(self) -> int:
        """Return how many keys are held by somebody now."""
        self.ledger.renew(Claim("", "", ""), _now())  # has it forget what is over
        return len(self.ledger._claimed)

    def do(self, command: list[bytes]) -> bytes:
        """Do what a client says; return the reply as it is on the wire."""
        name = command[0].upper()
        if name == b"EVAL":
            text, script = command[1].decode(), ""
            script = self._texts[text]
            self._known.add(script.encode())
            return self._run(script, command)
        if name == b"EVALSHA":
            if command[1] not in self._known:
                return b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
            return self._run(command[1].decode(), command)
        if name == b"HELLO":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n"
        return b"+OK\r\n"

    def _run(self, script: str, command: list[bytes]) -> bytes:
        key, *args = command[3:]
        text = [arg.decode("latin-1") for arg in args]
        return _packed(self._scripts[script](key.decode(), text, args))

    def _claim(self, key: str, args: list[str], _: list[bytes]) -> Any:
        token, fingerprint, _lease = args
        claim = Claim(key, fingerprint, token)
        now = _now()
        found = self.ledger.claim(claim, now)
        if found is Standing.RUNNING and self.ledger.renew(claim, now):
            found = Standing.CLAIMED  # whoever lost the reply asks a second time
        if isinstance(found, Kept):
            return [b"kept", found.pack()]
        return [found.value.encode()]

    def _renew(self, key: str, args: list[str], _: list[bytes]) -> Any:
        return int(self.ledger.renew(Claim(key, "", args[0]), _now()))

    def _settle(self, key: str, args: list[str], raw: list[bytes]) -> Any:
        claim = Claim(key, args[1], args[0])
        answer = unpack(raw[2]) if raw[2] else None
        return int(self.ledger.settle(claim, answer, _now()))

    def _release(self, key: str, args: list[str], _: list[bytes]) -> Any:
        return int(self.ledger.release(Claim(key, "", args[0]), _now()))


class Session(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._commands = Reader(notEnoughData=_NOTHING)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in that there is one."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Do what is asked, one after the other."""
        self._commands.feed(data)
        while (command := self._commands.gets()) is not _NOTHING:
            self._transport.write(self._keys.do(command))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _packed(reply: Any) -> bytes:
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n" % len(reply) + b"".join(map(_packed, reply))
