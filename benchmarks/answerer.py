"""A server that costs its client as little as HTTP/1.1 over a socket can.

A process of its own, so that its CPU time is not the client's: `python -m
benchmarks.answerer` writes its port to stdout and ends when its stdin does. It reads no
more of a request than where it ends, and knows only requests without a body.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_END: Final = b"\r\n\r\n"
_BODY: Final = b'{"status": "ok", "sku": "A1", "available": 2}'
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *whole, self._seen = (self._seen + data).split(_END)
        self._transport.write(_ANSWER * len(whole))


@contextmanager
def running() -> Iterator[str]:
    """Run the server in another process while inside; yield its URL."""
    command = [sys.executable, "-m", "benchmarks.answerer"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/orders/A1"
        finally:
            process.stdin.close()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
