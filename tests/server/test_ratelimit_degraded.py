"""What responses say while Redis is not to be had: no figures that nobody knows."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from resilient_http.problems import Contract, OverloadedException
from server_kit import wrap
from server_kit.problems import app_exception_handler
from server_kit.ratelimit import Decision, Quota, RateLimiter, Refused, rate_limit
from server_kit.ratelimit.outage import Fallback
from server_kit.ratelimit.quota import Outage
from tests.server.limited import WINDOW, client, counted
from tests.server.sockets import DENIAL, connect

BOTH = pytest.mark.parametrize("around", [wrap, lambda app: app])
FIGURES = {"ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset"}


class Alone(RateLimiter):
    """A limiter whose Redis is gone."""

    def __init__(self, policy: Outage) -> None:
        super().__init__()
        self._fallback = Fallback(policy, "sliding_window", lambda: 0.0, 100)

    async def decide(self, quotas: Any) -> list[Decision]:
        asked: Sequence[Quota] = list(quotas)
        return self._fallback.decide(asked)


@BOTH
async def test_open_lets_all_through_and_says_so(around: Any) -> None:
    async with client(around(counted(limiter=Alone("open")))) as http:
        answers = [await http.get("/") for _ in range(5)]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-degraded"] == "open"
        assert answer.headers["x-ratelimit-limit"] == "2"
        assert FIGURES.isdisjoint(answer.headers)


@BOTH
@pytest.mark.case("RL-15")
@pytest.mark.parametrize("policy", ["open", "closed", "local"])
async def test_the_policy_stays_as_it_was(around: Any, policy: Outage) -> None:
    async with client(around(counted(limiter=Alone(policy)))) as http:
        answer = await http.get("/")
    assert answer.headers["ratelimit-policy"] == '"default";q=2;w=60'


@BOTH
async def test_local_counts_here_and_its_count_is_not_the_truth(around: Any) -> None:
    async with client(around(counted(limiter=Alone("local")))) as http:
        *_, refused = answers = [await http.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert all(FIGURES.isdisjoint(answer.headers) for answer in answers)
    assert {it.headers["x-ratelimit-degraded"] for it in answers} == {"local"}
    assert refused.headers["retry-after"] == "60"


def endpoint(limiter: RateLimiter, *, wrapped: bool) -> Any:
    app = FastAPI()
    app.add_exception_handler(OverloadedException, app_exception_handler)

    @app.get("/", dependencies=[Depends(rate_limit(limit=2, window=WINDOW))])
    async def read() -> None: ...

    return wrap(app, limiter=limiter)


@pytest.mark.case("RL-24", "RA-7")
@pytest.mark.parametrize(
    "app",
    [
        counted(limiter=Alone("closed")),
        wrap(counted(limiter=Alone("closed"))),
        endpoint(Alone("closed"), wrapped=True),
    ],
)
async def test_closed_is_our_fault_and_not_the_callers(app: Any) -> None:
    async with client(app) as http:
        answer = await http.get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-ratelimit-degraded"] == "closed"
    assert FIGURES.isdisjoint(answer.headers)
    assert answer.json()["type"] == "overloaded"
    error = Contract().parse(503, answer.headers, answer.content, "http://shop/")
    assert isinstance(error, OverloadedException)
    assert type(error).work_not_started  # so that even a POST may be sent again


async def test_closed_refuses_websockets_for_our_sake() -> None:
    app = counted(limiter=Alone("closed"))
    denied = await connect(app, "/", extensions=DENIAL)
    closed = await connect(app, "/")
    assert denied.sent[0]["status"] == 503
    assert closed.sent[0]["code"] == 1011


async def test_listeners_hear_why() -> None:
    heard: list[Refused] = []
    app = counted(limiter=Alone("closed"), listeners=[heard.append])
    async with client(app) as http:
        await http.get("/")
    assert [(event.outage, event.retry_after) for event in heard] == [("closed", 1.0)]


async def test_what_another_limiter_knows_is_told() -> None:
    app = counted(endpoint(Alone("open"), wrapped=False))
    async with client(wrap(app)) as http:
        answer = await http.get("/")
    assert answer.headers["x-ratelimit-remaining"] == "1"
    assert answer.headers["x-ratelimit-degraded"] == "open"
    assert answer.headers["ratelimit"] == '"default";r=1;t=60'
    assert answer.headers["ratelimit-policy"].count("q=") == 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_redis_that_is_not_there_costs_next_to_no_time(
    anyio_backend: str,
) -> None:
    limiter = RateLimiter("redis://127.0.0.1:1", on_outage="open")
    started = time.monotonic()
    async with client(counted(limiter=limiter)) as http:
        answer = await http.get("/")
    assert answer.headers["x-ratelimit-degraded"] == "open"
    assert time.monotonic() - started < 5
    await limiter.aclose()
