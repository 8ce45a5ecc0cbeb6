"""A TCP proxy in front of an HTTP server, which resets connections by chance.

It reads requests and answers whole, those with a `Content-Length`, to know when it is
before, during and after an answer.
"""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

BEFORE: Final = "before the request is handed on"
UNHEARD: Final = "once the request is handed on"
DURING: Final = "in the middle of the answer"
AFTER: Final = "after the answer"
FAULTS: Final = (BEFORE, UNHEARD, DURING, AFTER)

_ABORT: Final = struct.pack("ii", 1, 0)  # SO_LINGER: reset, and drop what is unsent


class FaultyProxy:
    """Hands HTTP on, and resets a share of the connections instead.

    Args:
        url: The base URL of the server.
        share: Of the requests that meet a reset, 0 to 1.
        seed: Of the chance.

    """

    def __init__(self, url: str, share: float, seed: int) -> None:
        there = urlsplit(url)
        self._there = there.hostname, there.port
        self._share = share
        self._rng = random.Random(seed)
        self._open = set[asyncio.StreamWriter]()
        self.met: Counter[str] = Counter()
        """How many requests met which fault."""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection, request by request."""
        there_reader, there_writer = await asyncio.open_connection(*self._there)
        self._open |= {writer, there_writer}
        try:
            while True:
                request = await _message(reader)
                fault = self._drawn()
                if fault == BEFORE:
                    break
                there_writer.write(request)
                await there_writer.drain()
                if fault == UNHEARD:
                    break
                answer = await _message(there_reader)
                writer.write(answer[: len(answer) // 2] if fault == DURING else answer)
                await writer.drain()
                if fault is not None:
                    break
        except (asyncio.IncompleteReadError, OSError):
            return  # the other end has left
        finally:
            self._open -= {writer, there_writer}
            there_writer.close()
            _reset(writer)

    def end(self) -> None:
        """Reset what is open; whoever reads there hears of it, and ends."""
        for writer in self._open:
            writer.transport.abort()

    def _drawn(self) -> str | None:
        if self._rng.random() >= self._share:
            return None
        fault = self._rng.choice(FAULTS)
        self.met[fault] += 1
        return fault


@contextmanager
def faulty(url: str, *, share: float, seed: int) -> Iterator[tuple[str, FaultyProxy]]:
    """Run a proxy in a thread, and give its base URL."""
    proxy = FaultyProxy(url, share, seed)
    listens, loop = threading.Event(), asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_000)
    over = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(proxy.serve, sock=listener)
        listens.set()
        await over.wait()
        server.close()
        proxy.end()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert listens.wait(20)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", proxy
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read one request or answer, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return head + await reader.readexactly(int(value))
    return head


def _reset(writer: asyncio.StreamWriter) -> None:
    wire = writer.get_extra_info("socket")
    with suppress(OSError):  # closed already, where all of it is over
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()
