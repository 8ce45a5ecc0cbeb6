"""Quotas per route: what is one endpoint, and what is none."""

from typing import Any

import litestar
import pytest
from fastapi import APIRouter, Depends, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from litestar.params import FromPath
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route, Router

from server_kit import wrap
from server_kit.asgi import Receive, Scope, Send
from server_kit.ratelimit import Quota, RateLimitMiddleware, rate_limit
from server_kit.ratelimit.keys import UNMATCHED, endpoint_key, route_key
from tests.server.apps import AnyApp, litestar_app
from tests.server.limited import WINDOW, client, counted, still


async def ok(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def versions() -> FastAPI:
    inner, outer, sub = APIRouter(prefix="/x"), APIRouter(prefix="/nested"), FastAPI()
    inner.add_api_route("/{item}", ok, response_model=None)
    outer.include_router(inner, prefix="/{shop}")
    sub.include_router(inner)
    app = FastAPI()
    lit: AnyApp = litestar_app()
    app.include_router(inner, prefix="/v1")
    app.include_router(inner, prefix="/v2")
    app.include_router(outer)
    app.mount("/sub", sub)
    app.mount("/t/{tenant}", sub)
    app.mount("/star", Starlette(routes=[Mount("/in", routes=[Route("/x/{id}", ok)])]))
    app.mount("/lit", lit)
    return app


def outside(app: AnyApp) -> AnyApp:
    return counted(app, default_limit=1, per_route=True)


def inside(app: Any) -> AnyApp:
    app.add_middleware(
        RateLimitMiddleware, limiter=still(), default_limit=1, per_route=True
    )
    return app  # type: ignore[no-any-return] # it is one


async def passes(http: Any, path: str, method: str = "GET") -> bool:
    """Tell whether it was no refusal."""
    return bool((await http.request(method, path)).status_code != 429)


@pytest.mark.case("S22", "S23")
@pytest.mark.parametrize("limited", [outside, inside])
@pytest.mark.parametrize("around", [wrap, lambda app: app])
async def test_a_route_has_one_quota_with_all_of_its_prefixes(
    limited: Any, around: Any
) -> None:
    routes = [
        ("/v1/x/1", "/v1/x/2"),
        ("/v2/x/1", "/v2/x/2"),
        ("/nested/a/x/1", "/nested/b/x/2"),
        ("/sub/x/1", "/sub/x/2"),
        ("/t/1/x/1", "/t/2/x/2"),
        ("/star/in/x/1", "/star/in/x/2"),
        ("/lit/status/404", "/lit/status/409"),
    ]
    async with client(around(limited(versions()))) as http:
        for first, second in routes:
            assert await passes(http, first)
            assert not await passes(http, second)


@pytest.mark.case("S22", "S23")
async def test_dependencies_are_counted_by_the_same_routes() -> None:
    app = versions()
    limited = Depends(rate_limit(limit=1, window=WINDOW))
    router = APIRouter(prefix="/x", dependencies=[limited])
    router.add_api_route("/{item}", ok, response_model=None)
    sub = FastAPI()
    sub.include_router(router)
    app = FastAPI()
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    app.mount("/t/{tenant}", sub)
    async with client(wrap(app, limiter=still())) as http:
        for first, second in [
            ("/v1/x/1", "/v1/x/2"),
            ("/v2/x/1", "/v2/x/2"),
            ("/t/1/x/1", "/t/2/x/2"),
        ]:
            assert await passes(http, first)
            assert not await passes(http, second)


@pytest.mark.case("S24")
@pytest.mark.parametrize("limited", [outside, inside])
@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/nowhere", "GET"),
        ("/nowhere/2", "GET"),
        ("/v1/x/1", "DELETE"),
        ("/v1/x/1", "BREW"),
        ("/sub/nowhere", "GET"),
        ("/t/5/nowhere", "GET"),
        ("/lit/nowhere", "GET"),
        ("/lit/ok", "BREW"),
    ],
)
async def test_what_has_no_route_counts_as_one(
    limited: Any, path: str, method: str
) -> None:
    async with client(wrap(limited(versions()))) as http:
        assert await passes(http, "/v3/x/1")
        assert not await passes(http, path, method)
        assert await passes(http, "/v1/x/1")  # which the flood has not touched


@pytest.mark.case("S24")
async def test_without_a_limit_per_route_floods_count_as_anything_does() -> None:
    async with client(wrap(counted(versions()))) as http:
        seen = [
            (await http.request(method, path)).status_code
            for path, method in [
                ("/no", "GET"),
                ("/v1/x/1", "BREW"),
                ("/v1/x/1", "GET"),
            ]
        ]
    assert seen == [404, 405, 429]


async def test_methods_of_a_path_are_routes_of_their_own() -> None:
    app = FastAPI()
    app.add_api_route("/x", ok, methods=["GET"], response_model=None)
    app.add_api_route("/x", ok, methods=["POST"], response_model=None)
    async with client(outside(app)) as http:
        assert await passes(http, "/x", "GET")
        assert await passes(http, "/x", "POST")
        assert not await passes(http, "/x", "GET")


async def read(item: FromPath[str]) -> str:
    return item


@pytest.mark.case("S22")
async def test_a_middleware_of_litestar_counts_by_route() -> None:
    limiter = still()

    def limited(app: Any) -> Any:
        return RateLimitMiddleware(app, limiter, 1, per_route=True)

    app = litestar.Litestar(
        [litestar.get("/x/{item:str}", media_type="text/plain")(read)],
        middleware=[limited],
        openapi_config=None,
        logging_config=None,
    )
    async with client(wrap(app)) as http:
        assert await passes(http, "/x/1")
        assert not await passes(http, "/x/2")


async def test_an_app_without_known_routes_is_one() -> None:
    async with client(counted(default_limit=1, per_route=True)) as http:
        assert await passes(http, "/a")
        assert not await passes(http, "/b", "BREW")


async def test_every_route_has_all_quotas_of_a_plan() -> None:
    def both(_: Any) -> list[Quota]:
        return [Quota("one", 1, WINDOW), Quota("many", 9, WINDOW)]

    app = counted(versions(), quotas=both, per_route=True)
    async with client(app) as http:
        first = await http.get("/v1/x/1")
        other = await http.get("/v2/x/1")
    assert first.headers["ratelimit"] == other.headers["ratelimit"]


async def test_a_middleware_and_a_dependency_on_one_route_count_apart() -> None:
    app, limiter = FastAPI(), still()
    limited = Depends(rate_limit(limit=3, window=WINDOW))
    app.add_api_route("/x", ok, dependencies=[limited], response_model=None)
    app.add_middleware(
        RateLimitMiddleware, limiter=limiter, default_limit=3, per_route=True
    )
    async with client(wrap(app, limiter=limiter)) as http:
        answers = [await http.get("/x") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


async def show(request: Request) -> PlainTextResponse:
    return PlainTextResponse(endpoint_key(request.scope))


def included(prefix: str, routes: list[BaseRoute]) -> Mount:
    app = FastAPI(openapi_url=None)
    app.include_router(APIRouter(routes=routes), prefix=prefix)
    return Mount("", app=app)


segments = st.sampled_from(["/a", "/b", "/{one}", "/{two:int}"])
prefixes = st.sampled_from(["/a", "/{three}"])
leaves = st.builds(
    lambda path, methods: Route(path, show, methods=methods),
    st.lists(segments, min_size=1, max_size=2, unique=True).map("".join),
    st.sampled_from([["GET"], ["POST"], ["GET", "POST"]]),
)
trees = st.recursive(
    leaves,
    lambda below: (
        st.builds(
            lambda path, routes, inner: Mount(path, app=inner(routes=routes)),
            segments | st.just(""),
            st.lists(below, min_size=1, max_size=3),
            st.sampled_from([Starlette, Router, FastAPI]),
        )
        | st.builds(included, prefixes, st.lists(below, min_size=1, max_size=3))
    ),
    max_leaves=6,
)
paths = st.lists(st.sampled_from(["/a", "/b", "/7", "/x"]), max_size=4).map("".join)


@pytest.mark.property
@pytest.mark.case("S22", "S24")
@given(
    routes=st.lists(trees, min_size=1, max_size=4),
    asked=st.lists(st.tuples(st.sampled_from(["GET", "POST"]), paths), max_size=9),
)
async def test_what_is_found_ahead_is_what_answers(
    routes: list[BaseRoute], asked: list[tuple[str, str]]
) -> None:
    app = Starlette(routes=routes)
    ahead: list[str] = []

    async def outside(scope: Scope, receive: Receive, send: Send) -> None:
        ahead.append(route_key(app, scope))
        await app(scope, receive, send)

    async with client(outside) as http:
        for method, path in asked:
            answer = await http.request(method, path)
            found = answer.text if answer.status_code == 200 else UNMATCHED
            assert ahead[-1] == found
