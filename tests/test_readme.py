"""What the README and the pages of `docs` show runs, as a reader would run it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
WRITTEN = [*DOCS.glob("*.md"), *DOCS.glob("server/*.md")]
PAGES = {str(page.relative_to(DOCS)): page.read_text() for page in WRITTEN}
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = CODE.findall(README)
PAGE_BLOCKS = [(page, block) for page in PAGES for block in CODE.findall(PAGES[page])]
SHOWS_OUTPUT = {
    *("outage.py", "outage_sync.py", "seen.py", "profiles.py"),
    *("limits.py", "mails.py", "tokens.py"),
}
COMMANDS = re.findall(r"^make (\w+)", README, re.MULTILINE)
PORT = "8000"


def name_of(block: str) -> str:
    named = re.match(r"# (\w+\.py):", block)
    return named[1] if named else f"block_{BLOCKS.index(block)}.py"


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run Python on these modules, and not on those that happen to be installed."""
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every block in a file, and the server running on a port that is free."""
    here = tmp_path_factory.mktemp("readme")
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"]
    for block in BLOCKS:
        (here / name_of(block)).write_text(block)
    ours = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=here, env=ours, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            port = wait_for_port(server)
            for block in BLOCKS:
                (here / name_of(block)).write_text(block.replace(PORT, port))
            yield here
        finally:
            server.terminate()


def wait_for_port(server: "subprocess.Popen[str]") -> str:
    assert server.stderr is not None
    for line in server.stderr:
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", line)
        if found:
            return found[1]
    raise AssertionError("the server of the README did not start")


@pytest.mark.parametrize("name", [name_of(block) for block in BLOCKS])
def test_every_block_runs(folder: Path, name: str) -> None:
    done = run(folder, name)
    assert (done.returncode, done.stderr) == (0, "")
    if name == "caller.py":
        assert re.fullmatch(r"2 left, says request \S+\n", done.stdout)


@pytest.mark.parametrize(
    ("page", "name"), [(page, name_of(block)) for page, block in PAGE_BLOCKS]
)
def test_every_block_of_the_docs_runs(tmp_path: Path, page: str, name: str) -> None:
    for where, block in PAGE_BLOCKS:
        if where == page:
            (tmp_path / name_of(block)).write_text(block)
    how = ["-m", "pytest"] if name.startswith("test_") else []
    done = run(tmp_path, *how, name)
    assert (done.returncode, done.stderr) == (0, "")
    if name in SHOWS_OUTPUT:
        assert f"```\n{done.stdout}```" in PAGES[page]


def test_there_are_blocks_for_both_ends() -> None:
    assert {"problems.py", "app.py", "caller.py"} <= {name_of(b) for b in BLOCKS}


def test_the_commands_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert COMMANDS == ["demo", "test"]
    assert set(COMMANDS) <= set(targets)


def test_the_links_lead_somewhere() -> None:
    pages = [(ROOT, README)]
    pages += [((DOCS / page).parent, text) for page, text in PAGES.items()]
    for folder, text in pages:
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert link.startswith("https://") or (folder / link).exists(), link
