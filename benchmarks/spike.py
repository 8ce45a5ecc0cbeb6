"""Does it come back where time is real, too? `python -m benchmarks.spike`.

One scenario of `overload/`, three times the load, with uvicorn in a process of its own
and sockets between. README.md says what it shows and what it does not.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Final

from benchmarks.figures import Verdict
from benchmarks.kept import as_bar, keep
from benchmarks.options import options
from benchmarks.overload.live import Live, play_live
from benchmarks.overload.policies import LOOP, OURS, TENACITY, Contender
from benchmarks.overload.scenario import SPIKE, Scale
from benchmarks.overload.summary import Summary, summarize
from benchmarks.overload.table import table
from benchmarks.overload.world import Record, play
from benchmarks.report import console

FULL: Final = Scale(clients=10, servers=1, begins=15, ends=35, over=60, settled=15)
"""A quarter of the servers, so that neither callers nor server want a core."""
QUICK: Final = Scale(clients=2, servers=1, begins=1, ends=2, over=3, settled=1)

_PACKAGES: Final = ("httpx", "httpcore", "uvicorn", "h11", "anyio", "tenacity")
_REAL: Final = replace(SPIKE, name="real", title=f"{SPIKE.title}, in real time")
_VIRTUAL: Final = replace(
    SPIKE, name="virtual", title=f"{SPIKE.title}, in virtual time"
)
_SEED: Final = 1
_SEEDS: Final = range(1, 4)
"""In virtual time, where they take no time."""

_DOWN: Final = 0.05
_LEAST: Final = 0.75  # of capacity
_MOST_TRIES: Final = 1.25
_MOST_SECONDS: Final = 5.0
_LATE: Final = 0.5

Runs = Mapping[Contender, Sequence[Record]]


def main() -> int:
    """Play it and print it; with `--check` return 1 if a bar fails.

    Without `--check` as well, where the naive client comes back or the machine had too
    much else to do: then nothing was shown, and nothing is kept.
    """
    told = options("spike").parse_args()
    scale = QUICK if told.quick else FULL
    terminal = console()
    began = time.perf_counter()
    naive = TENACITY if TENACITY.is_installed else LOOP
    real = {one: play_live(one, SPIKE, scale, _SEED) for one in (naive, OURS)}
    records: Runs = {one: [run.record] for one, run in real.items()}
    found = _found(records, scale)
    held = [_on_time(real, naive), *_bars(naive, found, scale)]
    terminal.print(table(_REAL, scale, found, held))
    for one, run in real.items():
        terminal.print(f"{one.name}: {_busy(run, scale)}")
    if told.quick:
        return 0
    failed = [bar for bar in held if not bar.holds]
    if any(bar.contender == naive.name for bar in failed):
        terminal.print("It came back, or nobody had time: this shows nothing.")
        return 1
    virtual: Runs = {
        one: [play(one, SPIKE, scale, seed) for seed in _SEEDS] for one in real
    }
    terminal.print(table(_VIRTUAL, scale, _found(virtual, scale), []))
    seconds = time.perf_counter() - began
    kept = {
        "seconds": round(seconds),
        "scale": asdict(scale),
        "real": {
            one.name: {"late": run.late, "callers": run.callers, "servers": run.servers}
            for one, run in real.items()
        },
        "per_second": {_REAL.name: _raw(records), _VIRTUAL.name: _raw(virtual)},
        "bars": [as_bar(bar) for bar in held],
    }
    terminal.print(f"{seconds:.0f} s; raw: {keep('spike', _PACKAGES, kept)}")
    return 1 if told.check and failed else 0


def _found(runs: Runs, scale: Scale) -> dict[Contender, list[Summary]]:
    return {
        one: [summarize(record, scale) for record in records]
        for one, records in runs.items()
    }


def _busy(run: Live, scale: Scale) -> str:
    return (
        f"{run.callers / scale.over:.0%} of a core for the callers, "
        f"{run.servers / scale.over:.0%} for the servers; "
        f"a user came {1_000 * run.late:.0f} ms late at most"
    )


def _raw(runs: Runs) -> dict[str, list[dict[str, list[int]]]]:
    return {one.name: [asdict(it) for it in records] for one, records in runs.items()}


def _on_time(real: Mapping[Contender, Live], naive: Contender) -> Verdict:
    """Hold the callers to their times: else it is them who are overloaded."""
    claim = "seconds that a user came too late, whoever served"
    late = max(run.late for run in real.values())
    return Verdict(_REAL.name, naive.name, claim, late, _LATE)


def _bars(
    naive: Contender, found: Mapping[Contender, Sequence[Summary]], scale: Scale
) -> Iterator[Verdict]:
    down, own = found[naive][0], found[OURS][0]
    least = _LEAST / (scale.load * SPIKE.spike)
    where = _REAL.name
    claim = "goodput at the end: it must stay down"
    yield Verdict(where, naive.name, claim, down.last, _DOWN)
    claim = "goodput meanwhile"
    yield Verdict(where, OURS.name, claim, own.during, least, is_least=True)
    claim = "tries meanwhile"
    yield Verdict(where, OURS.name, claim, own.tries_during, _MOST_TRIES)
    claim = "seconds to recover"
    yield Verdict(where, OURS.name, claim, own.recovered_in, _MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
