"""Problem classes that nobody has written, for properties that hold for all of them."""

import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from hypothesis import strategies as st
from pydantic import BaseModel

from resilient_http.problems import AppException
from resilient_http.problems.members import RESERVED

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WHOLE = st.integers(-(2**63), 2**63)
REAL = st.floats(allow_nan=False, allow_infinity=False)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Shelf(BaseModel):
    row: int
    label: str | None = None


SHELVES = st.builds(Shelf, row=WHOLE, label=st.none() | TEXT)

KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, TEXT),
    (int, WHOLE),
    (float, REAL),
    (bool, st.booleans()),
    (str | None, st.none() | TEXT),
    (int | str, WHOLE | TEXT),
    (Literal["a", "b"], st.sampled_from("ab")),
    (date, st.dates()),
    (time, st.times()),
    (datetime, st.datetimes(timezones=st.just(UTC))),
    (timedelta, st.timedeltas(timedelta(days=-999), timedelta(days=999))),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Colour, st.sampled_from(Colour)),
    (Shelf, SHELVES),
    (list[Shelf], st.lists(SHELVES, max_size=3)),
    (tuple[str, ...], st.lists(TEXT, max_size=3).map(tuple)),
    (frozenset[int], st.frozensets(WHOLE, max_size=3)),
    (dict[str, float], st.dictionaries(TEXT, REAL, max_size=3)),
    (dict[int, list[str]], st.dictionaries(WHOLE, st.lists(TEXT), max_size=3)),
]
"""What a member may be, and values whose JSON form pydantic reads back."""

TYPES = st.from_regex(
    r"(drawn-|tag:shop\.example,2026:|https://shop\.example/problems/)[a-z0-9-]{1,9}",
    fullmatch=True,
)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{2,9}", fullmatch=True).filter(
    lambda name: name not in RESERVED and not hasattr(AppException, name)
)


@st.composite
def problems(draw: st.DrawFn, most: int = 999) -> AppException:
    """Draw a class with any members, and a problem of it with any values.

    Args:
        most: The highest status.

    """
    chosen = draw(st.dictionaries(NAMES, st.sampled_from(KINDS), max_size=5))
    values = {name: draw(strategy) for name, (_, strategy) in chosen.items()}
    body: dict[str, Any] = {
        "type": draw(TYPES),
        "title": draw(TEXT.filter(str.strip)),
        "status": draw(st.integers(400, most)),
        "__annotations__": {name: kind for name, (kind, _) in chosen.items()},
    }
    cls: Any = type("Drawn", (AppException,), body)
    extra = draw(st.dictionaries(st.just("no member"), WHOLE))
    problem: AppException = cls(draw(st.none() | TEXT), extra=extra, **values)
    return problem
