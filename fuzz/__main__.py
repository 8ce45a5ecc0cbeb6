"""Fuzz the targets, each in a process of its own: `python -m fuzz [TARGET...]`.

All that they feed is imported once, instrumented, before the processes part.
"""

import argparse
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Final, NoReturn

import atheris

from fuzz.keep import keep
from fuzz.targets import CORPUS, Target, names, target

JOBS: Final = 2
"""Targets at once."""

STUCK: Final = 60
"""Seconds. An input that takes longer counts as a crash."""

MEMORY: Final = 1024
"""Megabytes, likewise."""

CRASHES: Final = Path("fuzz/crashes")

_INSTRUMENTED: Final = ["resilient_http", "server_kit", "http_sf"]
_ROW: Final = "{:<18} {:>10} {:>6} {:>5}  {}"
_DONE: Final = re.compile(r"^#(\d+)\s+DONE\s+cov: (\d+)", re.MULTILINE)
_WRITTEN: Final = "Test unit written to"  # as libFuzzer says it
_ARTIFACT: Final = re.compile(rf"{_WRITTEN} (\S+)")


def main() -> int:
    """Fuzz what was asked for; 1 if anything crashed."""
    known = names()
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(known))
    parser.add_argument("--seconds", type=float, default=20, help="for all of them")
    parser.add_argument("--keep", action="store_true", help="add to the corpus")
    asked = parser.parse_args()
    if unknown := {*asked.targets}.difference(known):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    with redirect_stderr(StringIO()), atheris.instrument_imports(include=_INSTRUMENTED):
        targets = [target(name) for name in asked.targets or known]
    left = asked.seconds - (time.monotonic() - began)
    seconds = max(1, int(left * JOBS / max(JOBS, len(targets))))
    with tempfile.TemporaryDirectory() as place:
        crashes = _fuzz_all(targets, Path(place), seconds)
        if asked.keep:
            for one in targets:
                print(f"{one.name}: {keep(one, _new(Path(place), one))} inputs kept")
    for replay in crashes:
        print(f"replay it by: {replay}")
    return 1 if crashes else 0


def _fuzz_all(targets: Sequence[Target], place: Path, seconds: int) -> list[str]:
    """Fuzz each, print what came of it, and return how to replay what crashed."""
    CRASHES.mkdir(exist_ok=True)
    print(_ROW.format("target", "runs", "edges", "new", f"in {seconds} s each"))
    waiting = list(targets)
    running: dict[int, Target] = {}
    crashes = []
    while waiting or running:
        while waiting and len(running) < JOBS:
            one = waiting.pop(0)
            running[_fork(one, place, seconds)] = one
        pid, status = os.wait()
        one = running.pop(pid)
        said = (place / f"{one.name}.log").read_text(errors="replace")
        crashed = _ARTIFACT.search(said)
        if status:
            print(said[max(0, said.find("Traceback")) :])
            file = crashed[1] if crashed else "(no input was written)"
            crashes.append(f"{sys.executable} -m fuzz.replay {one.name} {file}")
        done = _DONE.search(said)
        runs, edges = done.groups() if done else ("", "")
        new = len(_new(place, one))
        ended = "CRASH" if status else "clean"
        print(_ROW.format(one.name, runs, edges, new, ended), flush=True)
    return crashes


def _fork(one: Target, place: Path, seconds: int) -> int:
    """Fuzz a target in a process of its own, and return its id."""
    (place / one.name).mkdir()
    words = place / f"{one.name}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in one.words))
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        log = os.open(place / f"{one.name}.log", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        _fuzz(
            one,
            f"-max_total_time={seconds}",
            f"-timeout={STUCK}",
            f"-report_slow_units={STUCK}",
            f"-rss_limit_mb={MEMORY}",
            f"-dict={words}",
            f"-artifact_prefix={CRASHES}/{one.name}-",
            str(place / one.name),
            str(CORPUS / one.name),
        )
    return pid


def _fuzz(one: Target, *arguments: str) -> NoReturn:
    def run(data: bytes) -> None:
        try:
            one.run(data)
        except BaseException:  # noqa: BLE001 - the process ends with it
            # Not by libFuzzer, which would leave by way of whoever has forked.
            file = CRASHES / f"{one.name}-crash-{sha256(data).hexdigest()[:12]}"
            file.write_bytes(data)
            traceback.print_exc()
            print(f"{_WRITTEN} {file}", file=sys.stderr, flush=True)
            os._exit(1)

    atheris.Setup(["fuzz", *arguments], run)
    atheris.Fuzz()  # ends the process
    os._exit(1)


def _new(place: Path, one: Target) -> list[Path]:
    return list((place / one.name).iterdir())


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
