"""`declared_only` fails where a handler answers more than it has declared."""

from typing import Annotated, Any

import fastapi
import litestar
import pytest
from fastapi import Depends
from litestar.params import FromPath
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import server_kit
from resilient_http.problems import (
    CircuitBreakerOpenException,
    ConflictException,
    NotFoundException,
    UpstreamException,
)
from server_kit import RateLimiter, raises, rate_limit
from server_kit.testing import UndeclaredProblemError, declared_only
from tests.server.apps import APPS, OutOfStock, ask, raw_app


def fail(name: str) -> None:
    if name == "stock":
        raise OutOfStock(sku="A1")
    if name == "conflict":
        raise ConflictException
    if name == "missing":
        raise HTTPException(404)
    if name == "teapot":
        raise HTTPException(418)
    if name == "received":
        refused = CircuitBreakerOpenException()
        refused.received = True
        raise refused
    if name == "crash":
        raise RuntimeError


def of_fastapi() -> Any:
    app, router = fastapi.FastAPI(), fastapi.APIRouter()
    limit = rate_limit(limit=1, window=60)

    @router.get("/fail/{name}", responses=raises(OutOfStock))
    async def endpoint(name: str) -> None:
        fail(name)

    @router.get("/number/{number}", dependencies=[Depends(limit)])
    async def number(number: int) -> None: ...

    app.include_router(router, prefix="/v1", responses={418: {"description": "tea"}})
    return app


class Endpoint(HTTPEndpoint):
    @raises(OutOfStock)
    async def get(self, request: Request) -> None:
        fail(request.path_params["name"])


@raises(OutOfStock)
async def starlette_endpoint(request: Request) -> None:
    fail(request.path_params["name"])


def of_starlette(endpoint: Any = starlette_endpoint) -> Any:
    return Starlette(routes=[Mount("/v1", routes=[Route("/fail/{name}", endpoint)])])


def of_litestar() -> Any:
    @litestar.get("/v1/fail/{name:str}")
    @raises(OutOfStock)
    async def endpoint(name: FromPath[str]) -> None:
        fail(name)

    return litestar.Litestar([endpoint], openapi_config=None, logging_config=None)


FRAMEWORKS: dict[str, Any] = {
    "fastapi": of_fastapi,
    "starlette": of_starlette,
    "class": lambda: of_starlette(Endpoint),
    "litestar": of_litestar,
    "mounted": lambda: Starlette(routes=[Mount("/", server_kit.wrap(of_fastapi()))]),
}
every = pytest.mark.parametrize("name", FRAMEWORKS)


@every
async def test_what_is_declared_may_be_answered(name: str) -> None:
    with declared_only(server_kit.wrap(FRAMEWORKS[name]())) as app:
        assert (await ask(app, "/v1/fail/stock")).status_code == 409
        assert (await ask(app, "/v1/fail/nothing")).status_code in (200, 500)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("conflict", "ConflictException (409)"),
        ("missing", "NotFoundException (404)"),
        ("received", "UpstreamException (503)"),
    ],
)
@every
async def test_what_is_not_declared_is_named(name: str, path: str, said: str) -> None:
    with pytest.raises(UndeclaredProblemError) as error:  # noqa: PT012, SIM117 - the end of the inner block is the claim
        with declared_only(server_kit.wrap(FRAMEWORKS[name]())) as app:
            for _ in range(2):
                await ask(app, f"/v1/fail/{path}")
    (line,) = str(error.value).splitlines()
    assert line.startswith("GET /")
    assert "/fail/{name" in line
    assert line.endswith(f"answered {said}, undeclared")


@every
async def test_what_belongs_to_no_handler_is_not_asked_for(name: str) -> None:
    with declared_only(server_kit.wrap(FRAMEWORKS[name]())) as app:
        assert (await ask(app, "/nowhere")).status_code == 404
        assert (await ask(app, "/v1/fail/stock", "PUT")).status_code == 405
        assert (await ask(app, "/v1/fail/crash")).status_code == 500


async def test_what_a_route_implies_or_describes_itself_is_declared() -> None:
    kit = server_kit.wrap(of_fastapi(), limiter=RateLimiter())
    with declared_only(kit) as app:
        statuses = [
            (await ask(app, path)).status_code
            for path in ("/v1/number/many", "/v1/number/1", "/v1/fail/teapot")
        ]
        assert (await ask(app, "/v1/number/1")).status_code == 429
    assert statuses == [422, 429, 418]


async def test_what_a_dependency_declares_holds_for_its_routes() -> None:
    @raises(NotFoundException, UpstreamException)
    async def found() -> None:
        raise NotFoundException

    inner = fastapi.FastAPI()

    @inner.get("/")
    async def endpoint(_: Annotated[None, Depends(found)]) -> None: ...

    with declared_only(server_kit.wrap(inner)) as app:
        assert (await ask(app, "/")).status_code == 404


async def test_raw_apps_are_not_checked() -> None:
    with declared_only(server_kit.wrap(raw_app)) as app:
        assert (await ask(app, "/problem")).status_code == 409


def test_an_error_of_the_test_itself_comes_first() -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: SIM117 - the inner block's end is the claim
        with declared_only(server_kit.wrap(of_starlette())) as app:
            _ = 1 / TestClient(app).get("/v1/fail/conflict").is_success


def test_lifespan_and_attributes_are_those_of_the_app() -> None:
    inner = server_kit.wrap(APPS["starlette"]())
    with declared_only(inner) as app, TestClient(app) as client:
        assert client.get("/ok").status_code == 200
        assert getattr(app, "routes") == getattr(inner, "routes")  # noqa: B009 - typed as any ASGI app
