"""What fuzzing has found, fed to its targets again."""

from pathlib import Path

import pytest

from fuzz import keep
from fuzz.targets import Target, names, target

TARGETS = [target(name) for name in names()]
CORPUS = [(one, file) for one in TARGETS for file in one.corpus]


@pytest.mark.parametrize(
    ("one", "file"),
    [pytest.param(one, file, id=f"{one.name}/{file.name}") for one, file in CORPUS],
)
def test_no_input_of_the_corpus_breaks_a_promise(one: Target, file: Path) -> None:
    one.run(file.read_bytes())


def test_the_corpus_is_small() -> None:
    assert all(one.corpus for one in TARGETS)
    assert len(CORPUS) < 200
    assert all(len(file.read_bytes()) <= keep.LONGEST for _, file in CORPUS)
