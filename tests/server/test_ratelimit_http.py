"""Rate limits over HTTP: what responses say, who is refused, what passes."""

import random
import subprocess
import sys
from typing import Any
from uuid import uuid4

import anyio
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from resilient_http.problems import RateLimitException
from server_kit import ratelimit, wrap
from server_kit.asgi import Message, Scope
from server_kit.problems import app_exception_handler
from server_kit.ratelimit import (
    Quota,
    RateLimiter,
    RateLimitMiddleware,
    per_api_key_rate_limit,
    per_user_rate_limit,
    rate_limit,
)
from server_kit.ratelimit.machines import Algorithm
from tests.server.accounts import ALGORITHMS
from tests.server.apps import serve
from tests.server.limited import WINDOW, client, counted, still
from tests.server.valkey import valkey

STANDING = ("x-ratelimit-limit", "x-ratelimit-remaining", "ratelimit")


@pytest.mark.case("RL-16", "RA-7")
@pytest.mark.parametrize("wrapped", [False, True])
async def test_allowed_responses_say_how_the_quota_stands(*, wrapped: bool) -> None:
    app = wrap(counted()) if wrapped else counted()
    async with client(app) as http:
        answers = [await http.get("/") for _ in range(2)]
    said = [[answer.headers[name] for name in STANDING] for answer in answers]
    assert said == [
        ["2", "1", '"default";r=1;t=60'],
        ["2", "0", '"default";r=0;t=60'],
    ]
    assert all(len(a.headers.get_list("ratelimit")) == 1 for a in answers)
    assert "retry-after" not in answers[0].headers


@pytest.mark.case("RL-16")
@pytest.mark.parametrize("place", ["inside", "outside"])
async def test_errors_of_a_wrapped_app_say_so_too(place: str) -> None:
    app = FastAPI()

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError("broken")

    @app.get("/number/{number}")
    async def number(number: int) -> None: ...

    wrapped: Any = app
    if place == "inside":
        app.add_middleware(RateLimitMiddleware, limiter=still())
    else:
        wrapped = RateLimitMiddleware(app, limiter=still())
    async with client(wrap(wrapped), raise_app_exceptions=False) as http:
        answers = [await http.get(it) for it in ("/crash", "/nowhere", "/number/x")]
        answers.append(await http.post("/crash"))
    assert [answer.status_code for answer in answers] == [500, 404, 422, 405]
    left = [answer.headers.get_list("x-ratelimit-remaining") for answer in answers]
    assert left == [["99"], ["98"], ["97"], ["96"]]


@pytest.mark.case("RA-7", "RA-8")
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_refusal_is_a_problem_and_never_reaches_the_app(
    *, wrapped: bool
) -> None:
    app = counted(default_limit=1)
    async with client(wrap(app) if wrapped else app) as http:
        await http.get("/")
        refused = await http.get("/")
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["cache-control"] == "no-store"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert refused.json()["type"] == "rate-limit-exceeded"
    assert refused.json()["limit"] == 1


@pytest.mark.case("S28", "RA-2")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_who_waits_as_told_is_let_in(algorithm: Algorithm) -> None:
    rng, now = random.Random(28), [0.0]
    limiter = RateLimiter(algorithm=algorithm, clock=lambda: now[0])
    for trial in range(1_000):
        limit, window = rng.randint(1, 5), rng.choice([0.3, 1, 7, 60, rng.random() * 9])
        app = counted(limiter=limiter, default_limit=limit, default_window=window)
        peer = (f"192.0.{trial // 250}.{trial % 250}", 1)
        start = (await serve(app, client=peer)).sent[0]
        while start["status"] != 429:
            now[0] += rng.random() * window / limit / 2
            start = (await serve(app, client=peer)).sent[0]
        told = dict(start["headers"])
        assert told[b"ratelimit"].endswith(b";t=" + told[b"retry-after"])
        now[0] += int(told[b"retry-after"])
        assert (await serve(app, client=peer)).sent[0]["status"] == 200


async def left_of_fifty(app: Any) -> list[str]:
    """Return how many were left, as fifty requests at once are told, fewest first."""
    left: list[str] = []

    async with client(app) as http:

        async def ask_once() -> None:
            left.append((await http.get("/")).headers["ratelimit"])

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask_once)
    return sorted(left)


@pytest.mark.case("S27")
async def test_the_figures_are_those_of_the_decision() -> None:
    left = await left_of_fifty(counted(limiter=RateLimiter(), default_limit=50))
    assert len(set(left)) == 50


@pytest.mark.case("S27")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_figures_of_redis_are_those_of_the_decision(
    anyio_backend: str,
) -> None:
    def two(_: Any) -> list[Quota]:
        return [Quota("one", 50, WINDOW), Quota("other", 99, WINDOW)]

    with valkey() as server:
        limiter = RateLimiter(server.url, timeout=20.0)
        app = counted(limiter=limiter, quotas=two)
        left = await left_of_fifty(app)
        async with client(app) as http:
            refused = await http.get("/")
        await limiter.aclose()
    assert len(set(left)) == 50
    assert refused.status_code == 429
    assert refused.json()["violated-policies"] == ["default"]


async def test_clients_have_quotas_of_their_own() -> None:
    app = counted(default_limit=1)
    seen = []
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        async with client(app, address) as http:
            seen.append((await http.get("/")).status_code)
    assert seen == [200, 429, 200]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/docs", "/openapi.json"])
async def test_exempt_paths_are_neither_counted_nor_refused(path: str) -> None:
    async with client(counted(default_limit=1)) as http:
        answers = [await http.get(path) for _ in range(3)]
        counted_one = await http.get("/")
    assert [answer.status_code for answer in answers] == [200] * 3
    assert "ratelimit" not in answers[0].headers
    assert counted_one.headers["x-ratelimit-remaining"] == "0"


async def test_exempt_paths_can_be_chosen_and_are_relative_to_the_app() -> None:
    app = counted(default_limit=1, exempt_paths=["/ping"])
    async with client(app, root_path="/api") as http:
        seen = [
            (await http.get(path)).status_code
            for path in ("/api/ping", "/api/ping", "/api/health", "/api/health")
        ]
    assert seen == [200, 200, 200, 429]


@pytest.mark.case("R32")
async def test_a_start_without_headers_is_given_the_fields() -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": "/srv/files/x"})

    async def send(message: Message) -> None:
        sent.append(message)

    limited = RateLimitMiddleware(app, limiter=still())
    await limited({"type": "http", "path": "/"}, None, send)  # type: ignore[arg-type] # nothing is received
    assert [name for name, _ in sent[0]["headers"]][-1] == b"ratelimit"
    assert sent[1] == {"type": "http.response.pathsend", "path": "/srv/files/x"}


@pytest.mark.case("S33")
@pytest.mark.parametrize("kind", ["lifespan", "something.new"])
async def test_other_protocols_pass_through_untouched(kind: str) -> None:
    seen: list[tuple[Any, ...]] = []

    async def app(*connection: Any) -> None:
        seen.append(connection)

    connection: Any = ({"type": kind}, object(), object())
    await RateLimitMiddleware(app, limiter=still())(*connection)
    assert seen == [connection]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("limiter", None, TypeError),
        ("default_limit", 0, ValueError),
        ("default_window", 0, ValueError),
        ("exempt_paths", "/health", TypeError),
        ("exempt_paths", ["health"], ValueError),
        ("exempt_paths", [b"/health"], ValueError),
    ],
)
def test_a_bad_argument_is_named(
    field: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=field):
        counted(**{field: value})


@pytest.mark.case("S54")
async def test_an_app_mounted_in_a_wrapped_app_is_counted_once() -> None:
    limiter = still()
    inner = wrap(RateLimitMiddleware(Starlette(), limiter=limiter))
    async with client(wrap(Starlette(routes=[Mount("/in", app=inner)]))) as http:
        answer = await http.get("/in/x")
    assert answer.headers.get_list("x-ratelimit-remaining") == ["99"]


def one_per_window(**options: Any) -> FastAPI:
    app = FastAPI()
    limited = Depends(rate_limit(limit=1, window=WINDOW, **options))

    @app.get("/items/{item}", dependencies=[limited])
    async def read(item: str) -> str:
        return item

    return app


async def test_a_wrapped_app_uses_the_limiter_it_was_given() -> None:
    limiter, app = still(), one_per_window()
    async with client(wrap(app, limiter=limiter)) as http:
        first, second = await http.get("/items/1"), await http.get("/items/2")
    assert (first.status_code, second.status_code) == (200, 429)
    assert first.headers["x-ratelimit-remaining"] == "0"
    assert second.headers["retry-after"] == "60"
    assert second.headers.get_list("ratelimit") == ['"default";r=0;t=60']
    async with client(wrap(app, limiter=still())) as http:
        assert (await http.get("/items/1")).status_code == 200


@pytest.mark.parametrize("wrapped", [False, True])
async def test_without_one_it_uses_one_in_this_process(*, wrapped: bool) -> None:
    me = uuid4().hex
    app = one_per_window(key_func=lambda _: me)
    app.add_exception_handler(RateLimitException, app_exception_handler)
    async with client(wrap(app) if wrapped else app) as http:
        answers = [await http.get("/items/1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["x-ratelimit-limit"] == "1"


@pytest.mark.case("RL-21")
async def test_middleware_and_dependency_tell_of_themselves_in_one_field() -> None:
    app = one_per_window()
    app.add_middleware(RateLimitMiddleware, limiter=still())
    async with client(wrap(app, limiter=still())) as http:
        answers = [await http.get("/items/1") for _ in range(2)]
    policies = ['"default";q=100;w=60, "default-2";q=1;w=60']
    for answer in answers:
        assert answer.headers.get_list("ratelimit-policy") == policies
        assert answer.headers["x-ratelimit-limit"] == "1"
    assert [answer.headers["ratelimit"] for answer in answers] == [
        '"default";r=99;t=60, "default-2";r=0;t=60',
        '"default-2";r=0;t=60',
    ]
    assert answers[1].json()["violated-policies"] == ["default-2"]


async def test_endpoints_do_not_share() -> None:
    app = FastAPI()
    limited = Depends(rate_limit(limit=1, window=WINDOW))

    @app.get("/a", dependencies=[limited])
    @app.get("/b", dependencies=[limited])
    async def read() -> None: ...

    async with client(wrap(app, limiter=still())) as http:
        seen = [(await http.get(path)).status_code for path in ("/a", "/b", "/a")]
    assert seen == [200, 200, 429]


async def test_the_key_may_be_found_by_an_async_function() -> None:
    async def key(request: Request) -> str:
        return request.headers["x-shop"]

    app = wrap(one_per_window(key_func=key), limiter=still())
    async with client(app) as http:
        seen = [
            (await http.get("/items/1", headers={"x-shop": shop})).status_code
            for shop in ("a", "a", "b")
        ]
    assert seen == [200, 429, 200]


async def test_a_key_that_is_no_string_is_an_error_not_a_shared_quota() -> None:
    app = one_per_window(key_func=lambda _: None)
    async with client(app) as http:
        with pytest.raises(TypeError, match="key_func must return a string, got None"):
            await http.get("/items/1")


async def test_the_same_limit_twice_on_one_route_is_charged_once() -> None:
    app = FastAPI(dependencies=[Depends(rate_limit(limit=1, window=WINDOW))])

    @app.get("/", dependencies=[Depends(rate_limit(limit=1, window=WINDOW))])
    async def read() -> None: ...

    async with client(wrap(app, limiter=still())) as http:
        assert (await http.get("/")).status_code == 200


async def test_a_dependency_works_in_starlette_too() -> None:
    limited = rate_limit(limit=1, window=WINDOW)

    async def read(request: Request) -> PlainTextResponse:
        await limited(request)
        return PlainTextResponse("ok")

    app = wrap(Starlette(routes=[Route("/", read)]), limiter=still())
    async with client(app) as http:
        seen = [(await http.get("/")).status_code for _ in range(2)]
    assert seen == [200, 429]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("limit", 0, ValueError),
        ("window", -1, ValueError),
        ("key_func", "user", TypeError),
    ],
)
def test_a_bad_argument_of_a_dependency_is_named(
    field: str, value: object, error: type[Exception]
) -> None:
    options: dict[str, Any] = {"limit": 1, "window": 1, field: value}
    with pytest.raises(error, match=field):
        rate_limit(**options)


@pytest.mark.parametrize("make", [per_user_rate_limit, per_api_key_rate_limit])
def test_the_other_dependencies_are_checked_as_well(make: Any) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        make(limit=0, window=1)


def test_fastapi_is_needed_for_the_aliases_alone() -> None:
    script = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from server_kit.ratelimit import *\n"
        "from server_kit import ratelimit\n"
        "try: ratelimit.RateLimited\n"
        "except ModuleNotFoundError: print('only then')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "only then\n"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = ratelimit.Nonsense


async def test_it_works_as_a_middleware_of_starlette() -> None:
    limited = Middleware(RateLimitMiddleware, limiter=still(), default_limit=1)
    async with client(wrap(Starlette(middleware=[limited]))) as http:
        seen = [(await http.get("/x")).status_code for _ in range(2)]
    assert seen == [404, 429]
