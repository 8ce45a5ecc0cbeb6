"""Which of many inputs are worth keeping: the short ones that reach what others do not.

By arcs from line to line, as any Python can trace them; libFuzzer counts more finely,
and would keep many that only it can tell apart.
"""

import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

from fuzz.targets import CORPUS, Target

MOST: Final = 16
"""Inputs of one target."""

LONGEST: Final = 300
"""Bytes of an input."""

Arc: TypeAlias = tuple[str, int, int]

_READ: Final = ("resilient_http", "server_kit", "http_sf")


def keep(target: Target, found: Iterable[Path]) -> int:
    """Put what reaches more than the corpus does into it; return how many."""
    known = target.corpus
    reached = {arc for file in known for arc in _arcs(target, file.read_bytes())}
    inputs = {data for file in found if len(data := file.read_bytes()) <= LONGEST}
    arcs = {data: _arcs(target, data) for data in sorted(inputs, key=len)}
    kept = 0
    while arcs and len(known) + kept < MOST:
        best = max(arcs, key=lambda data: len(arcs[data] - reached))
        gained = arcs.pop(best) - reached
        if not gained:
            break
        reached |= gained
        name = sha256(best).hexdigest()[:12]
        (CORPUS / target.name / name).write_bytes(best)
        kept += 1
    return kept


def _arcs(target: Target, data: bytes) -> set[Arc]:
    seen: set[Arc] = set()

    def entered(frame: FrameType, _event: str, _arg: Any) -> Any:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] not in _READ:
            return None
        at = frame.f_lineno

        def moved(frame: FrameType, _event: str, _arg: Any) -> Any:
            nonlocal at
            seen.add((frame.f_code.co_filename, at, frame.f_lineno))
            at = frame.f_lineno
            return moved

        return moved

    sys.settrace(entered)
    try:
        target.run(data)
    finally:
        sys.settrace(None)
    return seen
