"""Search for incidents: `python -m incidents --schedules 2000 --seed 0`.

What fails is printed with the command that replays it, and the exit is 1.
"""

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, TypeVar

from incidents import planted
from incidents.run import Report, run, run_seed, shrunk

_T = TypeVar("_T")

_BATCH: Final = 20
_COLUMNS: Final = 6
_PREFIX: Final = "ended: "


def main() -> int:
    """Run what was asked for; 1 if anything was broken."""
    parser = argparse.ArgumentParser(prog="python -m incidents", description=__doc__)
    parser.add_argument("--schedules", type=int, default=2_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first of them")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run and show one")
    parser.add_argument("--plant", choices=sorted(planted.BUGS), help="with this bug")
    parser.add_argument(
        "--seconds", type=float, help="stop beginning new ones after so long"
    )
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)  # an outage has its lines, and here are many
    bug = asked.plant
    if asked.replay is not None:
        with planted.with_bug(bug):
            return _replay(asked.replay)
    return _search(range(asked.seed, asked.seed + asked.schedules), bug, asked.seconds)


def _search(seeds: range, bug: str | None, seconds: float | None) -> int:
    began = time.monotonic()
    met: Counter[str] = Counter()
    broken: list[Report] = []
    count = 0
    for reports in _results(seeds, bug, seconds):
        for report in reports:
            count += 1
            met += report.met
            if report.violations:
                broken.append(report)
                _tell(report, bug)
    spent = time.monotonic() - began
    clean = count - len(broken)
    print(f"{count} schedules in {spent:.0f} s: {clean} clean, {len(broken)} broken")
    _print_counts("faults", {k: n for k, n in met.items() if not k.startswith(_PREFIX)})
    ends = {k[len(_PREFIX) :]: n for k, n in met.items() if k.startswith(_PREFIX)}
    _print_counts("calls", ends)
    return 1 if broken else 0


def _results(
    seeds: range, bug: str | None, seconds: float | None
) -> Iterator[list[Report]]:
    began = time.monotonic()
    workers = len(os.sched_getaffinity(0))
    batches = [(batch, bug) for batch in _batched(seeds, _BATCH)]
    with ProcessPoolExecutor(workers) as pool:
        while batches:
            # Some at a time, so that there is something to stop.
            now, batches = batches[: 2 * workers], batches[2 * workers :]
            yield from pool.map(_run_all, now)
            if seconds is not None and time.monotonic() - began > seconds:
                return


def _run_all(batch: tuple[list[int], str | None]) -> list[Report]:
    seeds, bug = batch
    logging.disable(logging.CRITICAL)
    with planted.with_bug(bug):
        return [run_seed(seed) for seed in seeds]


def _tell(report: Report, bug: str | None) -> None:
    seed, first = report.schedule.seed, report.violations[0]
    plant = "" if bug is None else f" --plant {bug}"
    print(f"{seed}: {first.name}: {first.what}")
    print(f"  replay it by: {sys.executable} -m incidents --replay {seed}{plant}")
    sys.stdout.flush()


def _replay(seed: int) -> int:
    report = run_seed(seed, trace=True)
    if report.violations:
        schedule = shrunk(report)
        left_out = len(report.schedule.parts()) - len(schedule.parts())
        print(f"seed {seed}, without {left_out} calls and faults that do not matter:")
        report = run(schedule, trace=True)
    schedule = report.schedule
    print(f"{schedule.policy}\n{schedule.service}")
    print(f"{schedule.clients} clients of {schedule.places} places, {schedule.family}")
    for part in schedule.parts():
        print(f"  {part}")
    print("\n".join(report.trace))
    for violation in report.violations:
        print(f"BROKEN {violation.name}: {violation.what}")
    if not report.violations:
        print(f"seed {seed}: clean")
    return 1 if report.violations else 0


def _print_counts(what: str, counts: dict[str, int]) -> None:
    told = [
        f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda it: -it[1])
    ]
    for line in _batched(told, _COLUMNS):
        print(f"  {what}: {', '.join(line)}")
        what = " " * len(what)


def _batched(things: Sequence[_T], size: int) -> list[list[_T]]:
    return [[*things[at : at + size]] for at in range(0, len(things), size)]


if __name__ == "__main__":
    sys.exit(main())
