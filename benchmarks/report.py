"""One table to look at, and one file to keep."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.figures import Figures, Run, Verdict, figures, verdicts
from benchmarks.peers import BARE
from benchmarks.rounds import Samples
from benchmarks.setting import Setting

RESULTS: Final = Path(__file__).parent / "results"

_WIDTH: Final = 132  # of what is not a terminal: a pipe, a file

_HEADS: Final = ("wall", "CPU", "CPU quartiles", "x wall", "x CPU", "adds")
_PACKAGES: Final = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "httpx-aiohttp", "aiohttp", "h11"),
    *("anyio", "pydantic", "tenacity", "purgatory", "aiolimiter"),
    *("httpx-retries", "interlock-cb", "clientwright"),
)


def console() -> Console:
    """Return where to print: nothing is cut because nobody is looking."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH)


def table(run: Run) -> Table:
    """Return the figures of a run, and the bars that they are held against."""
    title = f"One call that goes well: µs, medians of {run.plan.rounds} rounds"
    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("", no_wrap=True)
    for head in _HEADS:
        grid.add_column(head, justify="right", no_wrap=True)
    grid.add_column("bars")
    told = verdicts(run)
    for setting, samples in run.samples.items():
        _add_setting(grid, run, setting, samples, told)
    grid.add_section()
    grid.add_row(Text("memory of an idle origin", "bold"))
    for family, kept in run.memory.items():
        for name, count in kept.items():
            cells = (f"{count / 1024:.2f} KiB", *("" for _ in _HEADS[1:]))
            grid.add_row(f"  {name}, {family}", *cells, _bars(told, family, name))
    return grid


def _add_setting(
    grid: Table, run: Run, setting: Setting, samples: Samples, told: list[Verdict]
) -> None:
    grid.add_section()
    grid.add_row(Text(str(setting), "bold"))
    for name, found in figures(samples).items():
        grid.add_row(f"  {name}", *_cells(name, found), _bars(told, setting, name))
    for name, reason in run.left_out[setting].items():
        cells = ("-" for _ in _HEADS)
        grid.add_row(Text(f"  {name}", "dim"), *cells, Text(reason, "dim"))


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


def _bars(told: list[Verdict], where: object, contender: str) -> Text:
    lines = [
        Text(
            f"{'holds' if bar.holds else 'FAILS'}: "
            f"{bar.value:.2f} {bar.claim}, at most {bar.bar:g}",
            "green" if bar.holds else "bold red",
        )
        for bar in told
        if (bar.where, bar.contender) == (where, contender)
    ]
    return Text("\n").join(lines)


def save(run: Run) -> Path:
    """Keep everything that was measured; return where."""
    now = datetime.now(UTC)
    python = "py" + "".join(platform.python_version_tuple()[:2])
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"overhead-{now:%Y%m%dT%H%M%SZ}-{python}.json"
    path.write_text(json.dumps(_plain(run, now)) + "\n")
    return path


def _plain(run: Run, now: datetime) -> dict[str, Any]:
    plan = run.plan
    return {
        "at": now.isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "plan": {"rounds": plan.rounds, "calls": plan.calls, "origins": plan.origins},
        "us_per_call": {
            str(setting): {
                name: {
                    "wall": [round(sample.wall, 2) for sample in own],
                    "cpu": [round(sample.cpu, 2) for sample in own],
                }
                for name, own in samples.items()
            }
            for setting, samples in run.samples.items()
        },
        "left_out": {str(setting): why for setting, why in run.left_out.items()},
        "bytes_per_idle_origin": run.memory,
        "bars": [
            {
                "where": str(bar.where),
                "contender": bar.contender,
                "claim": bar.claim,
                "value": round(bar.value, 4),
                "at_most": bar.bar,
                "holds": bar.holds,
            }
            for bar in verdicts(run)
        ],
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.check_output(command, text=True).strip()


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for line in lines.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
