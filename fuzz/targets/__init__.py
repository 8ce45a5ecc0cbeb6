"""One module for each parser.

`WORDS` is what the fuzzer may put in: the words of that parser's grammar. `run` feeds
the parser, and raises where it does not do as it says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Final

CORPUS: Final = Path(__file__).parent.parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, and what is promised of it."""

    name: str
    run: Callable[[bytes], None]
    words: tuple[bytes, ...]

    @property
    def corpus(self) -> list[Path]:
        """Inputs that each reach something that no other does."""
        return sorted((CORPUS / self.name).iterdir())


def names() -> list[str]:
    """Return what the targets are called, in order."""
    return sorted(module.name for module in iter_modules(__path__))


def target(name: str) -> Target:
    """Return a target; what it is to feed is imported now, and not before."""
    module = import_module(f"{__name__}.{name}")
    return Target(name, module.run, module.WORDS)
