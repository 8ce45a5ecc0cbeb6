"""Mutate modules, and say what their tests let pass: `python -m mutants [MODULE...]`.

A mutant that survives is either named in `survivors.toml`, with why no test should
notice it, or a hole in the tests; with holes, this ends with 1. Verdicts do not depend
on how busy the machine is, nor on chance: what the tests draw is drawn alike each time.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from random import seed
from typing import Final

from mutants import report
from mutants.making import Mutant, Mutants
from mutants.targets import TARGETS, Target
from mutants.trying import Allowance, Verdict, allowance, measure, start, wait, warm_up

_ROW: Final = "{:<12} {:>8} {:>7} {:>8} {:>10} {:>8}"


def main() -> int:
    """Try what was asked for; 1 if anything survives that should not."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TARGETS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--changed", action="store_true", help="since last tried")
    parser.add_argument("--survivors", action="store_true", help="of the last time")
    parser.add_argument(
        "--report", action="store_true", help="write the page, try none"
    )
    asked = parser.parse_args()
    if unknown := set(asked.modules).difference(TARGETS):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    targets = [TARGETS[name] for name in asked.modules or TARGETS]
    if asked.changed:
        targets = [target for target in targets if report.has_changed(target)]
    if not asked.report:
        if os.environ.get("PYTHONHASHSEED") != "0":
            parser.error("set PYTHONHASHSEED=0, or sets have another order each time")
        seed(0)
        warm_up()
        print(_ROW.format("module", "mutants", "killed", "%", "unexplained", "seconds"))
        holes = [_try(one, asked) for one in targets]
        return 1 if any(holes) else 0
    report.PAGE.write_text(report.page())
    return 0


def _try(target: Target, asked: argparse.Namespace) -> int:
    """Try a module's mutants, and return how many survive unexplained."""
    began = time.monotonic()
    earlier = report.earlier(target) if asked.survivors else None
    allowed = allowance(measure(target))
    mutants = Mutants(target.source)
    chosen = [it for it in mutants.all if asked.only in it.name]
    if earlier is not None:
        names = {it.name for it in earlier.survivors}
        chosen = [it for it in chosen if it.name in names]
    verdicts = dict(_verdicts(target, mutants, chosen, asked.jobs, allowed))
    found = report.Found.of(target, [(it, verdicts[it.name]) for it in chosen])
    if earlier is not None:
        found = earlier.again(found)
    seconds = round(time.monotonic() - began)
    holes = found.unexplained()
    share = f"{found.share:.1%}"
    row = target.name, found.mutants, found.killed, share, len(holes), seconds
    print(_ROW.format(*row), flush=True)
    for survivor in holes:
        print(f"  {survivor.line:>4}  {survivor.name}", flush=True)
    if not asked.only:
        report.keep(found)
        for name in found.stale():
            print(f"  no longer survives: {name}")
    return len(holes)


def _verdicts(
    target: Target,
    mutants: Mutants,
    chosen: Iterable[Mutant],
    jobs: int,
    allowed: Allowance,
) -> Iterator[tuple[str, Verdict]]:
    waiting = iter(chosen)
    running: dict[int, str] = {}
    while True:
        while len(running) < jobs and (mutant := next(waiting, None)) is not None:
            running[start(target, mutants.source(mutant), allowed)] = mutant.name
        if not running:
            return
        pid, verdict = wait()
        yield running.pop(pid), verdict


if __name__ == "__main__":
    sys.exit(main())
