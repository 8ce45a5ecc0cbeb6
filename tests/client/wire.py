"""A server of bare sockets, for what no framework would send."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Handler = Callable[[socket.socket], None]


@dataclass
class WireServer:
    """One thread a connection, each of which `handler` is given."""

    handler: Handler
    after_head: bool
    url: str = ""
    connections: int = 0
    closed_by_peer: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(
                target=self._handle, args=[connection], daemon=True
            ).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self.after_head:
                    read_head(connection)
                self.handler(connection)
            except OSError:
                self.closed_by_peer.set()


@contextmanager
def wire_server(handler: Handler, *, after_head: bool = True) -> Iterator[WireServer]:
    """Serve with `handler`, which is called when a request has come, or at once."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = WireServer(handler, after_head, url=f"http://127.0.0.1:{port}/")
    thread = threading.Thread(target=server.serve, args=[listener], daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def read_head(connection: socket.socket) -> None:
    """Read up to the end of a request that has no body."""
    while not connection.recv(65_536).endswith(b"\r\n\r\n"):
        pass


def drip(connection: socket.socket, head: bytes, rest: bytes, pause: float) -> None:
    """Send `head` at once and `rest` a byte at a time."""
    connection.sendall(head)
    for byte in rest:
        time.sleep(pause)
        connection.sendall(bytes([byte]))
