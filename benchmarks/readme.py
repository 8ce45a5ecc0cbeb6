"""Writes every page that quotes figures from what is kept: `-m benchmarks.readme`.

With `--check` nothing is written, and the exit is 1 where a page or a chart says
something else than the newest files in results/.
"""

import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.claims import CLAIMS
from benchmarks.kept import newest
from benchmarks.pictures import CHARTS, charts, draw
from benchmarks.tables import TABLES, section, summary

ROOT: Final = Path(__file__).parents[1]
README: Final = Path(__file__).parent / "README.md"
ALL: Final = "all"
"""The place of what is said of all benchmarks together."""

_PLACE: Final = re.compile(
    r"(?<=<!-- figures: )(?P<name>\w+)(?P<open> -->\n).*?(?=<!-- end -->)",
    re.DOTALL,
)


def main() -> int:
    """Write every page and chart, or say which are not as they would be written."""
    parser = ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if one differs"
    )
    is_checked = parser.parse_args().check
    stale = list(stale_charts()) if is_checked else []
    for path, text in pages().items():
        if is_checked and path.read_text() != text:
            stale.append(path)
        elif not is_checked:
            path.write_text(text)
    if not is_checked and find_spec("matplotlib"):
        draw()
    for path in stale:
        sys.stdout.write(f"{path.relative_to(ROOT)} is not what results/ says\n")
    return 1 if stale else 0


def pages() -> dict[Path, str]:
    """Return each page as it should be."""
    found = {README: _PLACE.sub(_filled, README.read_text())}
    for claim in CLAIMS:
        path = ROOT / claim.page
        found[path] = claim.told(found.get(path) or path.read_text())
    return found


def _filled(place: "re.Match[str]") -> str:
    name = place["name"]
    if name == ALL:
        text = summary({benchmark: newest(benchmark) for benchmark in TABLES})
    else:
        text = section(name, newest(name))
    return f"{name}{place['open']}{text}\n"


def stale_charts() -> Iterator[Path]:
    """Yield the charts that are not of the newest run.

    Where matplotlib is installed, those as well that it would draw in other bytes.
    """
    with TemporaryDirectory() as folder:
        if find_spec("matplotlib"):
            draw(Path(folder))
        for chart in charts():
            path, again = CHARTS / chart.name, Path(folder) / chart.name
            is_of_it = path.exists() and chart.kept.path.name in path.read_text()
            if not is_of_it or _differs(path, again):
                yield path


def _differs(path: Path, again: Path) -> bool:
    return again.exists() and again.read_bytes() != path.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
