"""Feed one target one file: `python -m fuzz.replay TARGET FILE`."""

import sys
from pathlib import Path

from fuzz.targets import target

if __name__ == "__main__":
    _, name, file = sys.argv
    target(name).run(Path(file).read_bytes())
    print(f"{name}: clean")
