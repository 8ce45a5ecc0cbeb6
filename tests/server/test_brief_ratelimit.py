"""The brief's examples of rate limiting, as it writes them, import paths apart.

Each app is wrapped, as the brief's template has its error handlers in place.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from httpx import ASGITransport, AsyncClient, Response

from server_kit import (
    RateLimited,
    RateLimiter,
    RateLimitMiddleware,
    StrictRateLimit,
    UserRateLimit,
    per_api_key_rate_limit,
    per_user_rate_limit,
    rate_limit,
    wrap,
)


@dataclass
class User:
    id: str


def get_current_user(request: Request) -> User:
    return User(request.headers["x-user"])


def client(app: Any, address: str = "192.0.2.1") -> AsyncClient:
    return AsyncClient(
        transport=ASGITransport(app, client=(address, 1)), base_url="http://shop"
    )


def limiter_at(*times: float) -> RateLimiter:
    """Return a limiter whose clock stands still at the last of `times`."""
    left = list(times)
    return RateLimiter(clock=lambda: left.pop(0) if len(left) > 1 else left[0])


async def statuses(
    http: AsyncClient, method: str, url: str, times: int, **headers: str
) -> list[int]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [
        (await http.request(method, url, headers=named)).status_code
        for _ in range(times)
    ]


async def identify(
    request: Request, call_next: Callable[[Request], Awaitable[Any]]
) -> Any:
    """Do what the brief's authentication does before any of its examples run."""
    if "x-user" in request.headers:
        request.state.user = get_current_user(request)
    return await call_next(request)


def brief_app(limiter: RateLimiter) -> FastAPI:
    app = FastAPI()
    router = APIRouter()

    # Per-endpoint rate limiting
    @router.get("/expensive-operation")
    async def expensive_op(
        _: Annotated[None, Depends(rate_limit(limit=5, window=60))],
    ) -> Any:
        return {"result": "success"}

    # Per-user rate limiting
    @router.post("/user-action")
    async def user_action(
        _: Annotated[None, Depends(per_user_rate_limit(limit=10, window=3600))],
        user: Annotated[User, Depends(get_current_user)],
    ) -> Any:
        return {"status": "ok"}

    # Custom key function
    def custom_key(request: Request) -> str:
        return f"custom:{request.state.user.id}"

    @router.get("/data")
    async def get_data(
        _: Annotated[
            None, Depends(rate_limit(limit=20, window=60, key_func=custom_key))
        ],
    ) -> Any:
        return {"data": "value"}

    @router.get("/by-key")
    async def by_key(
        _: Annotated[None, Depends(per_api_key_rate_limit(limit=3, window=60))],
    ) -> Any:
        return {}

    @router.get("/limited")
    async def limited(_: RateLimited) -> Any:
        return {}

    @router.get("/strict")
    async def strict(_: StrictRateLimit) -> Any:
        return {}

    @router.get("/per-user")
    async def per_user(_: UserRateLimit) -> Any:
        return {}

    app.middleware("http")(identify)
    app.include_router(router)
    return wrap(app, limiter=limiter)


@pytest.fixture
def app() -> FastAPI:
    return brief_app(limiter_at(0.0))


async def test_the_global_middleware_answers_the_101st_of_110_requests() -> None:
    limiter = limiter_at(0.0)
    app = FastAPI()

    @app.get("/api/v1/data")
    async def data() -> Any:
        return {"data": "value"}

    # Global middleware (applied to all endpoints)
    app.add_middleware(
        RateLimitMiddleware,
        limiter=limiter,
        default_limit=100,
        default_window=60,
    )
    async with client(wrap(app)) as http:
        answers = [await http.get("/api/v1/data") for _ in range(110)]
    assert [answer.status_code for answer in answers] == [200] * 100 + [429] * 10
    assert_brief(answers[100])


def assert_brief(refused: Response) -> None:
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["content-type"] == "application/problem+json"
    document = refused.json()
    assert document.pop("instance") == "/api/v1/data"
    assert document.pop("request_id") == refused.headers["x-request-id"]
    assert document == {
        "type": "rate-limit-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Rate limit exceeded. Retry after 60 seconds",
        "limit": 100,
        "remaining": 0,
        "retry_after": 60,
    }


async def test_the_briefs_headers_are_on_every_response() -> None:
    app = FastAPI()
    app.add_middleware(RateLimitMiddleware, limiter=limiter_at(0.0), default_limit=1)
    async with client(app) as http:
        answers = [await http.get("/nothing-here") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [404, 429]
    for answer in answers:
        assert answer.headers["x-ratelimit-limit"] == "1"
        assert answer.headers["x-ratelimit-remaining"] == "0"
        assert int(answer.headers["x-ratelimit-reset"]) > 0


async def test_an_endpoint_is_limited_per_client(app: FastAPI) -> None:
    async with client(app) as http:
        seen = await statuses(http, "GET", "/expensive-operation", 7)
    async with client(app, "192.0.2.2") as other:
        seen += await statuses(other, "GET", "/expensive-operation", 1)
    assert seen == [200] * 5 + [429] * 2 + [200]


async def test_an_action_is_limited_per_user(app: FastAPI) -> None:
    async with client(app) as http:
        seen = await statuses(http, "POST", "/user-action", 11, x_user="ann")
        seen += await statuses(http, "POST", "/user-action", 1, x_user="bob")
    assert seen == [200] * 10 + [429, 200]


async def test_a_key_function_says_whose_quota_it_is(app: FastAPI) -> None:
    async with client(app) as http:
        seen = await statuses(http, "GET", "/data", 21, x_user="ann")
        seen += await statuses(http, "GET", "/data", 1, x_user="bob")
    assert seen == [200] * 20 + [429, 200]


async def test_an_endpoint_is_limited_per_api_key(app: FastAPI) -> None:
    async with client(app) as http:
        seen = await statuses(http, "GET", "/by-key", 4, x_api_key="one")
        seen += await statuses(http, "GET", "/by-key", 1, x_api_key="two")
    assert seen == [200] * 3 + [429, 200]


@pytest.mark.parametrize(
    ("path", "limit", "for_another"),
    [("/limited", 100, 429), ("/strict", 10, 429), ("/per-user", 50, 200)],
)
async def test_the_aliases_have_the_briefs_limits(
    app: FastAPI, path: str, limit: int, for_another: int
) -> None:
    async with client(app) as http:
        seen = await statuses(http, "GET", path, limit + 1, x_user="ann")
        seen += await statuses(http, "GET", path, 1, x_user="bob")
    assert seen == [200] * limit + [429, for_another]


async def test_a_window_later_there_is_room_again() -> None:
    app = brief_app(limiter_at(*[0.0] * 6, 60.0))
    async with client(app) as http:
        seen = await statuses(http, "GET", "/expensive-operation", 7)
    assert seen == [200] * 5 + [429, 200]
