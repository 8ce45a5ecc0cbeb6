"""A connection on which scripts follow each other, none waiting for the one before.

To take a connection from a pool, see whether it is alive, and wait in a task for its
reply costs more than the round trip itself. Here a reply is handed on in the very
moment in which it arrives. redis-py opens the connection, so it is one for whatever a
URL may say.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from server_kit.redis.scripts import Call

Then: TypeAlias = Callable[[Any], None]
"""Called with a reply, or with the exception that there is in its place."""

_NOT_YET: Final = object()


class Connection(asyncio.Protocol):
    """One open connection. See `connect`.

    Args:
        writer: Of a connection that is ready for commands, and of nobody else's.

    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        from hiredis import (  # noqa: PLC0415 - it need not be there
            PushNotification,
            Reader,
            pack_command,
        )
        from redis.exceptions import (  # noqa: PLC0415 - slow, and only here
            InvalidResponse,
            ResponseError,
        )

        self._pack = pack_command
        self._aside: type = PushNotification
        self._replies = Reader(
            protocolError=InvalidResponse,
            replyError=ResponseError,
            notEnoughData=_NOT_YET,
        )
        self._asked: deque[tuple[Call | None, Then]] = deque()
        self.is_open = True
        self._writer = writer  # who forgets it closes it
        self._transport = writer.transport
        self._transport.set_protocol(self)

    def run(self, call: Call, then: Then) -> None:
        """Run a script; `then` is told of the reply, strings as bytes."""
        if call.packed is None:
            call.packed = self._pack(call.by_name())
        self._asked.append((call, then))
        self._transport.write(call.packed)

    def close(self, why: Exception | None = None) -> None:
        """Close it at once; what was asked is not answered any more."""
        self.is_open = False
        self._transport.abort()
        for then in self._drained():
            then(why or ConnectionError("the connection was closed"))

    # What asyncio calls.

    def data_received(self, data: bytes) -> None:
        """Hand on the replies that are whole."""
        self._replies.feed(data)
        try:
            while self.is_open and (reply := self._replies.gets()) is not _NOT_YET:
                if isinstance(reply, self._aside):
                    continue
                call, then = self._asked.popleft()
                if call and isinstance(reply, Exception) and _is_unknown(reply):
                    self._asked.append((None, then))
                    self._transport.write(self._pack(call.by_text()))
                else:
                    then(reply)
        except Exception as error:  # noqa: BLE001 - it is no Redis, whatever it says
            self.close(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self.close(exc or ConnectionError("the server closed the connection"))

    def _drained(self) -> list[Then]:
        waiting = [then for _, then in self._asked]
        self._asked.clear()
        return waiting


def _is_unknown(error: Exception) -> bool:
    """Tell whether the script is: this is a new server, or its scripts were flushed."""
    return str(error).startswith("NOSCRIPT")


async def connect(pool: Any) -> Connection | None:
    """Open a connection such as those of `pool`, which does not know of it.

    Returns:
        None: this pool's cannot be used so, as hiredis is not there.

    Raises:
        Exception: Whatever is wrong.

    """
    connection = pool.make_connection()
    await connection.connect()
    writer = getattr(connection, "_writer", None)
    try:
        taken = None if writer is None else Connection(writer)
    except ImportError:
        taken = None
    if taken is None:
        await connection.disconnect()
    else:
        connection._reader = connection._writer = None  # noqa: SLF001 - it is ours now
    return taken
