"""Errors of validators as the members of one problem, by example."""

from typing import Any

import pytest

from server_kit.validation import from_pydantic, looks_secret, pointer


def error(*loc: str | int, kind: str = "int_type", **more: Any) -> dict[str, Any]:
    return {"loc": loc, "msg": "Input is wrong", "type": kind, **more}


@pytest.mark.case("9457-21")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([], "#"),
        ([""], "#/"),
        (["profile", "color"], "#/profile/color"),
        (["items", 0, "name"], "#/items/0/name"),
        (["a/b", "c~d", "~1"], "#/a~1b/c~0d/~01"),
        (["e f", 'g"h', "caf\u00e9"], "#/e%20f/g%22h/caf%C3%A9"),
        (["a#b", "50%", "\ud800"], "#/a%23b/50%25/?"),
    ],
    ids=str,
)
def test_a_pointer_is_a_uri_fragment(path: list[str | int], expected: str) -> None:
    assert pointer(path) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("password", "userPassword", "PASSWD", "pass", "new_pwd", "clientSecret"),
        *("access_token", "X-API-Key", "apikey", "api_key", "Authorization", "auth"),
        *("card", "cardNumber", "cvv", "pin", "ssn", "session_id", "otp", "jwt"),
        *("private-key", "IBAN", "creditCard", "set-cookie", "HTTPToken"),
    ],
)
def test_names_that_look_secret(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("email", "author", "compass", "passenger", "shipping", "footprint", "page"),
        *("cardinality", "monkey", "count", "sku", "opinion", "0", ""),
    ],
)
def test_names_that_do_not_look_secret(name: str) -> None:
    assert not looks_secret(name)


@pytest.mark.case("S45")
@pytest.mark.parametrize("kind", ["missing", "missing_argument"])
def test_what_is_missing_has_no_value(kind: str) -> None:
    (found,) = from_pydantic([error("query", "page", kind=kind, input="all")]).errors
    assert (found.field, found.location, found.value) == ("page", "query", None)


def test_a_secret_above_a_field_is_a_secret() -> None:
    said = [error("body", "credentials", "pair", 0, input="x")]
    assert from_pydantic(said).errors[0].value is None


@pytest.mark.parametrize(
    "value", [10**100, -(10**5000), b"x", None, {"a": 1}, [1]], ids=range(6)
)
def test_what_is_no_short_scalar_is_not_repeated(value: object) -> None:
    (found,) = from_pydantic([error("body", "field", input=value)]).errors
    assert found.value is None


def test_errors_of_no_request_are_about_a_document_of_their_own() -> None:
    (found,) = from_pydantic([error("body", "x", input=5)], located=False).errors
    assert (found.field, found.pointer, found.location) == ("body.x", "#/body/x", None)
    (found,) = from_pydantic([error()], located=False).errors
    assert (found.field, found.pointer) == ("body", "#")


def test_several_errors_of_one_field_are_one_field() -> None:
    said = [error("body", "x"), error("body", "x", kind="str_type")]
    assert from_pydantic(said).detail == "Request validation failed for 1 field(s)"
    said = [error("body", "x"), error("query", "x")]
    assert from_pydantic(said).detail == "Request validation failed for 2 fields"


@pytest.mark.parametrize("said", ["what", None, 5, {}, {"loc": None}, {"loc": [None]}])
def test_errors_of_another_shape_are_errors_all_the_same(said: object) -> None:
    (found,) = from_pydantic([said]).errors
    assert (found.field, found.message, found.type) == (
        *("body", "Invalid value", "invalid"),
    )


def test_a_field_that_a_validator_of_the_whole_names_is_kept() -> None:
    body = {"start": 5}
    said = [error("body", "end", kind="value_error", input=None)]
    assert from_pydantic(said, body=body).errors[0].pointer == "#/end"


@pytest.mark.parametrize(
    ("kind", "message", "told"),
    [
        ("value_error", "value is not a valid email address: no @-sign", "format"),
        ("string_pattern_mismatch", "String should match pattern '.+@.+'", "format"),
        ("value_error", "Value error, too odd", "value_error"),
        ("string_too_short", "String should have 3 characters", "string_too_short"),
    ],
)
def test_text_that_is_not_written_as_it_should_is_of_the_wrong_format(
    kind: str, message: str, told: str
) -> None:
    said = {"loc": ("body", "email"), "type": kind, "msg": message, "input": "x"}
    (fault,) = from_pydantic([said]).errors
    assert fault.type == told


def test_a_branch_of_a_union_is_no_part_of_the_body() -> None:
    body = {"pet": {"kind": "cat"}, "either": {"a": 1}}
    said = [
        error("body", "pet", "cat", "lives", kind="missing", input=body["pet"]),
        error("body", "either", "int", input=body["either"]),
        error("body", "either", "list[int]", 3, input=5),
    ]
    places = [found.pointer for found in from_pydantic(said, body=body).errors]
    assert places == ["#/pet/lives", "#/either", "#/either/3"]
