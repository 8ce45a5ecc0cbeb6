"""What a run prints: a row for each contender, and the bars it is held against."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from rich.table import Table
from rich.text import Text

from benchmarks.figures import Verdict
from benchmarks.overload.policies import Contender
from benchmarks.overload.scenario import Scale, Scenario
from benchmarks.overload.summary import Summary
from benchmarks.report import bar_text, empty

_HEADS: Final = ("seeds", "meanwhile", "at the end", "tries", "recovers in")


def table(
    scenario: Scenario,
    scale: Scale,
    found: Mapping[Contender, Sequence[Summary]],
    held: Sequence[Verdict],
) -> Table:
    """Return what came of a scenario, a row for each contender.

    Args:
        scenario: Which.
        scale: Of the world it was played in.
        found: What came of each run.
        held: The bars.

    """
    seconds = scale.ends - scale.begins
    title = (
        f"{scenario.title}, for {seconds:.0f} s: medians, and the worst of all seeds"
    )
    grid = empty(title, _HEADS, "bars")
    for contender, runs in found.items():
        told = Text("\n").join(
            bar_text(bar) for bar in held if bar.contender == contender.name
        )
        grid.add_row(contender.name, str(len(runs)), *_cells(runs), told)
    return grid


def _cells(runs: Sequence[Summary]) -> tuple[str, ...]:
    slowest = max(run.recovered_in for run in runs)
    never = sum(run.recovered_in == float("inf") for run in runs)
    middle = median(run.recovered_in for run in runs)
    return (
        _percent([run.during for run in runs]),
        _percent([run.last for run in runs]),
        f"{median(run.tries_during for run in runs):.2f}",
        f"never, {never} of {len(runs)}"
        if never
        else f"{middle:.0f} s [{slowest:.0f}]",
    )


def _percent(values: Sequence[float]) -> str:
    return f"{median(values):.1%} [{min(values):.1%}]"
