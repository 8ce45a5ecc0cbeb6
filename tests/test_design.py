"""What `docs/design.md` draws is what the code has a table of."""

import re
from pathlib import Path

import pytest

from resilient_http._core.breaker import TRANSITIONS
from server_kit.idempotency import ledger
from tests.test_architecture import MAY_IMPORT

ROOT = Path(__file__).parents[1]
DESIGN = (ROOT / "docs/design.md").read_text()
TREES = ("resilient_http", "server_kit", "tests")
NAMED = sorted(set(re.findall(r"`([\w/]+(?:\.py|/))`", DESIGN)))


def section(heading: str) -> str:
    """Return what stands under a heading that begins so."""
    _, _, after = DESIGN.partition(f"\n{heading}")
    assert after, f"there is no {heading}"
    return re.split(r"^##", after, maxsplit=1, flags=re.MULTILINE)[0]


def drawn(heading: str) -> set[tuple[str, str, str]]:
    """Return the arrows of the first diagram under a heading: from, to and why."""
    arrows = re.findall(r"^  (\w+) --> (\w+): (.+)$", section(heading), re.MULTILINE)
    return set(arrows)


def test_the_breaker_is_drawn_as_it_moves() -> None:
    moves = {(now, then, cause) for (now, cause), then in TRANSITIONS.items()}
    assert drawn("### Breaker") == moves


def test_a_claim_is_drawn_as_the_ledger_tells_of_it() -> None:
    line = re.compile(r"^    (\w+) +-- (.+) --> +(\w+)", re.MULTILINE)
    told = {(now, then, why) for now, why, then in line.findall(str(ledger.__doc__))}
    assert told <= drawn("### Idempotency claim")
    assert len(told) >= 5


def test_the_arrows_are_those_that_are_held() -> None:
    rows = re.findall(
        r"^\| `(.+?)` \| (.+) \|$", section("## The arrows"), re.MULTILINE
    )
    told = {place: set(re.findall(r"`(.+?)`", names)) for place, names in rows}
    assert told == MAY_IMPORT


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", DESIGN))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).exists()


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_is_there(name: str) -> None:
    found = [hit for tree in TREES for hit in (ROOT / tree).rglob(name.rstrip("/"))]
    assert found or (ROOT / name).exists()
