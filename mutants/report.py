"""What came of the mutants: kept as JSON for each module, and told as a page."""

import json
import platform
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from mutants.targets import ROOT, TARGETS, Target
from mutants.trying import Verdict

RESULTS: Final = ROOT / "benchmarks" / "results" / "mutants"
PAGE: Final = ROOT / "docs" / "mutants.md"
EXPLAINED: Final = Path(__file__).with_name("survivors.toml")

_TOOLS: Final = ("mutmut", "libcst", "hypothesis", "pytest")

_FOUND: Final = "## What was found\n"
"""What stands above it is written by hand."""


class Mutant(Protocol):
    """A change that was tried."""

    @property
    def name(self) -> str:
        """Where, and from what to what."""

    @property
    def line(self) -> int:
        """Where."""


class Survivor(NamedTuple):
    """A change that no test noticed."""

    name: str
    line: int


class Found(NamedTuple):
    """What came of a module."""

    target: Target
    mutants: int
    killed: int
    stuck: int
    """Of those that were killed: the tests did not come to an end."""

    survivors: list[Survivor]

    @classmethod
    def of(cls, target: Target, verdicts: Sequence[tuple[Mutant, Verdict]]) -> "Found":
        """Sum up what became of the mutants."""
        survivors = [
            Survivor(one.name, one.line)
            for one, it in verdicts
            if it is Verdict.SURVIVED
        ]
        stuck = sum(it is Verdict.STUCK for _, it in verdicts)
        killed = len(verdicts) - len(survivors)
        return cls(target, len(verdicts), killed, stuck, survivors)

    def again(self, later: "Found") -> "Found":
        """Return the same, once its survivors have been tried anew."""
        return self._replace(
            mutants=self.killed + later.mutants,
            killed=self.killed + later.killed,
            stuck=self.stuck + later.stuck,
            survivors=later.survivors,
        )

    @property
    def share(self) -> float:
        """Of those that were killed."""
        return self.killed / self.mutants if self.mutants else 1.0

    def unexplained(self) -> list[Survivor]:
        """Return the survivors that nobody has accounted for."""
        known = explained(self.target.name)
        return [it for it in self.survivors if it.name not in known]

    def stale(self) -> list[str]:
        """Return what is accounted for and has not survived."""
        alive = {it.name for it in self.survivors}
        return [name for name in explained(self.target.name) if name not in alive]


def explained(module: str) -> dict[str, str]:
    """Return why a module's survivors survive, by their names."""
    groups = tomllib.loads(EXPLAINED.read_text()).get(module, [])
    return {name: group["why"] for group in groups for name in group["mutants"]}


def keep(found: Found) -> None:
    """Write what was found beside the results of the benchmarks."""
    RESULTS.mkdir(exist_ok=True)
    target = found.target
    kept = {
        "module": target.path,
        "judges": target.judges,
        **_digests(target),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "tools": {tool: version(tool) for tool in _TOOLS},
        "mutants": found.mutants,
        "killed": found.killed,
        "of_those_stuck": found.stuck,
        "survivors": [it._asdict() for it in found.survivors],
    }
    _file(target.name).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def kept(module: str) -> dict[str, Any]:
    """Return what was found when a module was last tried."""
    found: dict[str, Any] = json.loads(_file(module).read_text())
    return found


def has_changed(target: Target) -> bool:
    """Whether the module or its judges are not as they were when it was last tried."""
    return not _file(target.name).exists() or any(
        kept(target.name)[name] != digest for name, digest in _digests(target).items()
    )


def earlier(target: Target) -> Found:
    """Return what was found when the module, as it is, was last tried.

    Raises:
        LookupError: It has changed since.

    """
    found = kept(target.name)
    if found.get("source") != _digests(target)["source"]:
        raise LookupError(f"{target.name} has changed: its mutants are others")
    survivors = [Survivor(**it) for it in found["survivors"]]
    numbers = found["mutants"], found["killed"], found["of_those_stuck"]
    return Found(target, *numbers, survivors)


def page() -> str:
    """Return the page about all that is kept."""
    found = {name: kept(name) for name in TARGETS if _file(name).exists()}
    head, _, _ = PAGE.read_text().partition(_FOUND)
    return "\n".join([f"{head}{_FOUND}", *_table(found), *_survivors(found)])


def _file(module: str) -> Path:
    return RESULTS / f"{module}.json"


def _digests(target: Target) -> dict[str, str]:
    return {"source": _digest([target.path]), "tests": _digest(target.judges)}


def _digest(paths: Sequence[str]) -> str:
    return sha256(b"".join((ROOT / path).read_bytes() for path in paths)).hexdigest()


def _table(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "| module | mutants | killed | share | survive | tried |"
    yield "| --- | ---: | ---: | ---: | ---: | --- |"
    for one in found.values():
        yield _row(f"`{one['module']}`", [one], one["date"])
    yield _row("all", [*found.values()], "")
    yield ""
    if missing := [f"`{name}`" for name in TARGETS if name not in found]:
        yield f"Not tried yet: {', '.join(missing)}.\n"
    versions = {_versions(one) for one in found.values()}
    yield f"Tried with {'; '.join(sorted(versions))}.\n"


def _row(name: str, found: Sequence[dict[str, Any]], date: str) -> str:
    mutants = sum(one["mutants"] for one in found)
    killed = sum(one["killed"] for one in found)
    share = killed / max(1, mutants)
    return (
        f"| {name} | {mutants} | {killed} | {share:.1%} | {mutants - killed} | {date} |"
    )


def _versions(one: dict[str, Any]) -> str:
    tools = {"Python": one["python"], **one["tools"]}
    return ", ".join(f"{tool} {number}" for tool, number in tools.items())


def _survivors(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "## What survives, and why\n"
    for name, one in found.items():
        if not one["survivors"]:
            continue
        whys = explained(name)
        groups: dict[str, list[str]] = {}
        for it in one["survivors"]:
            why = whys.get(it["name"], "**Not explained.**")
            groups.setdefault(why, []).append(it["name"])
        yield f"### {name}\n"
        for why, names in groups.items():
            yield f"- {why}"
            yield from (f"  - `` {it} ``" for it in names)
        yield ""
