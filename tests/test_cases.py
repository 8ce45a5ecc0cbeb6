"""Every case that is claimed is shown: a number in the list below, a mark on a test."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent

SHOWN = {
    *(f"C{number}" for number in [*range(1, 5), *range(6, 13), 14, 15, 17, 18]),
    *(f"C{number}" for number in [20, 21, *range(23, 34), *range(35, 39), 40, 42]),
    *(f"C{number}" for number in [43, 45, 46, 47, *range(49, 53), 54]),
    *("S48", "S49", "S50", "S51"),
    *("S33", "S35", "S36", "S38", "S40", "S44", "S45", "S46", "S54", "S56"),
    *(f"R{number}" for number in [*range(1, 10), *range(14, 18), *range(19, 23)]),
    *("R24", "R26", "R31", "R32"),
    *("R27", "R28", "R29", "R39", "S51", "S58", "S59"),
    *(f"9457-{number}" for number in [*range(1, 10), *range(17, 21), 26, 29, 33, 34]),
    *("S34", "S39", "S41", "S42", "S53", "S57"),
    *(f"9457-{number}" for number in [*range(10, 17), *range(21, 25), 27, 31, 32]),
    *(f"RL-{number}" for number in range(26, 33)),
    *(f"RA-{number}" for number in range(1, 10)),
    *(f"OW-{number}" for number in range(1, 24)),
    "S53",
    *("R28", "R33", "R35", "S31", "S51", "S60", *(f"IK-{n}" for n in range(1, 18))),
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
