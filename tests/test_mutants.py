"""That nothing is forgotten by `make mutants`, nor by the page about it."""

from pathlib import Path

import pytest

from mutants import report
from mutants.targets import ROOT, TARGETS

CORE = sorted((ROOT / "resilient_http/_core").glob("[!_]*.py"))


@pytest.mark.parametrize("module", CORE, ids=lambda it: it.stem)
def test_every_decision_of_the_client_is_tried(module: Path) -> None:
    assert TARGETS[module.stem].path == f"resilient_http/_core/{module.name}"


@pytest.mark.parametrize("name", TARGETS)
def test_its_judges_are_there(name: str) -> None:
    target = TARGETS[name]
    assert target.judges
    assert all((ROOT / it).is_file() for it in [target.path, *target.judges])


KEPT = [name for name in TARGETS if (report.RESULTS / f"{name}.json").exists()]


@pytest.mark.parametrize("name", KEPT)
def test_nine_of_ten_are_killed_and_the_rest_is_accounted_for(name: str) -> None:
    kept = report.kept(name)
    assert kept["killed"] >= 0.9 * kept["mutants"]
    whys = report.explained(name)
    assert {it["name"] for it in kept["survivors"]} <= set(whys)
    assert all(whys.values())


def test_the_page_tells_of_what_is_kept() -> None:
    assert report.PAGE.read_text() == report.page()
