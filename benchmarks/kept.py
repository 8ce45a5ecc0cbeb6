"""What a run leaves: raw samples, versions and machine, in a file that is not edited.

Tables and charts are made from these files, and from nothing else.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Verdict
from benchmarks.rounds import Sample, Samples

RESULTS: Final = Path(__file__).parent / "results"

_LEAST: Final = "at_least"
_MOST: Final = "at_most"


@dataclass(frozen=True, slots=True)
class Kept:
    """A run of one benchmark, as its file tells it."""

    path: Path
    found: Mapping[str, Any]

    @property
    def python(self) -> str:
        """Which Python it ran on, such as 3.11."""
        return str(self.found["machine"]["python"]).rpartition(".")[0]

    @property
    def version(self) -> tuple[int, ...]:
        """The same, to sort by: 3.9 is older than 3.11."""
        return tuple(map(int, self.python.split(".")))

    @property
    def at(self) -> datetime:
        """When it ended."""
        return datetime.fromisoformat(self.found["at"])

    @property
    def samples(self) -> dict[str, Samples]:
        """What each contender took, by setting."""
        return {
            where: {name: _samples(own) for name, own in contenders.items()}
            for where, contenders in self.found["us_per_call"].items()
        }

    @property
    def bars(self) -> list[Verdict]:
        """What was held against it."""
        return [_bar(row) for row in self.found["bars"]]


def newest(name: str, folder: Path = RESULTS) -> list[Kept]:
    """Return the newest run of a benchmark on each Python, the oldest Python first.

    One on another Python stays until there is a newer one on that: it is true of the
    commit that it names.
    """
    found: dict[str, Kept] = {}
    for path in folder.glob(f"{name}-*.json"):
        kept = Kept(path, json.loads(path.read_text()))
        known = found.get(kept.python)
        if known is None or known.at < kept.at:
            found[kept.python] = kept
    return sorted(found.values(), key=lambda kept: kept.version)


def as_bar(bar: Verdict) -> dict[str, Any]:
    """Return a bar as a file has it."""
    return {
        "where": str(bar.where),
        "contender": bar.contender,
        "claim": bar.claim,
        "value": round(bar.value, 4),
        _LEAST if bar.is_least else _MOST: bar.bar,
        "holds": bar.holds,
    }


def _bar(row: Mapping[str, Any]) -> Verdict:
    is_least = _LEAST in row
    bar = row[_LEAST if is_least else _MOST]
    told = row["where"], row["contender"], row["claim"], row["value"]
    return Verdict(*told, bar, is_least)


def _samples(own: Mapping[str, list[float]]) -> list[Sample]:
    return [Sample(*pair) for pair in zip(own["wall"], own["cpu"], strict=True)]


def keep(
    name: str,
    packages: Iterable[str],
    found: Mapping[str, Any],
    folder: Path = RESULTS,
) -> Path:
    """Keep what was found, with versions and machine; return where.

    Args:
        name: What the file is called by.
        packages: Whose versions matter.
        found: What JSON can hold.
        folder: Where the file goes.

    """
    now = datetime.now(UTC)
    python = "py" + "".join(platform.python_version_tuple()[:2])
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{now:%Y%m%dT%H%M%SZ}-{python}.json"
    kept = {
        "at": now.isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": _versions(packages),
        **found,
    }
    path.write_text(json.dumps(kept) + "\n")
    return path


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


def _versions(packages: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
