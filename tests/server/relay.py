"""A TCP relay in front of a server, which loses or cuts what it is given."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

_CUT_AFTER = 3  # bytes: no reply is whole

Way: TypeAlias = Literal["pass", "lose", "cut"]


class Relay:
    """Hands bytes on. See `relay`.

    Args:
        to: The port of the server.

    """

    def __init__(self, to: int) -> None:
        self.to = to
        """Where the next connection leads."""
        self.way: Way = "pass"
        """What becomes of bytes: "lose" accepts all and hands nothing on, "cut" resets
        a connection in the middle of its next reply."""
        self.accepted = 0
        """Connections so far."""
        self.port = 0
        self._open = set[asyncio.StreamWriter]()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection."""
        self.accepted += 1
        passage = _Passage()
        self._open.add(writer)
        try:
            if self.way == "lose":
                await self._pump(reader, writer, passage)
                return
            there = await asyncio.open_connection("127.0.0.1", self.to)
            self._open.add(there[1])
            replies = asyncio.create_task(self._reply(there[0], writer, passage))
            await self._pump(reader, there[1], passage)
            there[1].transport.abort()
            await replies
            self._open.discard(there[1])
        except OSError:
            """Nobody is there: it hears so by being left."""
        finally:
            writer.transport.abort()
            self._open.discard(writer)

    def end(self) -> None:
        """Reset what is open; whoever reads there hears of it, and ends."""
        for writer in self._open:
            writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passage: "_Passage",
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if passage.loses(self.way):
                    continue
                writer.write(data)
                await writer.drain()

    async def _reply(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passage: "_Passage",
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if passage.loses(self.way):
                    continue
                is_cut = self.way == "cut"
                writer.write(data[:_CUT_AFTER] if is_cut else data)
                await writer.drain()
                if is_cut:
                    break
        writer.transport.abort()


@dataclass(slots=True)
class _Passage:
    """Both directions of one connection: what is lost is not sent again."""

    has_lost: bool = False

    def loses(self, way: Way) -> bool:
        self.has_lost |= way == "lose"
        return self.has_lost


@contextmanager
def relay(to: int, *, tls: ssl.SSLContext | None = None) -> Iterator[Relay]:
    """Run a relay in a thread, and end it with all connections.

    Args:
        to: The port of the server.
        tls: What it shows to who connects; None: it speaks in the clear.

    """
    running, loop = Relay(to), asyncio.new_event_loop()
    listens, over = threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(running.serve, "127.0.0.1", 0, ssl=tls)
        running.port = server.sockets[0].getsockname()[1]
        listens.set()
        await over.wait()
        server.close()
        running.end()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert listens.wait(20)
        yield running
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
