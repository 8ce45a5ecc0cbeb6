"""An API's own description tells what it answers, and nothing that it does not."""

import copy
import json
from collections.abc import Callable
from typing import Annotated, Any

import fastapi
import litestar
import pytest
from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader, HTTPBearer
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotAuthorizedException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, JSONBody
from pydantic import BaseModel, Field
from schemathesis.specs.openapi import definitions
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

import server_kit
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    ConflictException,
    Contract,
    ForbiddenException,
    UpstreamException,
)
from server_kit import RateLimiter, RateLimitMiddleware, raises, rate_limit
from server_kit.openapi.document import Operation, describe
from server_kit.openapi.implied import by_settings
from server_kit.openapi.schemas import schema_of
from tests.server.apps import SHOP, OutOfStock, ask

TYPE = "https://shop.example/problems/out-of-stock"
REF = "#/components/schemas/"


class Item(BaseModel):
    name: str


def declared(app: fastapi.FastAPI | None = None) -> fastapi.FastAPI:
    return server_kit.wrap(app or fastapi.FastAPI(), contract=SHOP)


def responses(document: Any, path: str, method: str = "get") -> dict[str, Any]:
    """Return what one operation may answer: the schema of each error."""
    found: dict[str, Any] = {}
    for status, response in document["paths"][path][method]["responses"].items():
        if int(status) >= 400:
            (kind,) = response["content"]
            assert kind == MEDIA_TYPE, status
            found[status] = response["content"][kind]["schema"]
    return found


def refs(document: Any, path: str, method: str = "get") -> dict[str, Any]:
    """Return the names of the problems that one operation may answer, by status."""
    check(document)
    return {
        status: [
            option["$ref"].removeprefix(REF) for option in schema.get("oneOf", [schema])
        ]
        for status, schema in responses(document, path, method).items()
    }


def check(document: Any) -> None:
    """See that it is an OpenAPI document, and that no reference dangles."""
    definitions.OPENAPI_31_VALIDATOR.validate(document)
    known = document["components"]["schemas"]
    for part in json.dumps(document).split(f'"{REF}')[1:]:
        assert part.partition('"')[0] in known


ALWAYS = {
    "500": ["InternalServerException"],
    "504": ["DeadlineExceededException", "GatewayTimeoutException"],
}


def test_a_declared_problem_is_told_with_its_schema() -> None:
    app = declared()

    @app.get("/", responses=raises(OutOfStock))
    async def read() -> None: ...

    document = app.openapi()
    assert refs(document, "/") == {"409": ["OutOfStock"], **ALWAYS}
    schema = document["components"]["schemas"]["OutOfStock"]
    assert schema["properties"]["type"] == {"type": "string", "const": TYPE}
    assert schema["properties"]["status"] == {"type": "integer", "const": 409}
    assert schema["properties"]["sku"] == {"type": "string"}
    assert schema["required"] == ["type", "title", "status", "sku", "available"]


def test_several_of_one_status_are_told_apart_by_their_type() -> None:
    app = declared()

    @app.get("/", responses=raises(OutOfStock, ConflictException))
    async def read() -> None: ...

    document = app.openapi()
    assert refs(document, "/")["409"] == ["OutOfStock", "ConflictException"]
    assert responses(document, "/")["409"]["discriminator"] == {
        "propertyName": "type",
        "mapping": {TYPE: f"{REF}OutOfStock", "conflict": f"{REF}ConflictException"},
    }


@raises(ForbiddenException)
async def members_only(_: Annotated[str, Depends(HTTPBearer())]) -> None: ...


def test_what_a_route_uses_is_implied() -> None:
    app = declared()
    key = Depends(APIKeyHeader(name="X-Key", auto_error=False))

    @app.get("/quiet/{number:path}", dependencies=[key])
    async def quiet(request: Request) -> None: ...

    @app.get("/limited", dependencies=[Depends(rate_limit(5, 60))])
    async def limited(_: Annotated[None, Depends(members_only)]) -> None: ...

    @app.post("/items/{number}", responses=raises(UpstreamException))
    async def write(number: int, item: Item) -> None: ...

    document = app.openapi()
    assert refs(document, "/quiet/{number}") == ALWAYS
    assert refs(document, "/limited") == {
        "401": ["UnauthorizedException"],
        "403": ["ForbiddenException"],
        "429": ["RateLimitException"],
        **ALWAYS,
    }
    assert refs(document, "/items/{number}", "post") == {
        "400": ["BadRequestException"],
        "422": ["ValidationException"],
        **{status: ["UpstreamException"] for status in ("502", "503")},
        **ALWAYS,
        "504": ["UpstreamException", *ALWAYS["504"]],
    }
    statuses = document["components"]["schemas"]["UpstreamException"]["properties"]
    assert statuses["status"] == {"type": "integer", "enum": [502, 503, 504]}


def test_a_limit_on_all_is_told_of_all_but_the_exempt() -> None:
    app = declared()
    app.add_middleware(RateLimitMiddleware, limiter=RateLimiter())
    app.get("/healthz")(members_only)
    app.get("/items")(members_only)
    assert "429" in refs(app.openapi(), "/items")
    assert "429" not in refs(app.openapi(), "/healthz")


def test_a_limit_in_shadow_mode_is_told_of_nobody() -> None:
    app = declared()
    app.add_middleware(RateLimitMiddleware, limiter=RateLimiter(), shadow=True)
    app.get("/items")(members_only)
    assert "429" not in refs(app.openapi(), "/items")


def test_fastapis_own_shape_of_a_422_is_told_nowhere() -> None:
    app = declared()

    @app.get("/items")
    async def read(number: int) -> None: ...

    document = app.openapi()
    known = document["components"]["schemas"]
    assert "HTTPValidationError" not in known
    assert "loc" not in known["ValidationError"]["properties"]
    assert {"field", "message", "type"} <= known["ValidationError"]["properties"].keys()


def test_where_a_user_answers_invalid_requests_the_document_stays_theirs() -> None:
    app = declared()

    @app.exception_handler(RequestValidationError)
    async def handler(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("no", 422)

    @app.get("/items")
    async def read(number: int) -> None: ...

    document = app.openapi()
    assert document["paths"]["/items"]["get"]["responses"]["422"]["content"] == {
        "application/json": {"schema": {"$ref": f"{REF}HTTPValidationError"}}
    }
    check(document)


class Mine(BaseModel):
    mine: int


def test_responses_of_the_users_own_win() -> None:
    app = declared()
    own: dict[int | str, dict[str, Any]] = {422: {"model": Mine}, "5XX": {}}

    @app.get("/items", responses={**raises(OutOfStock), **own})
    async def read(number: int) -> None: ...

    @app.get("/all", responses={"default": {"model": Mine}, **raises(OutOfStock)})
    async def every(number: int) -> None: ...

    document = app.openapi()
    check(document)
    told = document["paths"]["/items"]["get"]["responses"]
    assert told.keys() == {"200", "409", "422", "5XX"}
    assert [*told["422"]["content"]] == ["application/json"]
    told = document["paths"]["/all"]["get"]["responses"]
    assert told.keys() == {"200", "409", "default"}


def test_included_and_nested_routers_are_told_of_with_what_they_share() -> None:
    inner, outer = fastapi.APIRouter(), fastapi.APIRouter()

    @inner.get("/items", responses=raises(OutOfStock))
    async def read() -> None: ...

    shared = raises(ForbiddenException)
    outer.include_router(inner, prefix="/v1", responses=shared)
    app = declared()
    app.include_router(outer, prefix="/api", dependencies=[Depends(rate_limit(5, 60))])
    assert refs(app.openapi(), "/api/v1/items") == {
        "403": ["ForbiddenException"],
        "409": ["OutOfStock"],
        "429": ["RateLimitException"],
        **ALWAYS,
    }


def test_routes_that_come_later_are_told_of() -> None:
    app = declared()
    assert app.openapi()["paths"] == {}

    @app.get("/late", responses=raises(OutOfStock))
    async def late() -> None: ...

    assert "409" in refs(app.openapi(), "/late")
    assert app.openapi() is app.openapi()


async def test_what_is_served_is_what_openapi_says() -> None:
    app = declared()
    app.get("/items", responses=raises(OutOfStock))(members_only)
    served = (await ask(app, "/openapi.json")).json()
    assert served == app.openapi()
    assert "409" in refs(served, "/items")


async def test_an_app_hooked_by_its_user_is_told_of_too() -> None:
    inner = fastapi.FastAPI()
    plain = inner.openapi

    def mine() -> dict[str, Any]:
        return {**copy.deepcopy(plain()), "x-mine": True}

    inner.openapi = mine  # type: ignore[method-assign]  # as FastAPI's docs do
    app = declared(inner)
    app.get("/items", responses=raises(OutOfStock))(members_only)
    for document in (app.openapi(), app.openapi()):
        assert document["x-mine"]
        assert "409" in refs(document, "/items")


async def test_mounted_apps_are_described_by_the_kit_nearest_to_them() -> None:
    apps = [fastapi.FastAPI(), fastapi.FastAPI(), fastapi.FastAPI()]
    for app in apps:
        app.get("/items", responses=raises(OutOfStock))(members_only)
    plain, own, inherits = apps
    other = Contract(OutOfStock, type_base="https://other.example/")
    routes = [
        Mount("/plain", plain),
        Mount("/own", server_kit.wrap(own, contract=other)),
        Mount("/inherits", server_kit.wrap(inherits)),
    ]
    kit = server_kit.wrap(Starlette(routes=routes), contract=SHOP)
    for path, uri in [
        ("/plain", TYPE),
        ("/own", "https://other.example/out-of-stock"),
        ("/inherits", TYPE),
    ]:
        document = (await ask(kit, f"{path}/openapi.json")).json()
        known = document["components"]["schemas"]["OutOfStock"]["properties"]
        assert known["type"]["const"] == uri


class Namesakes:
    class Item(BaseModel):
        other: int

    class OutOfStock(BaseModel):
        name: str


class Missing(AppException):
    type = "missing"
    title = "Missing"
    status = 410
    items: list[Namesakes.Item] = []  # noqa: RUF012 - copied for each problem


def test_a_model_of_the_same_name_keeps_it() -> None:
    app = declared()

    @app.post("/", responses=raises(OutOfStock, Missing))
    async def write(item: Item) -> Namesakes.OutOfStock:
        raise NotImplementedError

    document = app.openapi()
    assert refs(document, "/", "post")["409"] == ["OutOfStockProblem"]
    known = document["components"]["schemas"]
    assert [*known["OutOfStock"]["properties"]] == ["name"]
    assert [*known["Item"]["properties"]] == ["name"]
    items = known["Missing"]["properties"]["items"]["items"]
    assert items == {"$ref": f"{REF}ItemProblem"}
    assert [*known["ItemProblem"]["properties"]] == ["other"]


def test_without_a_kit_a_declaration_is_a_response_like_any_other() -> None:
    app = fastapi.FastAPI()
    app.get("/", responses=raises(OutOfStock))(members_only)
    told = app.openapi()["paths"]["/"]["get"]["responses"]["409"]
    assert told["description"] == "Out of stock"
    assert [*told["content"]] == [MEDIA_TYPE]


def test_operations_that_nobody_knows_are_left_alone() -> None:
    document: dict[str, Any] = {"paths": {"/": {"get": {"responses": {}}}}}
    before = copy.deepcopy(document)
    describe(document, SHOP, {("/other", "get"): Operation((OutOfStock,))})
    assert document == before


class Odd(AppException):
    type = "odd"
    title = "Odd"
    status = 429
    when: Annotated[int, Field(description="Minutes.")] = 0
    what: Any = None
    how: object = None


def test_every_built_in_and_odd_problem_has_a_schema() -> None:
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "all", "version": "1"},
        "paths": {"/": {"get": {"responses": {}}}},
    }
    everything = (*Contract().types, Odd)
    describe(document, SHOP, {("/", "get"): Operation(everything)})
    check(document)
    known = document["components"]["schemas"]
    assert len(known) == len(everything) + 1
    assert known["Odd"]["properties"]["when"]["description"] == "Minutes."
    assert known["Odd"]["properties"]["retry_after"]["minimum"] == 0
    assert "retry_after" not in known["NotFoundException"]["properties"]


def test_what_has_no_schema_may_be_anything() -> None:
    class Holding(AppException):
        type = "holding"
        title = "Holding"
        status = 400
        held: Callable[[], object] = object

    schema, others = schema_of(Holding, "holding")
    assert schema["properties"]["held"] == {}
    assert others == {}


class On:
    deadlines = shedding = idempotency = True


class Off:
    deadlines = shedding = idempotency = None


def test_the_parts_of_a_kit_imply_what_they_answer() -> None:
    read = {problem.status for problem in by_settings(On(), "get")}
    write = {problem.status for problem in by_settings(On(), "post")}
    assert read == {500, 503, 504}
    assert write == {400, 409, 422, 500, 503, 504}
    off = {problem.status for problem in by_settings(Off(), "post")}
    assert off == {500}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (409, "takes problem classes, got 409"),
        (ValueError, "takes problem classes, got <class 'ValueError'>"),
        (OutOfStock(sku="A1"), "takes problem classes, got"),
        (AppException, "takes problems with a type: AppException"),
    ],
)
def test_only_problems_can_be_declared(given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        raises(given)


@raises(ForbiddenException)
async def provided() -> int:
    return 1


@raises(ConflictException)
def guard(connection: Any, handler: Any) -> None: ...


@litestar.post(
    "/items", dependencies={"one": Provide(provided)}, guards=[guard], status_code=201
)
@raises(OutOfStock)
async def write(
    data: JSONBody[Item], number: FromQuery[int], one: NamedDependency[int]
) -> Item:
    return data


@litestar.get(
    "/own",
    raises=[NotAuthorizedException],
    responses={400: ResponseSpec(Item, description="mine")},
    response_headers=[ResponseHeader(name="x-one", value="1")],
)
async def own(number: FromQuery[int]) -> None: ...


@pytest.mark.parametrize("times", [1, 2])
async def test_litestar_tells_the_same(times: int) -> None:
    app = server_kit.wrap(
        litestar.Litestar([write, own], logging_config=None), contract=SHOP
    )
    for _ in range(times):
        document = (await ask(app, "/schema/openapi.json")).json()
    assert refs(document, "/items", "post") == {
        "400": ["BadRequestException"],
        "403": ["ForbiddenException"],
        "409": ["OutOfStock", "ConflictException"],
        "422": ["ValidationException"],
        **ALWAYS,
    }
    told = document["paths"]["/own"]["get"]["responses"]
    assert told["400"]["description"] == "mine"
    assert [*told["401"]["content"]] == [MEDIA_TYPE]
    assert {"200", "400", "401", "422", "500", "504"} == told.keys()


async def test_litestar_without_a_document_is_served_all_the_same() -> None:
    app = server_kit.wrap(
        litestar.Litestar([write], openapi_config=None, logging_config=None)
    )
    assert (await ask(app, "/schema/openapi.json")).status_code == 404
