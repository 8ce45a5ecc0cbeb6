"""A 405 says every method of its path, however many routes it is spread over."""

from typing import Any

import fastapi
import litestar
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router

import server_kit
from resilient_http.problems import MEDIA_TYPE
from tests.server.apps import ask, serve


async def endpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse("fine")


async def refuse(request: Request) -> PlainTextResponse:
    raise HTTPException(405, headers={"Allow": "GET"})


def routes(prefix: str = "") -> list[Any]:
    return [
        Route(f"{prefix}/items/{{number:int}}", endpoint, methods=["PUT"]),
        Route(f"{prefix}/{{path:path}}", endpoint, methods=["POST"]),
        Route(f"{prefix}/items/7", endpoint, methods=["GET"]),
    ]


def fastapi_routes() -> fastapi.APIRouter:
    router = fastapi.APIRouter()
    router.add_api_route("/items/{number}", endpoint, methods=["PUT"])
    router.add_api_route("/items/7", endpoint, methods=["GET"])
    router.add_api_route("/{path:path}", endpoint, methods=["POST"])
    router.mount("/deep", Router(routes()))
    return router


def included() -> fastapi.FastAPI:
    inner, outer = fastapi_routes(), fastapi.APIRouter()
    outer.include_router(inner, prefix="/v1")
    app = fastapi.FastAPI()
    app.include_router(outer, prefix="/api")
    return app


def flat() -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.include_router(fastapi_routes())
    return app


STARLETTES = "GET, HEAD, POST, PUT"


@pytest.mark.case("S42")
@pytest.mark.parametrize(
    ("app", "path", "allow"),
    [
        (Starlette(routes=routes()), "/items/7", STARLETTES),
        (Starlette(routes=routes()), "/items/8", "POST, PUT"),
        (Router(routes=routes()), "/items/7", STARLETTES),
        (Starlette(routes=[Mount("/in", routes=routes())]), "/in/items/7", STARLETTES),
        (Starlette(routes=[Mount("/in", flat())]), "/in/items/7", "GET, POST, PUT"),
        (
            Starlette(routes=[Mount("/in", CORSMiddleware(Router(routes())))]),
            *("/in/items/7", STARLETTES),
        ),
        (
            Starlette(routes=[Mount("/in", server_kit.wrap(Router(routes())))]),
            *("/in/items/7", STARLETTES),
        ),
        (Starlette(routes=[Host("shop", Router(routes()))]), "/items/7", STARLETTES),
        (flat(), "/items/7", "GET, POST, PUT"),
        (included(), "/api/v1/items/7", "GET, POST, PUT"),
        (CORSMiddleware(flat()), "/items/7", "GET, POST, PUT"),
    ],
)
async def test_all_routes_of_the_path_are_asked(
    app: Any, path: str, allow: str
) -> None:
    answer = await ask(server_kit.wrap(app), path, "DELETE")
    assert answer.status_code == 405
    assert answer.headers.get_list("allow") == [allow]
    below = await serve(
        server_kit.wrap(app),
        f"/root{path}",
        root_path="/root",
        method="DELETE",
        headers=[(b"host", b"shop")],
    )
    assert dict(below.sent[0]["headers"])[b"allow"] == allow.encode()
    assert answer.headers["content-type"] == MEDIA_TYPE


@pytest.mark.case("S42")
async def test_litestar_knows_by_itself() -> None:
    @litestar.get("/items")
    async def read() -> None: ...

    @litestar.post("/items")
    async def write() -> None: ...

    app = litestar.Litestar([read, write], logging_config=None)
    answer = await ask(server_kit.wrap(app), "/items", "DELETE")
    assert answer.headers["allow"] == "GET, OPTIONS, POST"


async def test_what_a_handler_refuses_is_its_own_to_say() -> None:
    both = [Route("/", endpoint, methods=["PUT"]), Route("/", refuse)]
    for app in (Starlette(routes=both), Starlette(routes=[Mount("/", Router(both))])):
        answer = await ask(server_kit.wrap(app), "/")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.case("S42")
async def test_a_handler_of_the_users_need_not_know_them() -> None:
    async def handler(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("no", 405)

    app = Starlette(routes=routes(), exception_handlers={405: handler})
    answer = await ask(server_kit.wrap(app), "/items/7", "DELETE")
    assert (answer.text, answer.headers["allow"]) == ("no", STARLETTES)


@pytest.mark.case("S41", "S42")
async def test_head_is_allowed_where_it_is_answered() -> None:
    app = flat()
    app.add_api_route("/page", endpoint, methods=["GET"])
    app.add_route("/page", endpoint, methods=["HEAD"])
    answer = await ask(server_kit.wrap(app), "/page", "PUT")
    assert answer.headers["allow"] == "GET, HEAD, POST"
