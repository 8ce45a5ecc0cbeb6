"""Runs that were kept, as Markdown: whose they are, which bars hold, what was found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from statistics import median
from typing import Any, Final

from benchmarks.figures import BARE, Figures, Verdict, figures
from benchmarks.kept import Kept
from benchmarks.overload.scenario import Scale
from benchmarks.overload.summary import Summary, summarize
from benchmarks.overload.world import Record
from benchmarks.pictures import PICTURES

Runs = Sequence[Kept]
"""Of one benchmark, one for each Python."""

_NONE: Final = "No run is kept: it wants a machine that does little else."
_MISSING: Final = "-"
_FAMILIES: Final = ("httpx", "httpx2")
_MS: Final = 1_000
_WHOLE: Final = 10
"""From where on a tenth says nothing."""


def section(benchmark: str, runs: Runs) -> str:
    """Return all that is shown of a benchmark."""
    if not runs:
        return _NONE
    parts = [_sources(runs), *TABLES[benchmark](runs)]
    parts += [
        f"![{name.removesuffix('.svg')}, as a picture](charts/{name})"
        for name in PICTURES.get(benchmark, ())
    ]
    return "\n\n".join(parts)


def summary(found: Mapping[str, Runs]) -> str:
    """Return how many bars hold, of each benchmark and on each Python."""
    every = sorted(chain(*found.values()), key=lambda kept: kept.version)
    pythons = dict.fromkeys(kept.python for kept in every)
    rows: list[list[str]] = []
    for benchmark, runs in found.items():
        by_python = {kept.python: kept.bars for kept in runs}
        rows.append([benchmark, *(_count(by_python.get(one)) for one in pythons)])
    return grid(["bars that hold", *pythons], rows)


def _count(bars: Sequence[Verdict] | None) -> str:
    if not bars:
        return _MISSING
    held = sum(bar.holds for bar in bars)
    told = f"{held} of {len(bars)}"
    return told if held == len(bars) else f"**{told}**"


def _sources(runs: Runs) -> str:
    """Return where the figures are from: files, machines, versions."""
    return "\n".join([*map(_source, runs), f"- {_versions(runs)}"])


def _source(kept: Kept) -> str:
    machine = kept.found["machine"]
    python = f"{machine['implementation']} {machine['python']}"
    return (
        f"- [{python}](results/{kept.path.name}), {kept.at:%Y-%m-%d},"
        f" commit {kept.found['commit']}; {machine['processor']},"
        f" {machine['cores']} cores, load {machine['load'][0]:.1f}{_plan(kept)}"
    )


def _plan(kept: Kept) -> str:
    plan = kept.found.get("plan")
    return f"; {plan['rounds']} rounds of {plan['calls']:,}" if plan else ""


def _versions(runs: Runs) -> str:
    """Return what was installed, once where it was the same on every Python."""
    found: dict[str, list[str]] = {}
    for kept in runs:
        for package, version in kept.found["versions"].items():
            if version is not None:
                found.setdefault(f"{package} {version}", []).append(kept.python)
    return ", ".join(
        told if len(where) == len(runs) else f"{told} ({', '.join(where)})"
        for told, where in found.items()
    )


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a table, its first columns of words and the others of figures."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _bars(runs: Runs) -> str:
    """Return every bar there is, and on which Python it holds."""
    found: dict[tuple[str, str, str], dict[str, Verdict]] = {}
    for kept in runs:
        for bar in kept.bars:
            what = (str(bar.where), f"{bar.contender}, {bar.claim}", bar.limit)
            found.setdefault(what, {})[kept.python] = bar
    return grid(
        ["setting", "who and what", "bar", *(kept.python for kept in runs)],
        (
            [*what, *(_verdict(bars.get(kept.python)) for kept in runs)]
            for what, bars in found.items()
        ),
        words=3,
    )


def _verdict(bar: Verdict | None) -> str:
    if bar is None:
        return _MISSING
    # A digit more, or it would read as if it did hold.
    return f"{bar.value:.3g}, holds" if bar.holds else f"{bar.value:.4g}, **fails**"


Cell = Callable[[str, Figures], str]
"""Returns what is shown of a contender."""


def _by_family(runs: Runs, settings: Mapping[str, str], cell: Cell, title: str) -> str:
    """Return a row for each contender in each setting, two families side by side.

    Args:
        runs: From which.
        settings: By what it is called in the table, the setting with {} for the family.
        cell: What is shown.
        title: Of the table.

    """
    columns = [(family, kept) for family in _FAMILIES for kept in runs]
    rows: list[list[str]] = []
    for told, setting in settings.items():
        found = [
            figures(kept.samples[setting.format(family)]) for family, kept in columns
        ]
        rows += [
            [told, name, *(_cell(name, one, cell) for one in found)]
            for name in dict.fromkeys(name for one in found for name in one)
        ]
    head = [title, "", *(f"{family}, {kept.python}" for family, kept in columns)]
    return grid(head, rows, words=2)


def _by_setting(runs: Runs, cell: Cell, title: str) -> str:
    """Return a row for each contender, and a column for each setting and Python."""
    settings = list(runs[0].samples)
    columns = [
        (f"{where}, {kept.python}" if settings[1:] else kept.python, figures(samples))
        for where in settings
        for kept in runs
        if (samples := kept.samples.get(where))
    ]
    names = dict.fromkeys(name for _, found in columns for name in found)
    return grid(
        [title, *(told for told, _ in columns)],
        [[name, *(_cell(name, found, cell) for _, found in columns)] for name in names],
    )


def _cell(name: str, found: Mapping[str, Figures], cell: Cell) -> str:
    return cell(name, found[name]) if name in found else _MISSING


def _adds(name: str, found: Figures) -> str:
    return f"({found.cpu:.0f} itself)" if name == BARE else f"{found.adds:+.0f}"


def _wall_and_cpu(_: str, found: Figures) -> str:
    return f"{_short(found.wall)} ({_short(found.cpu)})"


def _rate(name: str, found: Figures) -> str:
    rate = f"{found.per_second:,.0f}"
    return rate if name == BARE else f"{rate} ({1 / found.times_wall:.2f})"


def _cpu(name: str, found: Figures) -> str:
    cpu = f"{found.cpu:.0f}"
    return cpu if name == BARE else f"{cpu} ({found.times_cpu:.2f})"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= _WHOLE else f"{value:.1f}"


def _overhead(runs: Runs) -> list[str]:
    settings = {over: f"{over}, {{}}, async" for over in ("stub", "mock", "loopback")}
    title = "CPU added to a call, async, µs"
    return [_bars(runs), _by_family(runs, settings, _adds, title)]


def _loopback(runs: Runs) -> list[str]:
    settings = {callers: f"{{}}, {callers}" for callers in ("1 caller", "32 callers")}
    return [
        _by_family(runs, settings, _rate, "calls a second (of bare)"),
        _by_family(runs, settings, _cpu, "CPU of a call, µs (of bare)"),
    ]


def _server(runs: Runs) -> list[str]:
    title = "CPU added to a request, µs"
    return [_bars(runs), _by_setting(runs, _adds, title)]


def _ratelimit(runs: Runs) -> list[str]:
    title = "a decision, µs (of CPU)"
    return [_bars(runs), _by_setting(runs, _wall_and_cpu, title)]


def _overload(runs: Runs) -> list[str]:
    found: list[list[str]] = []
    kept = max(runs, key=lambda one: one.at)
    scale = Scale(**kept.found["scale"])
    for scenario, contenders in kept.found["per_second"].items():
        for name, records in contenders.items():
            played = [summarize(Record(**record), scale) for record in records]
            found.append([scenario, name, str(len(played)), *_played(played)])
    return [
        _bars(runs),
        grid(
            [
                *("", f"{kept.python}: median, and worst", "seeds"),
                *("meanwhile, %", "at the end, %", "tries", "recovers in, s"),
            ],
            found,
            words=2,
        ),
    ]


def _played(runs: Sequence[Summary]) -> list[str]:
    never = sum(run.recovered_in == float("inf") for run in runs)
    back = [run.recovered_in for run in runs]
    return [
        _percent([run.during for run in runs]),
        _percent([run.last for run in runs]),
        f"{median(run.tries_during for run in runs):.2f}",
        f"never, {never} of {len(runs)}"
        if never
        else _pair(median(back), max(back), ".0f", len(runs)),
    ]


def _percent(values: Sequence[float]) -> str:
    return _pair(100 * median(values), 100 * min(values), ".1f", len(values))


def _pair(middle: float, worst: float, form: str, of: int) -> str:
    return f"{middle:{form}}, {worst:{form}}" if of > 1 else f"{middle:{form}}"


def _faults(runs: Runs) -> list[str]:
    kept = max(runs, key=lambda one: one.at)
    rows = [row for row in kept.found["faults"] if row["policy"] == "open"]
    head = ["policy open, ms", "answer", "most", "later", "back", "most"]
    return [_worst(runs), grid(head, map(_fault, rows))]


def _fault(row: Mapping[str, Any]) -> list[str]:
    answers, back = row["answers"], row["back_after"]
    return [
        row["fault"],
        f"{median(half for _, half, _ in answers) * _MS:.1f}",
        f"{max(last for _, _, last in answers) * _MS:.0f}",
        f"{median(row['later']) * _MS:.2f}",
        f"{median(back) * _MS:.0f}",
        f"{max(back) * _MS:.0f}",
    ]


def _worst(runs: Runs) -> str:
    """Return of each bar the one that is nearest to failing."""
    found: dict[tuple[str, str], dict[str, Verdict]] = {}
    for kept in runs:
        for bar in kept.bars:
            of = found.setdefault((bar.claim, bar.limit), {})
            if kept.python not in of or bar.value > of[kept.python].value:
                of[kept.python] = bar
    return grid(
        ["the worst of all", "bar", *(kept.python for kept in runs)],
        (
            [*what, *(_verdict(bars.get(kept.python)) for kept in runs)]
            for what, bars in found.items()
        ),
        words=2,
    )


TABLES: Final[Mapping[str, Callable[[Runs], list[str]]]] = {
    "overhead": _overhead,
    "loopback": _loopback,
    "server": _server,
    "ratelimit": _ratelimit,
    "faults": _faults,
    "overload": _overload,
    "spike": _overload,
}
"""By benchmark, its tables."""
