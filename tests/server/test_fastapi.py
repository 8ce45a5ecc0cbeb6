"""FastAPI apps: what is found wrong with a request, and by whom.

What holds for every framework alike is in `test_problems`, and what Starlette does
below it in `test_starlette`.
"""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import pytest
from fastapi import (
    APIRouter,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Form,
    Header,
    HTTPException,
    Request,
)
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

import server_kit
from resilient_http.problems import (
    MEDIA_TYPE,
    Contract,
    ValidationError,
    ValidationException,
)
from tests.server.apps import SHOP, OutOfStock, ask, fastapi_app, serve


class Line(BaseModel):
    sku: str
    count: int


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: str = Field(pattern=".+@.+")
    lines: list[Line] = []
    password: int = 0
    note: int | list[int] = 0
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    rate: float = Field(0, allow_inf_nan=False)


app = server_kit.wrap(FastAPI(), contract=SHOP)


@app.post("/orders")
async def order(order: Order) -> None: ...


@app.post("/embedded")
async def embedded(order: Order, line: Line) -> None: ...


@app.post("/form")
async def form(count: Annotated[int, Form()]) -> None: ...


@app.post("/number")
async def number(number: Annotated[int, Body()]) -> None: ...


@app.get("/items/{number}")
async def item(
    number: int,
    page: int,
    x_count: Annotated[int, Header()],
    x_api_key: Annotated[int, Header()],
    theme: Annotated[int, Cookie()] = 0,
) -> None: ...


GOOD = {"email": "a@b"}


async def errors_of(
    path: str, method: str = "POST", **request: Any
) -> list[dict[str, Any]]:
    answer = await ask(app, path, method, **request)
    body = answer.json()
    assert answer.status_code == body["status"] == 422
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert (body["type"], body["title"]) == ("validation-error", "Validation Error")
    found: list[dict[str, Any]] = body["errors"]
    return found


async def test_an_invalid_request_is_answered_in_the_shape_of_the_brief() -> None:
    answer = await ask(app, "/orders", "POST", json={"email": "invalid"})
    body = answer.json()
    assert body.pop("request_id") == answer.headers["x-request-id"]
    assert body == {
        "type": "validation-error",
        "title": "Validation Error",
        "status": 422,
        "detail": "Request validation failed for 1 field(s)",
        "instance": "/orders",
        "errors": [
            {
                "field": "email",
                "message": "String should match pattern '.+@.+'",
                "type": "format",
                "value": "invalid",
                "pointer": "#/email",
                "location": "body",
            }
        ],
    }


EXAMPLE = {
    "type": "validation-error",
    "title": "Validation Error",
    "status": 422,
    "detail": "Request validation failed for 2 fields",
    "instance": "/api/v1/users",
    "request_id": "abc123",
    "errors": [
        {
            "field": "email",
            "message": "Email address format is invalid",
            "type": "format",
            "value": "invalid@",
        }
    ],
}


async def test_the_example_of_the_brief_is_written_and_read_as_it_stands() -> None:
    """It shows one of its two faults."""
    inner = FastAPI()

    @inner.post("/api/v1/users")
    async def create() -> None:
        fault: Any = EXAMPLE["errors"][0]  # type: ignore[index]  # a list, in there
        raise ValidationException(
            "Request validation failed for 2 fields", errors=[ValidationError(**fault)]
        )

    headers = {"X-Request-ID": "abc123"}
    answer = await ask(server_kit.wrap(inner), "/api/v1/users", "POST", headers=headers)
    assert answer.json() == EXAMPLE
    caught = Contract().parse(422, answer.headers, answer.content, str(answer.url))
    assert isinstance(caught, ValidationException)
    assert caught.errors[0].value == "invalid@"
    assert (caught.instance, caught.request_id) == ("/api/v1/users", "abc123")


@pytest.mark.case("9457-20")
async def test_many_fields_are_one_problem() -> None:
    sent = {"email": "x", "lines": [{"sku": "A1", "count": "many"}, {}]}
    answer = await ask(app, "/orders", "POST", json=sent)
    body = answer.json()
    assert body["detail"] == "Request validation failed for 4 fields"
    places = [(error["field"], error["pointer"]) for error in body["errors"]]
    assert places == [
        ("email", "#/email"),
        ("lines.0.count", "#/lines/0/count"),
        ("lines.1.sku", "#/lines/1/sku"),
        ("lines.1.count", "#/lines/1/count"),
    ]


@pytest.mark.case("S45")
async def test_a_missing_field_repeats_nothing_that_was_sent() -> None:
    sent = {"lines": [{"sku": "s3cr3t"}], "note": 5}
    answer = await ask(app, "/orders", "POST", json=sent)
    assert [error["type"] for error in answer.json()["errors"]] == ["missing"] * 2
    assert "s3cr3t" not in answer.text
    assert not any("value" in error for error in answer.json()["errors"])
    answer = await ask(app, "/items/5?secret=s3cr3t")
    assert "s3cr3t" not in answer.text


@pytest.mark.parametrize(
    ("sent", "field", "value"),
    [
        ({"email": 5}, "email", 5),
        ({"email": True}, "email", True),
        ({"email": "x" * 101}, "email", "x" * 100),
        ({"email": ["x"]}, "email", None),
        ({"email": {"x": "y"}}, "email", None),
        ({"email": None}, "email", None),
        (GOOD | {"password": "hunter2"}, "password", None),
        (GOOD | {"accessToken": "hunter2"}, "accessToken", None),
        (GOOD | {"author": "me"}, "author", "me"),
        (GOOD | {"lines": "none"}, "lines", "none"),
    ],
)
async def test_only_a_scalar_of_the_field_itself_is_repeated(
    sent: dict[str, Any], field: str, value: object
) -> None:
    (error,) = await errors_of("/orders", json=sent)
    assert error["field"] == field
    assert error.get("value") == value


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/orders", {"content": b'{"email": "s3cr3t"'}),
        ("/orders", {"json": '{"email": "s3cr3t"}'}),
        ("/orders", {"content": b'{"email": "s3cr3t"}', "headers": {}}),
        ("/orders", {"json": ["s3cr3t"]}),
        ("/number", {"json": "s3cr3t"}),
    ],
)
async def test_where_the_whole_body_is_wrong_none_of_it_is_repeated(
    path: str, request_: dict[str, Any]
) -> None:
    as_json = {"headers": {"content-type": "application/json"}}
    answer = await ask(app, path, "POST", **(as_json | request_))
    (error,) = answer.json()["errors"]
    assert (error["field"], error["pointer"], error["location"]) == (
        "body",
        "#",
        "body",
    )
    assert "s3cr3t" not in answer.text


@pytest.mark.case("9457-22")
async def test_what_is_not_in_the_body_has_a_location_and_no_pointer() -> None:
    headers = {"x-count": "few", "x-api-key": "s3cr3t", "cookie": "theme=dark"}
    found = await errors_of("/items/one?page=two", "GET", headers=headers)
    assert [(e["location"], e["field"], e.get("value")) for e in found] == [
        ("path", "number", "one"),
        ("query", "page", "two"),
        ("header", "x-count", "few"),
        ("header", "x-api-key", None),
        ("cookie", "theme", None),
    ]
    assert not any("pointer" in error for error in found)


@pytest.mark.parametrize(
    ("sent", "places"),
    [
        ({"note": "x"}, ["#/note"]),
        ({"note": ["x"]}, ["#/note", "#/note/0"]),
        ({"pet": {"kind": "cat", "lives": "x"}}, ["#/pet/lives"]),
        ({"pet": {"kind": "cat"}}, ["#/pet/lives"]),
        ({"pet": {"kind": "cow"}}, ["#/pet"]),
        ({"a/b~c d": 1}, ["#/a~1b~0c%20d"]),
    ],
    ids=str,
)
@pytest.mark.case("9457-21")
async def test_a_pointer_leads_to_what_was_sent(
    sent: dict[str, Any], places: list[str]
) -> None:
    found = await errors_of("/orders", json=GOOD | sent)
    assert sorted({error["pointer"] for error in found}) == places


async def test_a_pointer_starts_at_the_whole_body_where_there_are_several() -> None:
    sent = {"order": GOOD, "line": {"sku": "A1", "count": "x"}}
    (error,) = await errors_of("/embedded", json=sent)
    assert (error["field"], error["pointer"]) == ("line.count", "#/line/count")


async def test_a_form_is_a_body() -> None:
    (error,) = await errors_of("/form", data={"count": "x"})
    assert (error["field"], error["pointer"]) == ("count", "#/count")
    assert error["value"] == "x"


@pytest.mark.case("S44", "9457-33")
@pytest.mark.parametrize(
    "sent",
    [
        b'{"email": "\\ud800", "password": NaN}',
        b'{"email": "a@b", "rate": NaN}',
        b'{"email": "a@b", "rate": -Infinity}',
        b'{"email": "a@b", "rate": 1e999}',
        b'{"email": "a@b", "\\ud800": "x"}',
        b'{"email": ' + b"9" * 400 + b"}",
        b"[" * 900 + b"]" * 900,
    ],
    ids=range(7),
)
async def test_whatever_was_sent_the_answer_is_valid_json(sent: bytes) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    headers = {"content-type": "application/json"}
    answer = await ask(app, "/orders", "POST", content=sent, headers=headers)
    body = json.loads(answer.content.decode("utf-8"), parse_constant=refuse)
    assert answer.status_code == body["status"] == 422
    assert len(body["errors"]) >= 1


@pytest.mark.case("9457-26")
async def test_an_invalid_response_is_a_crash_that_tells_nothing() -> None:
    inner = FastAPI()

    @inner.get("/", response_model=Line)
    async def broken() -> Any:
        return {"sku": "s3cr3t"}

    served = await serve(server_kit.wrap(inner))
    assert served.sent[0]["status"] == 500
    assert b"s3cr3t" not in served.sent[1]["body"]
    assert isinstance(served.error, ResponseValidationError)


@pytest.mark.case("9457-26")
async def test_invalid_data_of_our_own_is_a_crash_and_not_the_callers() -> None:
    inner = FastAPI()

    @inner.get("/")
    async def broken() -> None:
        Line.model_validate({"sku": "s3cr3t"})

    served = await serve(server_kit.wrap(inner))
    assert served.sent[0]["status"] == 500
    assert b"s3cr3t" not in served.sent[1]["body"]


async def test_a_users_handler_of_invalid_requests_wins() -> None:
    inner = FastAPI()
    inner.add_api_route("/number", number, methods=["POST"])

    @inner.exception_handler(RequestValidationError)
    def mine(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("mine", 400)

    answer = await ask(server_kit.wrap(inner), "/number", "POST", json="x")
    assert (answer.status_code, answer.text) == (400, "mine")


async def test_without_a_kit_around_fastapi_answers_as_before() -> None:
    inner = fastapi_app()
    inner.add_api_route("/number", number, methods=["POST"])
    await ask(server_kit.wrap(inner), "/ok")
    answer = await ask(inner, "/number", "POST", json="x")
    assert answer.json()["detail"][0]["type"] == "int_parsing"
    assert (await ask(inner, "/login")).json() == {"detail": "Unauthorized"}


async def test_dependencies_raise_problems_and_are_closed() -> None:
    closed: list[str] = []

    async def session() -> AsyncIterator[None]:
        try:
            yield
        finally:
            closed.append("session")

    def refused() -> Iterator[None]:
        raise OutOfStock(sku="A1")
        yield

    inner = FastAPI()
    guarded = APIRouter(dependencies=[Depends(session), Depends(refused)])

    @guarded.get("/guarded")
    def endpoint() -> None: ...

    inner.include_router(guarded, prefix="/v1")
    answer = await ask(server_kit.wrap(inner), "/v1/guarded")
    assert answer.json()["sku"] == "A1"
    assert closed == ["session"]


async def test_an_app_mounted_in_an_included_router_is_found() -> None:
    inner = FastAPI()
    router = APIRouter()
    router.mount("/shop", fastapi_app())
    inner.include_router(router, prefix="/v1")
    answer = await ask(server_kit.wrap(inner), "/v1/shop/crash")
    assert answer.json()["type"] == "internal-server-error"
    answer = await ask(server_kit.wrap(inner), "/v1/shop/status/418")
    assert answer.json()["detail"] == "as said"
    assert answer.json()["instance"] == "/v1/shop/status/418"


async def test_a_detail_of_any_type_is_kept() -> None:
    inner = FastAPI()

    @inner.get("/")
    async def refuse() -> None:
        raise HTTPException(400, detail=[{"code": "E7"}, {1, 2}])

    body = (await ask(server_kit.wrap(inner), "/")).json()
    assert body["details"] == [{"code": "E7"}, [1, 2]]
