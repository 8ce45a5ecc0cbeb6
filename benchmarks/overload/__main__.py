"""Does the system come back when the trigger is over? `python -m benchmarks.overload`.

The real clients and the real kit, in virtual time. ../README.md says what it shows and
what it does not.
"""

import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from typing import Any, Final

from benchmarks.figures import Verdict
from benchmarks.kept import as_bar, keep
from benchmarks.options import options
from benchmarks.overload.plan import FULL, QUICK, Plan
from benchmarks.overload.policies import CONTENDERS, OURS, Contender
from benchmarks.overload.scenario import SCENARIOS, Scale, Scenario
from benchmarks.overload.summary import bars, summarize
from benchmarks.overload.table import table
from benchmarks.overload.world import Record, play
from benchmarks.report import console

_PACKAGES: Final = ("httpx", "anyio", "pydantic", "tenacity", "httpx-retries")

Runs = Mapping[Contender, Sequence[Record]]


def main() -> int:
    """Play everything and print it; with `--check` return 1 if a bar fails.

    Without `--check` as well, where the control group comes back: then nothing was
    shown.
    """
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL
    is_whole = plan is FULL
    chosen = _chosen(arguments)
    if chosen:
        plan, is_whole = replace(plan, **chosen), False
    scale = Scale()
    terminal = console()
    began = time.perf_counter()
    missing = [one.name for one in CONTENDERS if not one.is_installed]
    if missing:
        terminal.print(f"not installed: {', '.join(missing)}")
    held: list[Verdict] = []
    raw: dict[str, Any] = {}
    for scenario, runs in _played(plan, scale, arguments.workers):
        found = {
            contender: [summarize(record, scale) for record in records]
            for contender, records in runs.items()
        }
        own = bars(scenario, scale, found)
        held += own
        raw[scenario.name] = {
            contender.name: [asdict(record) for record in records]
            for contender, records in runs.items()
        }
        terminal.print(table(scenario, scale, found, own))
    seconds = time.perf_counter() - began
    terminal.print(f"{seconds:.0f} s, {arguments.workers} at a time")
    if is_whole:
        told = {
            "seconds": round(seconds),
            "scale": asdict(scale),
            "per_second": raw,
            "bars": [as_bar(bar) for bar in held],
        }
        terminal.print(f"raw: {keep('overload', _PACKAGES, told)}")
    failed = [bar for bar in held if not bar.holds]
    if any(bar.contender != OURS.name for bar in failed):
        terminal.print("The control group came back: this shows nothing.")
        return 1
    return 1 if arguments.check and failed else 0


def _arguments() -> Namespace:
    parser = options("overload")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=[one.name for one in SCENARIOS],
        help="only this; more than once for more. What is chosen is not kept",
    )
    parser.add_argument(
        "--contender",
        action="append",
        choices=[one.name for one in CONTENDERS],
        help="only this, in every scenario; likewise",
    )
    parser.add_argument(
        "--seeds", type=_seeds, metavar="11-20", help="these, whoever is played"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes, at once")
    return parser.parse_args()


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if not seeds:
        raise ArgumentTypeError(f"no seed is in {text}")
    return seeds


def _chosen(arguments: Namespace) -> dict[str, Any]:
    """Return what is played instead of all."""
    chosen: dict[str, Any] = {}
    if arguments.scenario:
        chosen["scenarios"] = [it for it in SCENARIOS if it.name in arguments.scenario]
    if arguments.contender:
        chosen["chosen"] = [it for it in CONTENDERS if it.name in arguments.contender]
    if arguments.seeds:
        chosen["seeds"] = arguments.seeds
    return chosen


def _played(plan: Plan, scale: Scale, workers: int) -> Iterator[tuple[Scenario, Runs]]:
    # Not by fork: what one has imported or drawn is nothing to the others.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {
            scenario: {
                contender: [
                    pool.submit(partial(play, contender, scenario, scale, seed))
                    for seed in seeds
                ]
                for contender, seeds in plan.of(scenario)
            }
            for scenario in plan.scenarios
        }
        for scenario, contenders in jobs.items():
            yield (
                scenario,
                {one: [job.result() for job in own] for one, own in contenders.items()},
            )


if __name__ == "__main__":
    sys.exit(main())
