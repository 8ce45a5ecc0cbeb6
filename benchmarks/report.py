"""The end of a run: a table to look at, a file to keep, and whether the bars hold."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.figures import BARE, Figures, Verdict, figures
from benchmarks.kept import as_bar, keep
from benchmarks.rounds import Plan, Samples

_WIDTH: Final = 132  # of what is not a terminal: a pipe, a file

_NAME: Final = 46  # characters of who or what a row is about

_HEADS: Final = ("wall, µs", "CPU, µs", "CPU quartiles", "x wall", "x CPU", "adds")


@dataclass(slots=True)
class Run:
    """Everything that one benchmark measured."""

    name: str
    """What its file is called by."""
    title: str
    plan: Plan
    packages: Sequence[str]
    """Whose versions matter."""
    samples: dict[object, Samples] = field(default_factory=dict)
    left_out: dict[object, Mapping[str, str]] = field(default_factory=dict)
    """Why who did not take part did not."""
    bars: list[Verdict] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    """What else is to be kept."""

    @property
    def holds(self) -> bool:
        """Whether every bar does."""
        return all(bar.holds for bar in self.bars)


def console() -> Console:
    """Return where to print: nothing is cut because nobody is looking."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH)


def table(
    run: Run,
    heads: Sequence[str] = _HEADS,
    cells: Callable[[str, Figures], Sequence[str]] | None = None,
) -> Table:
    """Return the figures of a run, and the bars that they are held against.

    Args:
        run: Of which.
        heads: Of the columns.
        cells: What stands in them for a contender; None: its times, in µs.

    """
    cells = _cells if cells is None else cells
    grid = empty(f"{run.title}: medians of {run.plan.rounds} rounds", heads, "bars")
    for where, samples in run.samples.items():
        section(grid, where)
        for name, found in figures(samples).items():
            grid.add_row(f"  {name}", *cells(name, found), bars(run, where, name))
        for name, reason in run.left_out.get(where, {}).items():
            none = ["-"] * len(heads)
            grid.add_row(Text(f"  {name}", "dim"), *none, Text(reason, "dim"))
    return grid


def empty(title: str, heads: Sequence[str], last: str) -> Table:
    """Return a table without rows: names, figures under their heads, and words."""
    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("", max_width=_NAME)
    for head in heads:
        grid.add_column(head, justify="right", no_wrap=True)
    grid.add_column(last)
    return grid


def section(grid: Table, heading: object) -> None:
    """Begin a part of the table."""
    grid.add_section()
    grid.add_row(Text(str(heading), "bold"))


def row(grid: Table, name: str, cell: str, told: Text) -> None:
    """Add a row of one figure that is no time."""
    grid.add_row(f"  {name}", cell, *("" for _ in _HEADS[1:]), told)


def bars(run: Run, where: object, contender: str) -> Text:
    """Return what is held against one contender."""
    return Text("\n").join(
        bar_text(bar)
        for bar in run.bars
        if (bar.where, bar.contender) == (where, contender)
    )


def bar_text(bar: Verdict) -> Text:
    """Return a bar, and whether it holds."""
    told = f"{bar.value:.3g} {bar.claim}, {bar.limit}"
    if bar.holds:
        return Text(f"holds: {told}", "green")
    return Text(f"FAILS: {told}", "bold red")


def _cells(name: str, found: Figures) -> tuple[str, ...]:
    low, high = found.spread
    own = (f"{found.wall:.1f}", f"{found.cpu:.1f}", f"{low:.1f} to {high:.1f}")
    if name == BARE:
        return (*own, "", "", "")
    return (
        *own,
        f"{found.times_wall:.2f}",
        f"{found.times_cpu:.2f}",
        f"{found.adds:+.1f}",
    )


def end(run: Run, grid: Table, told: Namespace) -> int:
    """Show the table of a run and keep the rest; return what to exit with."""
    terminal = console()
    terminal.print(grid)
    if not told.quick:
        terminal.print(f"raw: {keep(run.name, run.packages, as_kept(run))}")
    return 1 if told.check and not run.holds else 0


def as_kept(run: Run) -> dict[str, Any]:
    """Return a run as its file has it."""
    return {
        "plan": asdict(run.plan),
        "us_per_call": {
            str(where): {
                name: {
                    "wall": [round(sample.wall, 2) for sample in own],
                    "cpu": [round(sample.cpu, 2) for sample in own],
                }
                for name, own in samples.items()
            }
            for where, samples in run.samples.items()
        },
        "left_out": {str(where): dict(why) for where, why in run.left_out.items()},
        **run.more,
        "bars": [as_bar(bar) for bar in run.bars],
    }
