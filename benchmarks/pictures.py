"""What is drawn of each benchmark, from a run that was kept.

A benchmark that is not here has nothing that a picture says better than its table.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.charts import Drawn, bar_chart, line_chart, save
from benchmarks.figures import Figures, figures
from benchmarks.kept import Kept, newest
from benchmarks.overload.scenario import SCENARIOS, SPIKE, Scale
from benchmarks.overload.summary import share

CHARTS: Final = Path(__file__).parent / "charts"


Draw = Callable[[Kept], Drawn]


@dataclass(frozen=True, slots=True)
class Chart:
    """A file of `charts/`."""

    name: str
    kept: Kept
    """Of which run it is."""
    draw: Draw


def charts() -> Iterator[Chart]:
    """Yield all charts there are figures for, each of the last run on any Python."""
    for benchmark, pictures in PICTURES.items():
        runs = newest(benchmark)
        if runs:
            last = max(runs, key=lambda kept: kept.at)
            for name, draw_it in pictures.items():
                yield Chart(name, last, draw_it)


def draw(folder: Path = CHARTS) -> None:
    """Draw all charts. matplotlib must be installed."""
    for chart in charts():
        save(chart.draw(chart.kept), folder / chart.name, chart.kept.path.name)


def _bars(
    title: str, unit: str, figure: Callable[[Figures], float], *parts: str
) -> Draw:
    """Return what draws those settings that have all of `parts` in their names."""

    def drawn(kept: Kept) -> Drawn:
        return bar_chart(
            f"{title}, on CPython {kept.found['machine']['python']}",
            unit,
            {
                where: {name: figure(it) for name, it in figures(samples).items()}
                for where, samples in kept.samples.items()
                if any(part in where for part in parts or ("",))
            },
        )

    return drawn


def _goodput(scenario: str, title: str) -> Draw:
    def drawn(kept: Kept) -> Drawn:
        scale = Scale(**kept.found["scale"])
        played = kept.found["per_second"][scenario]
        lines = {name: _shares(records, scale) for name, records in played.items()}
        return line_chart(
            f"Answers in time, of those asked for: {title}",
            lines,
            shaded=(scale.begins, scale.ends),
        )

    return drawn


def _shares(records: list[dict[str, Any]], scale: Scale) -> list[float]:
    """Return the goodput of each second, the median of all seeds."""
    return [
        median(share(one["good"], one["offered"], at, at + 1) for one in records)
        for at in range(int(scale.over))
    ]


PICTURES: Final[Mapping[str, Mapping[str, Draw]]] = {
    "overhead": {
        "overhead.svg": _bars(
            "One call that goes well",
            "µs of CPU a call",
            lambda found: found.cpu,
            *("stub, httpx, async", "stub, httpx2, async"),
            *("loopback, httpx, async", "loopback, httpx2, async"),
        )
    },
    "loopback": {
        "loopback.svg": _bars(
            "Calls over loopback", "calls a second", lambda found: found.per_second
        )
    },
    "server": {
        "server.svg": _bars(
            "One request that goes well",
            "µs of CPU a request",
            lambda found: found.cpu,
        )
    },
    "ratelimit": {
        "ratelimit.svg": _bars(
            "One decision, which admits", "µs a decision", lambda found: found.wall
        )
    },
    "overload": {
        f"overload-{scenario.name}.svg": _goodput(scenario.name, scenario.title)
        for scenario in SCENARIOS
    },
    "spike": {"spike.svg": _goodput("real", f"{SPIKE.title}, in real time")},
}
"""By benchmark, how each file of `charts/` is drawn."""
