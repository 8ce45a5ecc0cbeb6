"""Reading whatever a server may answer with."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    Contract,
    NotFoundException,
    OverloadedException,
    RateLimitException,
    ServiceUnavailableException,
    ValidationException,
)

URL = "http://shop/orders"
BASE = "https://shop.example/problems/"


class OutOfStock(AppException):
    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str
    available: int = 0


class Elsewhere(AppException):
    type = "https://bank.example/problems/out-of-stock"
    title = "Out of money"
    status = 402


SLUGS = Contract(OutOfStock)
SHOP = Contract(OutOfStock, Elsewhere, type_base=BASE)


def read(
    members: object,
    headers: dict[str, str] | None = None,
    *,
    status: int = 409,
    contract: Contract = SLUGS,
) -> AppException:
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    fields = {"Content-Type": MEDIA_TYPE, **(headers or {})}
    return contract.parse(status, fields, body, URL)


def test_a_known_type_becomes_its_class() -> None:
    document = {
        "type": "out-of-stock",
        "title": "Out of stock",
        "status": 409,
        "detail": "Only 2 left",
        "instance": "/orders",
        "request_id": "r-1",
        "sku": "A1",
        "available": 2,
    }
    error = read(document)
    assert isinstance(error, OutOfStock)
    assert error == OutOfStock("Only 2 left", sku="A1", available=2)
    assert (error.instance, error.request_id) == ("/orders", "r-1")
    assert error.received


@pytest.mark.case("9457-3")
def test_no_type_is_about_blank() -> None:
    error = read({"detail": "gone"}, status=404)
    assert type(error) is NotFoundException
    assert (error.type, error.detail) == ("about:blank", "gone")


@pytest.mark.case("9457-4", "C51")
@pytest.mark.parametrize("odd", [5, None, [], {}, True, ""])
def test_a_type_that_is_no_text_is_about_blank(odd: object) -> None:
    error = read({"type": odd, "detail": "gone"}, status=404)
    assert type(error) is NotFoundException
    assert (error.type, error.detail) == ("about:blank", "gone")


@pytest.mark.case("9457-5", "9457-29", "C51")
@pytest.mark.parametrize("stated", ["404", 404.0, True, None, [404]])
def test_a_status_member_that_is_no_integer_is_ignored(stated: object) -> None:
    error = read({"type": "out-of-stock", "sku": "A1", "status": stated})
    assert (type(error), error.status, error.extra) == (OutOfStock, 409, {})


@pytest.mark.case("9457-29", "C51")
def test_the_http_status_wins_and_the_other_is_kept() -> None:
    error = read({"type": "out-of-stock", "sku": "A1", "status": 404}, status=410)
    assert isinstance(error, OutOfStock)
    assert (error.status, error.extra) == (410, {"status": 404})


@pytest.mark.case("9457-6", "C51")
@pytest.mark.parametrize("name", ["title", "detail", "instance", "request_id"])
@pytest.mark.parametrize("odd", [["x"], {}, 1, None, True])
def test_an_odd_member_is_ignored_alone(name: str, odd: object) -> None:
    good = {"title": "Full", "detail": "d", "instance": "/i", "request_id": "r"}
    error = read({**good, name: odd, "type": "out-of-stock", "sku": "A1"})
    said = {member: getattr(error, member) for member in good}
    unsaid = "Out of stock" if name == "title" else None
    assert said == {**good, name: unsaid}
    assert isinstance(error, OutOfStock)
    assert error.sku == "A1"


@pytest.mark.case("9457-6", "C51")
def test_a_declared_member_of_the_wrong_type_holds_its_default() -> None:
    error = read({"type": "out-of-stock", "sku": ["A1"], "available": "many"})
    assert isinstance(error, OutOfStock)
    assert vars(error)["sku"] is None
    assert (error.available, error.extra) == (0, {})


@pytest.mark.case("9457-7")
def test_unknown_members_stay_readable() -> None:
    error = read({"type": "out-of-stock", "sku": "A1", "shelf": {"row": 4}, "x": None})
    assert error.extra == {"shelf": {"row": 4}, "x": None}


@pytest.mark.case("9457-8")
def test_a_relative_type_is_resolved_against_where_it_came_from() -> None:
    members = {"type": "out-of-stock", "sku": "A1"}
    body = json.dumps(members).encode()

    def seen(url: str) -> type[AppException]:
        return type(SHOP.parse(409, {"content-type": MEDIA_TYPE}, body, url))

    assert seen("https://shop.example/problems/123") is OutOfStock
    assert seen("https://shop.example/widgets/456") is not OutOfStock
    assert seen("https://bank.example/problems/1") is Elsewhere
    assert type(read({**members, "type": "/problems/out-of-stock"})) is not OutOfStock


@pytest.mark.case("9457-9")
def test_two_services_may_end_their_types_alike() -> None:
    ours = read({"type": BASE + "out-of-stock", "sku": "A1"}, contract=SHOP)
    theirs = read({"type": Elsewhere.type}, contract=SHOP, status=402)
    assert (type(ours), type(theirs)) == (OutOfStock, Elsewhere)
    assert type(read({"type": "https://else.example/out-of-stock"})) is not OutOfStock


@pytest.mark.case("9457-8")
def test_built_in_slugs_are_known_to_every_contract() -> None:
    for contract in (SLUGS, SHOP):
        error = read({"type": "overloaded"}, status=503, contract=contract)
        assert type(error) is OverloadedException


@pytest.mark.case("RL-23", "RL-24", "RL-25")
def test_the_registered_types_of_the_ratelimit_draft_are_understood() -> None:
    base = "https://iana.org/assignments/http-problem-types#"
    error = read(
        {"type": base + "quota-exceeded", "violated-policies": ["a"]}, status=429
    )
    assert type(error) is RateLimitException
    assert error.extra == {"violated-policies": ["a"]}
    error = read({"type": base + "temporary-reduced-capacity"}, status=503)
    assert type(error) is OverloadedException
    error = read({"type": base + "abnormal-usage-detected"}, status=429)
    assert type(error) is RateLimitException


@pytest.mark.case("C51")
@pytest.mark.parametrize("reference", ["//[", "http://[::1/x", "http://a]/"])
def test_a_type_that_resolves_to_nothing_is_unknown(reference: str) -> None:
    error = read({"type": reference, "detail": "gone"}, status=404)
    assert (type(error), error.type) == (NotFoundException, reference)
    assert error.detail == "gone"


@pytest.mark.case("9457-34", "C51")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b'{"type": "out-of-st',
        b"[]",
        b"null",
        b'"out-of-stock"',
        b"\xff\xfe\x00",
        b"\x80abc",
        b"[" * 50_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"status": ' + b"9" * 10_000 + b"}",
        b'{"detail": "' + b"x" * 200_000 + b'"}',
    ],
    ids=lambda body: f"{body[:12]!r}...{len(body)}",
)
def test_a_document_that_cannot_be_read_is_its_status(body: bytes) -> None:
    error = read(body, status=503)
    assert type(error) is ServiceUnavailableException
    assert (error.type, error.detail, error.extra) == ("about:blank", None, {})


@pytest.mark.case("C51")
@pytest.mark.parametrize(
    ("content_type", "understood"),
    [
        ("application/problem+json", True),
        ("application/problem+json; charset=utf-8", True),
        ("Application/Problem+JSON ;v=1", True),
        ("application/json", False),
        ("", False),
    ],
)
def test_only_a_problem_media_type_makes_a_problem(
    content_type: str, *, understood: bool
) -> None:
    body = b'{"type": "out-of-stock", "sku": "A1"}'
    error = SLUGS.parse(409, {"content-type": content_type}, body, URL)
    assert (type(error) is OutOfStock) is understood
    assert error.status == 409


def test_headers_may_be_any_mapping() -> None:
    headers = {b"CONTENT-TYPE": b"application/problem+json", b"retry-AFTER": b"7"}
    error = SLUGS.parse(409, headers, b'{"type": "out-of-stock", "sku": "A1"}', URL)
    assert (type(error), error.retry_after) == (OutOfStock, 7.0)


@pytest.mark.case("C51")
@pytest.mark.parametrize(
    ("members", "headers", "retry_after"),
    [
        ({}, {}, None),
        ({"retry_after": 60}, {}, 60.0),
        ({"retry_after": 60}, {"Retry-After": "7"}, 7.0),
        ({"retry_after": 60}, {"Retry-After": "soon"}, 60.0),
        ({"retry_after": "60"}, {}, None),
        ({"retry_after": True}, {}, None),
        ({"retry_after": -1}, {}, None),
        ({"retry_after": 10**400}, {}, None),
    ],
)
def test_the_wait_is_the_headers_before_the_documents(
    members: dict[str, Any], headers: dict[str, str], retry_after: float | None
) -> None:
    assert read(members, headers, status=429).retry_after == retry_after


def test_an_unknown_status_is_an_app_exception() -> None:
    error = read({}, status=418)
    assert type(error) is AppException
    assert (error.status, error.title) == (418, "I'm a Teapot")
    assert read({}, status=799).title == "HTTP 799"


def test_the_request_id_may_stand_in_a_header() -> None:
    assert read({}, {"X-Request-ID": "r-2"}).request_id == "r-2"


def test_validation_errors_are_read_as_such() -> None:
    field = {"field": "email", "message": "no @", "type": "format", "value": "x"}
    error = read({"type": "validation-error", "errors": [field]}, status=422)
    assert isinstance(error, ValidationException)
    assert error.errors[0].field == "email"
    assert error.errors[0].value == "x"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = ["type", "title", "status", "detail", "instance", "request_id", "sku"]


@pytest.mark.case("C51", "9457-7")
@pytest.mark.property
@given(
    members=st.dictionaries(st.sampled_from([*NAMES, "available"]) | st.text(), JSON),
    status=st.integers(400, 999),
    contract=st.sampled_from([SLUGS, SHOP]),
)
def test_any_document_is_the_status_error_and_never_a_parsers(
    members: dict[str, Any], status: int, contract: Contract
) -> None:
    error = read(members, status=status, contract=contract)
    assert error.status == status
    assert error.received
    str(error), repr(error)


@pytest.mark.case("C51", "9457-34")
@pytest.mark.property
@given(body=st.binary(), content_type=st.text(), retry_after=st.text(), url=st.text())
def test_any_bytes_are_the_status_error(
    body: bytes, content_type: str, retry_after: str, url: str
) -> None:
    headers = {"content-type": content_type, "retry-after": retry_after}
    for fields in (headers, {**headers, "content-type": MEDIA_TYPE}):
        assert SLUGS.parse(500, fields, body, url).status == 500
