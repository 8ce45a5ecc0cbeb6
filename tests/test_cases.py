"""Every case that is claimed is shown: a number in the list below, a mark on a test."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent

SHOWN = {
    *(f"C{number}" for number in [*range(1, 5), *range(6, 13), 14, 15, 17, 18]),
    *(f"C{number}" for number in [20, 21, *range(23, 34), *range(35, 39), 40, 42]),
    *(f"C{number}" for number in [43, 45, 46, 47, *range(49, 53), 54]),
    *(f"S{number}" for number in [*range(1, 12), *range(13, 20), *range(21, 26)]),
    *(f"S{number}" for number in [27, 28, *range(30, 37), *range(38, 43)]),
    *(f"S{number}" for number in range(44, 47)),
    *(f"S{number}" for number in [*range(48, 52), 53, 54, *range(56, 61)]),
    *(f"R{number}" for number in [*range(1, 10), *range(14, 18), *range(19, 23)]),
    *(f"R{number}" for number in [24, *range(26, 30), *range(31, 34), 35, 36, 38, 39]),
    *(f"9457-{number}" for number in range(1, 35)),
    *(f"RL-{number}" for number in range(1, 34)),
    *(f"RA-{number}" for number in range(1, 10)),
    *(f"IK-{number}" for number in range(1, 18)),
    *(f"OW-{number}" for number in range(1, 24)),
}
"""Bugs of peers, and sentences of standards, that this code is held to so far."""


def marked(path: Path) -> set[str]:
    """Return the numbers that the tests of one file are marked with."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.case":
            found |= {ast.literal_eval(argument) for argument in node.args}
    return found


def test_every_case_is_shown_by_a_test() -> None:
    everywhere = set[str]().union(*(marked(path) for path in TESTS.rglob("test_*.py")))
    assert SHOWN - everywhere == set()
