"""Declaring a problem class, and what is refused there and then."""

import pickle
import warnings
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from resilient_http.problems import AppException, Contract, NotFoundException


class OutOfStock(AppException):
    """The shelf is empty."""

    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str
    available: int = 0


class Delivery(BaseModel):
    day: date
    tags: list[str] = []


def define(name: str = "Broken", **body: Any) -> type[AppException]:
    return type(name, (AppException,), body)


GOOD: dict[str, Any] = {"type": "broken", "title": "Broken", "status": 409}


@pytest.mark.case("9457-17")
@pytest.mark.parametrize("missing", ["title", "status"])
def test_a_type_without_title_or_status_is_refused(missing: str) -> None:
    body = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(TypeError, match=f"Broken has a type and no {missing}"):
        define(**body)


@pytest.mark.case("9457-17")
def test_a_contract_refuses_a_class_without_a_type() -> None:
    with pytest.raises(TypeError, match="Broken has no type"):
        Contract(define(title="Broken", status=409))


@pytest.mark.case("9457-17")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", ""),
        ("type", 5),
        ("type", "about:blank"),
        ("type", "out of\nstock"),
        ("title", " "),
        ("title", None),
        ("status", 200),
        ("status", "409"),
        ("status", True),
        ("retry", "always"),
    ],
)
def test_a_malformed_definition_names_the_attribute(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"Broken\.{name}"):
        define(**{**GOOD, name: value})


@pytest.mark.case("9457-19")
@pytest.mark.parametrize(
    "name",
    [
        *("type", "title", "status", "detail", "instance", "request", "response"),
        *("args", "url", "headers", "extra", "retry", "request_id", "retry_after"),
        *("attempts", "received", "work_not_started", "add_note", "with_traceback"),
    ],
)
def test_a_member_cannot_take_a_name_every_problem_has(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Broken\.{name}: the name is taken"):
        define(**GOOD, __annotations__={name: str})


@pytest.mark.case("9457-18")
@pytest.mark.parametrize("name", ["id", "größe"])
def test_a_member_name_that_readers_may_not_take_is_warned_of(name: str) -> None:
    with pytest.warns(UserWarning, match=rf"Broken\.{name}: RFC 9457"):
        define(**GOOD, __annotations__={name: str})


@pytest.mark.case("9457-18")
def test_an_ordinary_member_name_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        define(**GOOD, __annotations__={"sku_2": str})


def test_a_private_member_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Broken\._secret"):
        define(**GOOD, __annotations__={"_secret": str})


def test_a_member_of_a_type_without_json_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Broken\.lock"):
        define(**GOOD, __annotations__={"lock": object.__new__})


def test_a_member_type_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="Broken: a member's type is unknown"):
        define(**GOOD, __annotations__={"sku": "Nowhere"})


def test_an_alias_is_refused_rather_than_ignored() -> None:
    with pytest.raises(TypeError, match=r"Broken\.sku: no alias"):
        define(**GOOD, __annotations__={"sku": str}, sku=Field(alias="SKU"))


def test_two_classes_for_one_type_are_refused() -> None:
    first, second = define("First", **GOOD), define("Second", **GOOD)
    with pytest.raises(ValueError, match="Second and First have one type: 'broken'"):
        Contract(first, second)


def test_a_slug_of_the_built_ins_is_taken_unless_there_is_a_type_base() -> None:
    rival = define("Rival", type="not-found", title="Gone", status=404)
    with pytest.raises(ValueError, match="Rival and NotFoundException have one type"):
        Contract(rival)
    contract = Contract(rival, type_base="https://shop.example/problems/")
    assert contract.type_of(rival()) == "https://shop.example/problems/not-found"
    assert contract.type_of(NotFoundException()) == "not-found"


@pytest.mark.parametrize("base", ["problems/", "/problems/", "https://shop.example/p"])
def test_a_type_base_that_cannot_be_built_upon_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match=f"type_base must be .* got '{base}'"):
        Contract(OutOfStock, type_base=base)


@pytest.mark.parametrize("origin", ["shop", "ftp://shop", "http://", 5])
def test_an_origin_that_is_no_url_is_refused(origin: Any) -> None:
    with pytest.raises(ValueError, match="origins must be"):
        Contract(OutOfStock, origins=[origin])


def test_what_is_no_problem_class_is_refused() -> None:
    wrong: Any = ValueError
    with pytest.raises(TypeError, match="made of AppException classes"):
        Contract(wrong)


def test_an_abstract_base_hands_down_all_but_the_type() -> None:
    class ShopProblem(AppException):
        title = "The shop is in trouble"
        status = 409
        shelf: int = 1

    class Empty(ShopProblem):
        type = "empty"

    class Emptier(Empty):
        pass

    assert (Empty.title, Empty.status) == ("The shop is in trouble", 409)
    assert Empty(shelf=2).shelf == 2
    for abstract in (ShopProblem, Emptier):
        with pytest.raises(TypeError, match="has no type: raise a subclass"):
            abstract()


def test_members_are_checked_when_the_problem_is_raised() -> None:
    error = OutOfStock("Only 2 left", sku="A1", available=2)
    assert (error.sku, error.available, error.detail) == ("A1", 2, "Only 2 left")
    assert OutOfStock(sku="A1").available == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "OutOfStock needs its member 'sku'"),
        ({"sku": 5}, r"OutOfStock\.sku: .* got 5"),
        ({"sku": "A1", "available": "many"}, r"OutOfStock\.available: .* got 'many'"),
        ({"sku": "A1", "colour": "red"}, "OutOfStock has no member 'colour'"),
        ({"sku": "A1", "detail": 5}, r"OutOfStock\.detail must be text or None, got 5"),
        ({"sku": "A1", "extra": [1]}, r"OutOfStock\.extra must map names"),
        ({"sku": "A1", "headers": {1: "x"}}, r"OutOfStock\.headers must map names"),
        ({"sku": "A1", "retry_after": -1}, r"OutOfStock\.retry_after must be seconds"),
    ],
)
def test_a_bad_member_is_a_type_error(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        OutOfStock(**fields)


def test_constraints_and_factories_of_pydantic_hold() -> None:
    class Late(AppException):
        type = "late"
        title = "Late"
        status = 409
        minutes: int = Field(default=1, ge=1)
        stops: Annotated[list[str], Field(max_length=2)] = Field(default_factory=list)
        delivery: Delivery | None = None

    assert (Late().minutes, Late().stops) == (1, [])
    assert Late().stops is not Late().stops
    with pytest.raises(TypeError, match=r"Late\.minutes: .* got 0"):
        Late(minutes=0)
    with pytest.raises(TypeError, match=r"Late\.stops: "):
        Late(stops=["a", "b", "c"])


def test_a_shared_default_is_not_shared() -> None:
    class Listed(AppException):
        type = "listed"
        title = "Listed"
        status = 409
        names: list[str] = []  # noqa: RUF012 - the claim under test

    Listed().names.append("x")
    assert Listed().names == []


def test_a_class_made_in_a_function_may_name_its_local_types() -> None:
    class Local(BaseModel):
        depth: int

    class Holed(AppException):
        type = "holed"
        title = "Holed"
        status = 409
        hole: "Local"

    assert Holed(hole=Local(depth=2)).hole == Local(depth=2)


@pytest.mark.case("C52", "S56")
def test_a_problem_survives_pickling_with_all_it_says() -> None:
    error = OutOfStock(
        "Only 2 left", sku="A1", available=2, extra={"aisle": 4}, retry_after=3
    )
    error.request_id = "r-1"
    error.add_note("seen at the till")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is OutOfStock
    assert back == error
    assert vars(back) == vars(error)
    assert back.args == error.args == ("Only 2 left",)


def test_what_it_says_is_readable() -> None:
    error = OutOfStock("Only 2 left", sku="A1")
    assert str(error) == "Out of stock: Only 2 left"
    assert repr(error) == "OutOfStock('Only 2 left', sku='A1', available=0)"
    assert str(AppException()) == "Internal Server Error"


def test_problems_are_equal_when_they_say_the_same() -> None:
    error = OutOfStock("Only 2 left", sku="A1")
    assert error == OutOfStock("Only 2 left", sku="A1", available=0, instance="/here")
    assert hash(error) == hash(OutOfStock("Only 2 left", sku="A1"))
    assert error != OutOfStock("Only 2 left", sku="A2")
    assert error != OutOfStock("Only 3 left", sku="A1")
    assert error != "Out of stock: Only 2 left"
