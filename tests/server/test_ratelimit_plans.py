"""Whose quotas a request counts against, how many, and who need not care."""

import re
from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from httpx import AsyncClient, Response
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from resilient_http.problems import UnauthorizedException
from server_kit import wrap
from server_kit.asgi import Receive, Scope, Send
from server_kit.ratelimit import (
    Quota,
    RateLimiter,
    RateLimitMiddleware,
    client_key,
    rate_limit,
    user_key,
)
from server_kit.ratelimit.plans import Plan
from tests.server.limited import WINDOW, client, counted, still

BOTH = pytest.mark.parametrize("around", [wrap, lambda app: app])


async def get(http: AsyncClient, times: int, path: str = "/", **headers: str) -> Any:
    named = {f"x-{name}": value for name, value in headers.items()}
    return [await http.get(path, headers=named) for _ in range(times)]


def statuses(answers: list[Response]) -> list[int]:
    return [answer.status_code for answer in answers]


def by_shop(request: Request) -> str:
    return request.headers["x-shop"]


async def by_shop_later(request: Request) -> str:
    return request.headers["x-shop"]


@BOTH
@pytest.mark.parametrize("key_func", [by_shop, by_shop_later])
async def test_a_function_says_whose_quota_it_is(around: Any, key_func: Any) -> None:
    app = around(counted(key_func=key_func))
    async with client(app) as http:
        seen = statuses(await get(http, 3, shop="a"))
        seen += statuses(await get(http, 1, shop="b"))
    assert seen == [200, 200, 429, 200]


def plan(request: Request) -> list[Quota] | None:
    name = request.headers.get("x-plan")
    if name is None:
        return None
    if name == "unlimited":
        return []
    return [Quota(name, {"free": 1, "paid": 3}[name], WINDOW)]


async def plan_later(request: Request) -> list[Quota] | None:
    return plan(request)


@BOTH
@pytest.mark.parametrize("quotas", [plan, plan_later])
async def test_every_caller_has_the_quota_of_its_plan(around: Any, quotas: Any) -> None:
    async with client(around(counted(quotas=quotas))) as http:
        free, paid = await get(http, 2, plan="free"), await get(http, 4, plan="paid")
        usual, unlimited = await get(http, 3), await get(http, 9, plan="unlimited")
    assert statuses(free) == [200, 429]
    assert statuses(paid) == [200, 200, 200, 429]
    assert statuses(usual) == [200, 200, 429]
    assert statuses(unlimited) == [200] * 9
    assert "x-ratelimit-limit" not in unlimited[0].headers
    assert paid[0].headers["ratelimit-policy"] == '"default";q=3;w=60'


def three(request: Request) -> list[Quota]:
    return [
        Quota(client_key(request.scope), 4, WINDOW),
        Quota(f"user:{request.headers['x-user']}", 2, WINDOW),
        Quota("everyone", 5, WINDOW),
    ]


@BOTH
@pytest.mark.case("RL-21", "RL-23")
async def test_several_quotas_are_one_decision(around: Any) -> None:
    async with client(around(counted(quotas=three))) as http:
        ann = await get(http, 4, user="ann")
        bob = await get(http, 2, user="bob")
        eve = await get(http, 1, user="eve")
    # What was refused was charged to nobody: bob finds two left of the four.
    assert statuses(ann) == [200, 200, 429, 429]
    assert statuses(bob) == [200, 200]
    assert statuses(eve) == [429]
    policies = '"default";q=4;w=60, "default-2";q=2;w=60, "default-3";q=5;w=60'
    assert {it.headers["ratelimit-policy"] for it in [*ann, *bob, *eve]} == {policies}
    assert bob[0].headers["ratelimit"] == (
        '"default";r=1;t=60, "default-2";r=1;t=60, "default-3";r=2;t=60'
    )
    assert ann[2].json()["violated-policies"] == ["default-2"]
    assert ann[2].json()["limit"] == 2
    assert eve[0].json()["violated-policies"] == ["default"]
    assert eve[0].json()["type"] == "rate-limit-exceeded"


async def of_user(request: Request) -> Quota | None:
    user = request.headers.get("x-user")
    return None if user is None else Quota(user, 2, WINDOW)


def of_address(request: Request) -> Quota:
    return Quota(client_key(request.scope), 3, WINDOW)


@BOTH
@pytest.mark.case("RL-12", "RL-23")
async def test_quotas_have_the_names_that_they_are_given(around: Any) -> None:
    app = around(counted(quotas={"user": of_user, "address": of_address}))
    async with client(app) as http:
        ann = await get(http, 3, user="ann")
        nobody = await get(http, 2)
    assert statuses(ann + nobody) == [200, 200, 429, 200, 429]
    first = '"user";r=1;t=60, "address";r=2;t=60'
    assert ann[0].headers["ratelimit"] == first
    assert nobody[0].headers["ratelimit-policy"] == '"address";q=3;w=60'
    assert ann[2].json()["violated-policies"] == ["user"]
    assert nobody[1].json()["violated-policies"] == ["address"]


async def test_a_quota_that_stands_there_twice_is_charged_once() -> None:
    def twice(request: Request) -> list[Quota]:
        keys = user_key(request), client_key(request.scope)
        return [Quota(key, 2, WINDOW) for key in keys]

    async with client(counted(quotas=twice)) as http:
        answers = await get(http, 3)
    assert statuses(answers) == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"default";q=2;w=60'


async def test_of_a_refusal_that_was_foreseen_the_others_are_not_told() -> None:
    class Remembers(RateLimiter):
        async def decide(self, quotas: Any) -> Any:
            decisions = await super().decide(quotas)
            if all(it is not None and it.allowed for it in decisions):
                return decisions
            return [None if it is None or it.allowed else it for it in decisions]

    app = counted(quotas=three, limiter=Remembers(clock=lambda: 0.0))
    async with client(app) as http:
        refused = (await get(http, 3, user="ann"))[-1]
    assert refused.headers["ratelimit"] == '"default-2";r=0;t=60'
    assert refused.headers["ratelimit-policy"].count("q=") == 3
    assert refused.json()["violated-policies"] == ["default-2"]


def is_internal(request: Request) -> bool:
    return "x-internal" in request.headers


async def is_internal_later(request: Request) -> bool:
    return "x-internal" in request.headers


@pytest.mark.parametrize("exempt", [is_internal, is_internal_later])
async def test_others_can_be_exempt(exempt: Any) -> None:
    async with client(counted(exempt=exempt)) as http:
        answers = await get(http, 5, internal="yes")
        seen = statuses(await get(http, 3))
    assert statuses(answers) == [200] * 5
    assert "ratelimit" not in answers[0].headers
    assert seen == [200, 200, 429]


def breaks(_: Request) -> Any:
    raise LookupError("users.db is locked")


async def wrong(_: Request) -> Any:
    return 5


@pytest.mark.parametrize(
    "options",
    [
        {"key_func": breaks},
        {"key_func": wrong},
        {"quotas": breaks},
        {"quotas": wrong},
        {"quotas": {"user": wrong}},
        {"quotas": lambda _: [5]},
        {"exempt": breaks},
    ],
)
@pytest.mark.parametrize("place", ["outside", "wrapped", "inside"])
async def test_a_function_that_fails_is_a_crash(
    options: dict[str, Any], place: str
) -> None:
    async def reached(scope: Scope, receive: Receive, send: Send) -> None:
        pytest.fail("what cannot be counted was let through")

    app: Any = counted(reached, **options)
    if place == "inside":
        app = Starlette()
        app.add_middleware(RateLimitMiddleware, limiter=still(), **options)
    app = app if place == "outside" else wrap(app)
    async with client(app, raise_app_exceptions=False) as http:
        answer = await http.get("/")
    assert answer.status_code == 500
    assert answer.json()["type"] == "internal-server-error"
    assert "users.db" not in answer.text
    async with client(app) as http:
        with pytest.raises((LookupError, TypeError)):  # which the server must hear of
            await http.get("/")


@BOTH
async def test_a_problem_that_a_function_raises_is_the_answer(around: Any) -> None:
    def known(request: Request) -> str:
        raise UnauthorizedException("Who are you?")

    async with client(around(counted(key_func=known))) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.json()["detail"]) == (401, "Who are you?")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key_func", "user"),
        ("quotas", 5),
        ("quotas", {"user": 5}),
        ("exempt", "/x"),
        ("per_route", 1),
        ("shadow", "yes"),
        ("listeners", [5]),
    ],
)
def test_a_bad_argument_is_named(field: str, value: object) -> None:
    with pytest.raises(TypeError, match=field):
        counted(**{field: value})


def searching(**options: Any) -> FastAPI:
    app, limited = FastAPI(), Depends(rate_limit(10, WINDOW, **options))

    @app.get("/search", dependencies=[limited])
    async def search() -> str:
        return "found"

    return wrap(app, limiter=still())


def size(request: Request) -> int:
    return int(request.query_params.get("size", 1))


async def size_later(request: Request) -> int:
    return size(request)


@pytest.mark.parametrize("cost", [size, size_later])
async def test_a_request_may_cost_more_than_one(cost: Callable[..., Any]) -> None:
    async with client(searching(cost=cost)) as http:
        paths = [f"/search?size={number}" for number in (4, 7, 0, 6, 0, 1)]
        answers = [await http.get(path) for path in paths]
    assert statuses(answers) == [200, 429, 200, 200, 200, 429]
    left = [answer.headers["x-ratelimit-remaining"] for answer in answers]
    assert left == ["6", "6", "6", "0", "0", "0"]


async def test_a_cost_may_be_fixed() -> None:
    async with client(searching(cost=5)) as http:
        assert statuses(await get(http, 3, "/search")) == [200, 200, 429]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"cost": 11}, ValueError),
        ({"cost": -1}, ValueError),
        ({"cost": "1"}, TypeError),
        ({"quotas": 5}, TypeError),
    ],
)
def test_a_bad_argument_of_a_dependency_is_named(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(options))):
        rate_limit(10, WINDOW, **options)


async def test_a_dependency_has_plans_too_and_every_endpoint_its_own() -> None:
    limited = rate_limit(5, WINDOW, quotas={"user": of_user, "address": of_address})

    async def read(request: Request) -> PlainTextResponse:
        await limited(request)
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/a/{id}", read), Route("/b", read)])
    async with client(wrap(app, limiter=still())) as http:
        one = await get(http, 2, "/a/1", user="ann")
        refused = await get(http, 1, "/a/2", user="ann")
        other = await get(http, 1, "/b", user="ann")
    assert statuses(one + refused + other) == [200, 200, 429, 200]
    assert other[0].headers["ratelimit"] == '"user";r=1;t=60, "address";r=2;t=60'
    assert refused[0].json()["violated-policies"] == ["user"]


async def test_a_dependency_without_quotas_asks_nobody() -> None:
    async with client(searching(quotas=lambda _: [])) as http:
        answers = await get(http, 20, "/search")
    assert statuses(answers) == [200] * 20
    assert "ratelimit" not in answers[0].headers


def test_dependencies_with_plans_compare_by_what_they_are() -> None:
    one, other = (
        rate_limit(5, WINDOW, quotas={"user": of_user}, cost=2) for _ in range(2)
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one != rate_limit(5, WINDOW, quotas={"address": of_user}, cost=2)
    assert one != rate_limit(5, WINDOW, quotas={"user": of_user})


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("limit", 0, ValueError),
        ("limit", 1.0, TypeError),
        ("window", 0, ValueError),
        ("window", "60", TypeError),
        ("key_func", "user", TypeError),
        ("cost", 11, ValueError),
        ("cost", "1", TypeError),
        ("quotas", 5, TypeError),
    ],
)
def test_a_bad_field_of_a_plan_is_named_and_shown(
    field: str, value: object, error: type[Exception]
) -> None:
    fields: dict[str, Any] = {"limit": 10, "window": WINDOW, field: value}
    with pytest.raises(error, match=rf"^{field} must .* got {re.escape(repr(value))}$"):
        Plan(**fields)


@pytest.mark.parametrize("value", [5, None])
def test_what_cannot_tell_a_quota_is_named_by_the_name_of_the_quota(value: Any) -> None:
    said = rf"^quotas\['user'\] must be callable, got {value}$"
    with pytest.raises(TypeError, match=said):
        Plan(10, WINDOW, quotas={"address": of_address, "user": value})


def test_a_plan_is_told_no_more_than_it_says() -> None:
    told = ["limit", "window", "key_func", "cost", "quotas"]
    assert [*signature(Plan).parameters] == told


def anybody(address: str = "192.0.2.1") -> HTTPConnection:
    return HTTPConnection({"type": "http", "client": (address, 1), "headers": []})


async def test_a_plan_is_one_quota_of_the_client_and_a_unit_of_it() -> None:
    key, plan = client_key(anybody().scope), Plan(5, WINDOW)
    assert await plan.of(anybody()) == [("default", Quota(key, 5, WINDOW, 1))]


async def test_keys_have_the_prefix_and_all_else_is_as_it_was() -> None:
    plan = Plan(5, WINDOW, key_func=lambda _: "k", cost=3)
    assert await plan.of(anybody(), "a:") == [("default", Quota("a:k", 5, WINDOW, 3))]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key_func": wrong}, "key_func must return a string, got 5"),
        ({"quotas": lambda _: [5]}, "quotas must return a Quota or None, got 5"),
        ({"quotas": {"user": wrong}}, "quotas must return a Quota or None, got 5"),
    ],
)
async def test_what_a_function_may_not_return_is_shown(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=f"^{said}$"):
        await Plan(10, WINDOW, **options).of(anybody())
