"""All benchmarks that want a quiet machine, and the pages: `python -m benchmarks`.

Each in a process of its own, one after the other, as they would be by themselves.
"""

import subprocess
import sys
import time
from typing import Final

from benchmarks.options import options
from benchmarks.report import console

BENCHMARKS: Final = ("overhead", "loopback", "server", "ratelimit", "overload")
MOST: Final = 600.0
"""Seconds that all may take together."""


def main() -> int:
    """Run them all; return 1 if one failed, or was not done in time with `--check`."""
    told = options().parse_args()
    terminal = console()
    began = time.perf_counter()
    failed: list[str] = []
    for name in BENCHMARKS:
        own = time.perf_counter()
        command = [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
        terminal.print(f"{name}: {time.perf_counter() - own:.0f} s")
    if not told.quick:
        subprocess.run([sys.executable, "-m", "benchmarks.readme"], check=True)
    seconds = time.perf_counter() - began
    verdict = "holds" if seconds <= MOST else "FAILS"
    terminal.print(f"all: {seconds:.0f} s, at most {MOST:.0f}: {verdict}")
    if failed:
        terminal.print(f"failed: {', '.join(failed)}")
    return 1 if failed or (told.check and seconds > MOST) else 0


if __name__ == "__main__":
    sys.exit(main())
