"""Writing a problem, and the way there and back."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, model_serializer

from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    Contract,
    RateLimitException,
    ValidationError,
    ValidationException,
    encode,
    for_status,
    with_status,
)
from tests.drawn import Colour, Shelf, problems

BASE = "https://shop.example/problems/"


class OutOfStock(AppException):
    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str
    available: int = 0


SHOP = Contract(OutOfStock, type_base=BASE)
HEADERS = {"content-type": MEDIA_TYPE}


def test_the_document_has_the_shape_of_the_brief() -> None:
    error = ValidationException(
        "Request validation failed for 1 field(s)",
        errors=[ValidationError(field="email", message="no @", type="format")],
    )
    document = Contract().document(error, instance="/api/v1/users", request_id="abc123")
    assert list(document) == [
        *("type", "title", "status", "detail", "instance", "request_id", "errors")
    ]
    assert document["type"] == "validation-error"
    assert document["errors"][0]["field"] == "email"


def test_a_wait_is_whole_seconds_rounded_up() -> None:
    error = RateLimitException("Slow down", limit=100, remaining=0, retry_after=59.2)
    document = Contract().document(error)
    assert (document["retry_after"], document["limit"]) == (60, 100)


def test_with_a_type_base_types_are_absolute() -> None:
    assert SHOP.document(OutOfStock(sku="A1"))["type"] == BASE + "out-of-stock"
    assert Contract(OutOfStock).document(OutOfStock(sku="A1"))["type"] == "out-of-stock"


@pytest.mark.case("9457-19")
def test_extra_members_shadow_nothing() -> None:
    extra = {"type": "x", "status": 1, "sku": "B2", "request_id": "y", "aisle": 4}
    document = SHOP.document(OutOfStock(sku="A1", extra=extra), request_id="r")
    assert document["type"] == BASE + "out-of-stock"
    assert (document["status"], document["sku"]) == (409, "A1")
    assert (document["request_id"], document["aisle"]) == ("r", 4)
    assert "detail" not in document


@pytest.mark.case("9457-19")
def test_an_unsaid_standard_member_cannot_be_said_by_an_extra_one() -> None:
    document = SHOP.document(OutOfStock(sku="A1", extra={"detail": 5, "instance": 6}))
    assert not document.keys() & {"detail", "instance"}


@pytest.mark.case("S46")
def test_a_bare_status_has_its_class_or_its_phrase() -> None:
    assert for_status(404).type == "not-found"
    assert (for_status(418).type, for_status(418).title) == (
        "about:blank",
        "I'm a Teapot",
    )
    for status in (499, 599, 799):
        document = Contract().document(for_status(status, "odd"))
        assert (document["status"], document["title"]) == (status, f"HTTP {status}")


def test_a_status_of_its_own_leaves_the_class_alone() -> None:
    error = with_status(OutOfStock(sku="A1"), 410)
    assert (error.status, OutOfStock.status) == (410, 409)
    assert SHOP.document(error)["status"] == 410


class Rude(BaseModel):
    @model_serializer
    def written(self) -> dict[str, Any]:
        raise KeyError


class Loop:
    def __init__(self) -> None:
        self.me: Any = {"self": self}


@dataclass
class Held:
    it: Any = None


def holding(value: object = None) -> Held:
    """Return what holds `value`; itself without one."""
    held = Held(value)
    held.it = held if value is None else value
    return held


def without_end() -> Iterator[Any]:
    yield from without_end()


def endless() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    return loop


@pytest.mark.case("S44", "9457-33")
@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, None),
        (math.inf, None),
        ("\ud800", "?"),
        (b"\xff\x00a", "\ufffd\x00a"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        ({8, 1}, [1, 8]),
        ({1: {None: Colour.RED}}, {"1": {"null": "red"}}),
        ({"\ud800": 1}, {"?": 1}),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        (10**400, 10**400),
        (10**5000, hex(10**5000)),
        (Loop(), "<Loop>"),
        (holding(Loop()), {"it": "<Loop>"}),
        (holding(), "<Held>"),
        (holding(b"\xff"), "<Held>"),
        (Rude(), "<Rude>"),
        (Shelf(row=1), {"row": 1, "label": None}),
    ],
    ids=lambda value: repr(value)[:20] if value != 10**5000 else "long",
)
def test_what_json_cannot_hold_becomes_what_it_can(
    value: object, written: object
) -> None:
    body = encode({"value": value, "list": [value]})
    assert json.loads(body.decode()) == {"value": written, "list": [written]}
    assert b"NaN" not in body
    assert b"Infinity" not in body


@pytest.mark.case("S44", "9457-33")
def test_a_value_that_contains_itself_ends() -> None:
    written = json.loads(encode(endless()))
    for _ in range(20):
        written = written["loop"]
    assert json.loads(encode({"deep": json.loads("[" * 500 + "]" * 500)}))


@pytest.mark.case("S44", "9457-33")
def test_what_fails_when_it_is_read_is_named() -> None:
    for failing in (without_end(), (1 / 0 for _ in "x")):
        assert json.loads(encode({"value": failing})) == {"value": "<generator>"}


@pytest.mark.case("S44", "9457-33")
@pytest.mark.parametrize("value", [object(), b"\xff", math.nan, {1}, holding()])
def test_a_member_that_was_changed_since_is_written_all_the_same(value: Any) -> None:
    error = OutOfStock(sku="A1")
    error.sku = value
    body = encode(SHOP.document(error))
    assert json.loads(body.decode("utf-8"), parse_constant=pytest.fail).keys() >= {
        *("type", "title", "status", "sku")
    }


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.builds(object),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner)
    ),
    max_leaves=10,
)


@pytest.mark.case("S44", "9457-33")
@pytest.mark.property
@given(value=ANYTHING)
def test_anything_at_all_is_valid_json(value: object) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(encode({"value": value}).decode("utf-8"), parse_constant=refuse)


@pytest.mark.property
@given(sent=problems(), base=st.none() | st.just(BASE))
def test_what_is_raised_on_the_server_is_what_the_client_catches(
    sent: AppException, base: str | None
) -> None:
    contract = Contract(type(sent), type_base=base)
    body = encode(contract.document(sent, instance="/here", request_id="r-1"))
    caught = contract.parse(sent.status, HEADERS, body, "http://elsewhere/here")
    assert type(caught) is type(sent)
    assert caught == sent
    assert (caught.instance, caught.request_id) == ("/here", "r-1")
