"""Replies of what may be a Redis, to callers who each wait for one.

The first two bytes say how many wait, and how long the pieces are.
"""

import asyncio
from typing import Any, Final

from fuzz.wire import Numbers
from server_kit.redis.connection import Connection
from server_kit.redis.scripts import Call, Script

WORDS: Final = (
    *(b"*1\r\n", b":1\r\n", b"$3\r\nabc\r\n", b"$-1\r\n", b"-NOSCRIPT a\r\n", b"+OK"),
    *(b"-ERR a\r\n", b">2\r\n+a\r\n+b\r\n", b"%1\r\n", b",1.5\r\n", b"_\r\n", b"\r\n"),
    *(
        b"(1234567890123\r\n",
        b"#t\r\n",
        b"~1\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"$9999999999",
    ),
)
_SCRIPT: Final = Script("return 1")


class _Transport:
    """Takes what is written, and is cut off once."""

    def __init__(self) -> None:
        self.written = self.aborted = 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Take note of nothing."""

    def write(self, _data: bytes) -> None:
        """Count what is asked."""
        self.written += 1

    def abort(self) -> None:
        """Count how often the connection is cut."""
        self.aborted += 1


class _Writer:
    """What redis-py opens."""

    def __init__(self) -> None:
        self.transport = _Transport()


def run(data: bytes) -> None:
    """Tell each who waits one thing, whatever comes, and nobody another."""
    numbers = Numbers(data)
    waiting, size = numbers.draw(1) % 8, numbers.draw(1) + 1
    rest = numbers.rest()
    writer: Any = _Writer()
    connection = Connection(writer)
    told: list[list[Any]] = [[] for _ in range(waiting)]
    for one in told:
        connection.run(Call(_SCRIPT, ["key"], [1]), one.append)
    for at in range(0, len(rest), size):
        if connection.is_open:
            connection.data_received(rest[at : at + size])
        assert all(len(one) <= 1 for one in told)
    assert writer.transport.written <= 2 * waiting  # a script is sent again once
    connection.connection_lost(None)
    assert all(len(one) == 1 for one in told)
    assert not connection.is_open
