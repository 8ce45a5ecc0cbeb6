"""Every case that is claimed is shown: a number in the list below, a mark on a test."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent

SHOWN = {
    *("C3", "C28", "C29", "C30", "C33", "C36", "C37", "C45", "C46", "C51", "C52"),
    *("S33", "S35", "S36", "S38", "S40", "S44", "S45", "S46", "S54", "S56"),
    *("R7", "R8", "R14", "R15", "R26", "R31", "R32"),
    *(f"9457-{number}" for number in [*range(1, 10), *range(17, 21), 26, 29, 33, 34]),
    *(f"RL-{number}" for number in range(26, 33)),
    *(f"RA-{number}" for number in range(1, 10)),
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
