"""A part of the incident search, and what makes its word worth something."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from incidents import planted
from incidents.run import Report, run, run_seed, shrunk
from incidents.schedule import draw

ROOT = Path(__file__).parents[1]
BATCH = 16
BATCHES = range(4)
MOST = 200
"""Schedules within which each planted bug is to be found."""
SAME = (0, 3, 5)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(60)  # an outage has its lines, and here are many


@pytest.mark.parametrize("batch", BATCHES)
def test_no_schedule_breaks_a_promise(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        report = run_seed(seed)
        assert report.violations == [], replay(report)


def replay(report: Report) -> str:
    return f"python -m incidents --replay {report.schedule.seed}"


@pytest.mark.parametrize("name", planted.BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    bug = planted.BUGS[name]
    with bug.planted():
        found = next(filter(None, (names_of(seed) for seed in range(MOST))), set())
    assert bug.breaks in found, found


def names_of(seed: int) -> set[str]:
    return {violation.name for violation in run_seed(seed).violations}


def test_what_is_found_is_shown_without_what_does_not_matter() -> None:
    name = "permit_lost_on_cancellation"
    with planted.with_bug(name):
        report = next(
            found for seed in range(MOST) if (found := run_seed(seed)).violations
        )
        smaller = shrunk(report)
        names = {violation.name for violation in run(smaller).violations}
    assert planted.BUGS[name].breaks in names
    assert 4 * len(smaller.parts()) < len(report.schedule.parts())
    assert run(smaller).violations == []


def test_a_seed_is_one_run_whatever_the_hashes_are() -> None:
    ours = [digest_of(seed) for seed in SAME]
    command = "from tests.test_incidents import tell; tell()"
    for hashes in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", command],
            env={**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert told.stdout.split() == ours


def tell() -> None:
    print(*(digest_of(seed) for seed in SAME))  # noqa: T201 - to the test above


def digest_of(seed: int) -> str:
    trace = "\n".join(run_seed(seed, trace=True).trace)
    assert trace
    return hashlib.sha256(trace.encode()).hexdigest()


def test_schedules_differ_and_a_seed_has_but_one() -> None:
    assert draw(7) == draw(7)
    assert len({repr(draw(seed)) for seed in range(20)}) == 20
