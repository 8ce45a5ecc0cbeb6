"""What is said about speed is what was measured, and kept."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import loopback, overhead, readme
from benchmarks.claims import CLAIMS, Claim, compared, spread
from benchmarks.figures import Verdict
from benchmarks.kept import Kept, as_bar, keep, newest
from benchmarks.pictures import CHARTS, PICTURES, charts
from benchmarks.report import Run, as_kept
from benchmarks.rounds import Plan, Sample, Samples
from benchmarks.tables import TABLES, section

ROOT = readme.ROOT
QUOTING = ["README.md", *(str(it.relative_to(ROOT)) for it in ROOT.glob("docs/*.md"))]
QUOTING += [str(it.relative_to(ROOT)) for it in ROOT.glob("docs/server/*.md")]
ABOUT_SPEED = re.compile(
    r"\d ?(?:µs|% (?:less|more|faster|slower|of capacity)|times (?:as|faster|slower))"
    r"|\d[\d,.]* (?:calls|requests|decisions|round trips) a(?: second|n? )"
)
NOT_MEASURED = {
    # In virtual time, and held by tests/server/test_shedding_overload.py.
    ("docs/server/shedding.md", "% of capacity"),
    # The world that is played there.
    ("docs/overload.md", "50 requests a second"),
    ("README.md", "200 requests a second"),
}


@pytest.mark.parametrize(
    "page", ["benchmarks/README.md", *dict.fromkeys(it.page for it in CLAIMS)]
)
def test_a_page_says_what_its_files_say(page: str) -> None:
    """If not: `python -m benchmarks.readme` writes it anew."""
    assert (ROOT / page).read_text() == readme.pages()[ROOT / page]


def test_every_chart_is_of_the_newest_run() -> None:
    assert list(readme.stale_charts()) == []
    assert {it.name for it in CHARTS.iterdir()} == {it.name for it in charts()}


def test_every_benchmark_has_its_place_in_the_readme() -> None:
    places = re.findall(r"<!-- figures: (\w+) -->", readme.README.read_text())
    assert sorted(places) == sorted([readme.ALL, *TABLES])
    assert PICTURES.keys() <= TABLES.keys()


def test_the_links_of_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", readme.README.read_text()):
        assert link.startswith("https://") or (readme.README.parent / link).exists()


def test_every_file_of_results_is_read() -> None:
    """What nothing shows any more is in the history, not in the tree."""
    shown = {kept.path for name in TABLES for kept in newest(name)}
    assert set((ROOT / "benchmarks/results").glob("*.json")) == shown


@pytest.mark.parametrize("page", QUOTING)
def test_no_figure_about_speed_is_without_its_file(page: str) -> None:
    text = (ROOT / page).read_text()
    held = [it.found(text).span() for it in CLAIMS if it.page == page]
    for hit in ABOUT_SPEED.finditer(text):
        is_held = any(begin <= hit.start() < end for begin, end in held)
        is_other = any(
            page == where and words in hit[0] for where, words in NOT_MEASURED
        )
        assert is_held or is_other, text[hit.start() - 60 : hit.end() + 20]


def claim(sentence: str, *figures: str) -> Claim:
    return Claim("README.md", sentence, lambda: figures)


def test_a_claim_puts_its_figures_where_the_sentence_is() -> None:
    said = claim("takes {} less, and\nat most {} more".replace("\n", " "), "5 %", "7 s")
    assert (
        said.told("It takes 12 to 14 % less,\nand at most 6 s more. So it takes 1 %.")
        == "It takes 5 % less,\nand at most 7 s more. So it takes 1 %."
    )


@pytest.mark.parametrize("text", ["It takes none.", "takes 1 s less, takes 2 s less"])
def test_a_claim_wants_its_sentence_once(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"README\.md must say this once, not \d times"
    ):
        claim("takes {} less", "5 %").told(text)


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ([0.929, 0.922], "7 to 8 % less"),
        ([0.992, 0.998], "up to 1 % less"),
        ([0.95, 0.95], "5 % less"),
        ([1.0, 1.001], "under 1 % more"),
        ([1.0, 1.019], "up to 2 % more"),
        ([0.98, 1.03], "from 2 % less to 3 % more"),
    ],
)
def test_what_is_compared_is_told_in_words(ratios: list[float], words: str) -> None:
    assert compared(ratios) == words


def test_a_spread_is_from_the_least_to_the_most() -> None:
    assert spread([23.6, 21.3], ".0f") == "21 to 24"
    assert spread([23.6, 24.4], ".0f") == "24"


def kept(folder: Path, name: str, **told: Any) -> Kept:
    path = folder / name
    found = {"machine": {"python": "3.11.7"}, "at": "2026-01-01T00:00:00+00:00", **told}
    path.write_text(json.dumps(found))
    return Kept(path, found)


def test_the_newest_run_of_each_python_is_taken(tmp_path: Path) -> None:
    old, new = ({"at": f"2026-01-0{day}T00:00:00+00:00"} for day in (1, 2))
    on_old, on_new = ({"machine": {"python": it}} for it in ("3.9.2", "3.13.0"))
    kept(tmp_path, "server-b.json", **old)
    kept(tmp_path, "server-a.json", **new)
    kept(tmp_path, "server-c.json", **old, **on_new)
    kept(tmp_path, "server-d.json", **new, **on_old)
    kept(tmp_path, "overhead-e.json", **new)
    found = newest("server", tmp_path)
    assert [(it.python, it.path.name) for it in found] == [
        ("3.9", "server-d.json"),
        ("3.11", "server-a.json"),
        ("3.13", "server-c.json"),
    ]


def test_a_bar_is_read_as_it_was_kept(tmp_path: Path) -> None:
    most = Verdict("here", "ours", "µs", 2.0, 3.0)
    least = Verdict("there", "ours", "µs", 2.0, 2.5, is_least=True)
    run = kept(tmp_path, "server-a.json", bars=[as_bar(it) for it in (most, least)])
    assert run.bars == [most, least]
    assert (most.limit, least.limit) == ("at most 3", "at least 2.5")
    assert [it.holds for it in run.bars] == [True, False]


def told_again(run: Run, folder: Path) -> Kept:
    """Keep a run, and read what was kept."""
    path = keep(run.name, run.packages, as_kept(run), folder)
    [found] = newest(run.name, folder)
    assert found.path == path
    return found


def to_the_cent(settings: Mapping[Any, Samples]) -> dict[str, Samples]:
    return {
        str(where): {
            name: [Sample(round(it.wall, 2), round(it.cpu, 2)) for it in own]
            for name, own in samples.items()
        }
        for where, samples in settings.items()
    }


@pytest.mark.parametrize(
    "measured",
    [
        lambda: overhead.measured(Plan(rounds=2, calls=5), origins=5),
        lambda: loopback.measured(Plan(rounds=2, calls=32)),
    ],
    ids=["overhead", "loopback"],
)
def test_a_run_is_shown_as_it_was_measured(
    measured: Callable[[], Run], tmp_path: Path
) -> None:
    run = measured()
    for where, samples in run.samples.items():
        who = {*samples, *run.left_out[where]}
        assert {"bare", "resilient_http", "httpx-retries", "clientwright"} <= who
    found = told_again(run, tmp_path)
    assert found.samples == to_the_cent(run.samples)
    assert [bar.holds for bar in found.bars] == [bar.holds for bar in run.bars]
    shown = section(run.name, [found])
    assert f"CPython {platform.python_version()}](results/{found.path.name})" in shown
    for bar in found.bars:
        assert f"| {bar.where} | {bar.contender}, {bar.claim} | {bar.limit} |" in shown


def test_the_server_is_measured_beside_whom_there_is() -> None:
    command = [sys.executable, "-m", "benchmarks.server", "--quick"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "server_kit + access log" in done.stdout
    assert "raw:" not in done.stdout
