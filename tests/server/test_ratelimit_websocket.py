"""Websockets count when they are opened, and are refused before they are."""

import json
from typing import Annotated, Any

import fastapi
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidStatus

from server_kit import wrap
from server_kit.asgi import Message
from server_kit.ratelimit import RateLimiter, RateLimitMiddleware, Refused, rate_limit
from tests.served import served
from tests.server.apps import AnyApp
from tests.server.limited import WINDOW, counted, still
from tests.server.sockets import DENIAL, Seen, connect

BOTH = pytest.mark.parametrize("around", [wrap, lambda app: app])
PEER = ("192.0.2.1", 1)


async def feed(socket: WebSocket) -> None:
    await socket.accept(headers=[(b"x-feed", b"1")])
    await socket.close()


def feeds(**options: Any) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/feed/{id}", feed)], **options)


async def opened(app: AnyApp, times: int, *, denial: bool = True) -> list[Seen]:
    extensions = DENIAL if denial else {}
    return [
        await connect(app, f"/feed/{it}", extensions=extensions, client=PEER)
        for it in range(times)
    ]


def headers_of(message: Message) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in message["headers"]}


@BOTH
@pytest.mark.case("RL-16")
async def test_an_accepted_handshake_says_how_the_quota_stands(around: Any) -> None:
    first, second, _ = await opened(around(counted(feeds())), 3)
    headers = headers_of(first.sent[0])
    assert first.sent[0]["type"] == "websocket.accept"
    assert headers["x-feed"] == "1"
    assert headers["x-ratelimit-remaining"] == "1"
    assert headers["ratelimit"] == '"default";r=1;t=60'
    assert headers_of(second.sent[0])["ratelimit"] == '"default";r=0;t=60'


@BOTH
@pytest.mark.parametrize("place", ["outside", "inside"])
async def test_a_refused_one_is_a_problem_where_the_server_carries_it(
    around: Any, place: str
) -> None:
    app: Any = counted(feeds(), default_limit=1)
    if place == "inside":
        app = feeds()
        app.add_middleware(RateLimitMiddleware, limiter=still(), default_limit=1)
    _, refused = await opened(around(app), 2)
    start, body = refused.sent
    headers = headers_of(start)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert headers["content-type"] == "application/problem+json"
    assert headers["retry-after"] == "60"
    assert headers["ratelimit"] == '"default";r=0;t=60'
    assert headers["cache-control"] == "no-store"
    document = json.loads(body["body"])
    assert document["type"] == "rate-limit-exceeded"
    assert document["instance"] == "/feed/1"
    assert refused.error is None


@BOTH
async def test_elsewhere_it_is_a_close(around: Any) -> None:
    _, refused = await opened(
        around(counted(feeds(), default_limit=1)), 2, denial=False
    )
    assert refused.sent == [
        {"type": "websocket.close", "code": 1008, "reason": "Too Many Requests"}
    ]
    assert refused.error is None


async def test_handshakes_and_requests_count_alike() -> None:
    app = counted(feeds())
    seen = [await connect(app, "/feed/1", client=PEER) for _ in range(2)]
    assert [it.sent[0]["type"] for it in seen] == ["websocket.accept"] * 2
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await app({**scope, "client": PEER}, None, send)  # type: ignore[arg-type] # it is refused
    assert sent[0]["status"] == 429


@BOTH
async def test_in_shadow_mode_they_are_left_as_they_are(around: Any) -> None:
    heard: list[Refused] = []
    app = counted(feeds(), shadow=True, listeners=[heard.append])
    seen = await opened(around(app), 3)
    assert [headers_of(it.sent[0]) for it in seen] == [{"x-feed": "1"}] * 3
    assert [event.route for event in heard] == ["/feed/{id}"]


@BOTH
async def test_functions_are_given_the_connection(around: Any) -> None:
    def key(connection: HTTPConnection) -> str:
        return connection.headers["x-shop"]

    app = around(counted(feeds(), key_func=key, default_limit=1))
    seen = [
        await connect(app, "/feed/1", headers=[(b"x-shop", shop)], extensions=DENIAL)
        for shop in (b"a", b"a", b"b")
    ]
    kinds = [it.sent[0]["type"].removeprefix("websocket.") for it in seen]
    assert kinds == ["accept", "http.response.start", "accept"]


async def test_a_function_that_fails_is_a_crash() -> None:
    def breaks(connection: HTTPConnection) -> str:
        raise LookupError("users.db")

    app = counted(feeds(), key_func=breaks)
    (bare,) = await opened(app, 1)
    (wrapped,) = await opened(wrap(app), 1)
    assert isinstance(bare.error, LookupError)
    assert bare.sent == []
    assert isinstance(wrapped.error, LookupError)
    assert wrapped.sent[0]["status"] == 500
    assert b"users.db" not in wrapped.sent[1]["body"]


@pytest.mark.case("S22")
async def test_a_dependency_limits_a_websocket_of_fastapi() -> None:
    app = FastAPI()
    limited = rate_limit(limit=1, window=WINDOW)

    @app.websocket("/feed/{number}")
    @app.websocket("/other/{number}")
    async def endpoint(
        socket: fastapi.WebSocket,
        _: Annotated[None, Depends(limited)],
    ) -> None:
        await feed(socket)

    wrapped = wrap(app, limiter=still())
    first, refused = await opened(wrapped, 2)
    other = await connect(wrapped, "/other/1", client=PEER)
    assert headers_of(first.sent[0])["ratelimit"] == '"default";r=0;t=60'
    assert refused.sent[0]["status"] == 429
    assert headers_of(refused.sent[0])["retry-after"] == "60"
    assert other.sent[0]["type"] == "websocket.accept"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@BOTH
async def test_a_real_server_carries_all_of_it(around: Any, anyio_backend: str) -> None:
    app = around(counted(feeds(), limiter=RateLimiter(), default_limit=1))
    with served(app, lifespan="off") as url:
        address = url.replace("http", "ws", 1) + "/feed/1"
        async with websocket(address) as socket:
            assert socket.response is not None
            assert socket.response.headers["X-RateLimit-Remaining"] == "0"
        with pytest.raises(InvalidStatus) as caught:
            await websocket(address)
    refused = caught.value.response
    assert refused.status_code == 429
    assert json.loads(refused.body or b"")["type"] == "rate-limit-exceeded"
    assert int(refused.headers["Retry-After"]) <= 60
