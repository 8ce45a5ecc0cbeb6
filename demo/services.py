"""The two processes, as the demo sees them: started, killed, started again."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio
import httpx

from demo.script import Mood
from demo.serving import HOST, claim

_ROOT: Final = Path(__file__).parents[1]
_STARTS_WITHIN: Final = 20.0


class ServiceDied(Exception):  # noqa: N818 - it says what happened
    """A process ended that should be running, or never got that far."""


class Service:
    """A process that serves a port, which is its own for as long as this object lives.

    Args:
        module: What to run with `python -m`.
        options: Further arguments of the command line.
        log: Where its output goes.

    """

    def __init__(self, module: str, *options: str, log: Path) -> None:
        self.name = module.rpartition(".")[2]
        self._claim = claim()
        port = self._claim.getsockname()[1]
        self.url = f"http://{HOST}:{port}"
        self._command = [sys.executable, "-m", module, "--port", str(port), *options]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None if it was not started, or was killed."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, without waiting until it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                self._command,
                cwd=_ROOT,
                stdin=subprocess.PIPE,  # never written to; see serving.py
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for the demo, which ends it then
            )

    def stop(self) -> None:
        """Stop the process where it is; only `kill` is of use to it then."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill the process, if it runs, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def close(self) -> None:
        """Kill the process, and give the port back."""
        self.kill()
        self._claim.close()

    async def serves(self, control: httpx.AsyncClient) -> None:
        """Wait until the process serves.

        Raises:
            ServiceDied: It ended, or does not serve within 20 s.

        """
        with anyio.move_on_after(_STARTS_WITHIN):
            while self._process is not None and self._process.poll() is None:
                try:
                    await control.get(f"{self.url}/healthz")
                except httpx.TransportError:
                    await anyio.sleep(0.05)
                else:
                    return
        raise ServiceDied(f"{self.name} does not serve:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


class Services:
    """Shop and payments. Their files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        ledger = ["--ledger", str(folder / "ledger.sqlite")]
        self.payments = Service("demo.payments", *ledger, log=folder / "payments.log")
        way = ["--payments", self.payments.url]
        self.shop = Service("demo.shop", *way, log=folder / "shop.log")

    async def direct(self, mood: Mood, control: httpx.AsyncClient) -> None:
        """Have payments behave as the script says.

        Raises:
            ServiceDied: It cannot be told.

        """
        if mood is Mood.STOPPED:
            self.payments.stop()
        elif mood is Mood.KILLED:
            self.payments.kill()
        elif self.payments.pid is None:
            self.payments.start()
        else:
            await self._set_mood(mood, control)

    async def _set_mood(self, mood: Mood, control: httpx.AsyncClient) -> None:
        url = f"{self.payments.url}/mood"
        try:
            (await control.put(url, json={"mood": mood})).raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceDied(f"payments takes no directions: {error!r}") from error

    def close(self) -> None:
        """End both processes."""
        self.shop.close()
        self.payments.close()


@contextmanager
def running() -> Iterator[Services]:
    """Start both services, and end them however the block is left."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        services = Services(Path(folder))
        try:
            services.payments.start()
            services.shop.start()
            yield services
        finally:
            services.close()
