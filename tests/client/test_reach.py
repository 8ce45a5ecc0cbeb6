"""Whatever httpx sends through, ours sends through: apps, mocks, caches, aiohttp."""

import importlib
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID, uuid4

import aiohttp
import hishel
import httpx_aiohttp
import pytest
import respx
from fastapi import FastAPI, Response
from pytest_httpx import HTTPXMock
from starlette.applications import Starlette
from starlette.routing import Mount

import server_kit
from resilient_http import BreakerConfig, Policy, State
from resilient_http.problems import (
    AppException,
    CircuitBreakerOpenException,
    Contract,
    DeadlineExceededException,
)
from tests.client.wire import wire_server
from tests.client.world import Caller, Colour, ManualClock, World
from tests.family import (
    AsyncClient,
    AsyncResilientTransport,
    Client,
    ResilientTransport,
    httpx,
)
from tests.served import served

on_httpx = pytest.mark.skipif(
    httpx.__name__ != "httpx", reason="this package is for httpx alone"
)
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class Empty(AppException):
    """Nothing is left."""

    type = "empty"
    title = "Empty"
    status = 409


CONTRACT = Contract(Empty)


def caller(colour: Colour, transport: Any = None, **options: Any) -> Caller:
    options = {"transport": transport, "state": State(clock=ManualClock()), **options}
    return Caller(AsyncClient(**options) if colour == "async" else Client(**options))


def counts(caller: Caller, key: str = "http://a:80") -> dict[str, Any]:
    client: Any = caller.client
    known: dict[str, Any] = client.snapshot()["origins"][key]
    return known


class Flaky:
    """What answers with the next status of a list, as an app of each kind."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[bytes] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.content)
        return httpx.Response(self.statuses.pop(0), text="said")

    def wsgi(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.bodies.append(environ["wsgi.input"].read())
        start_response(f"{self.statuses.pop(0)} Said", [])
        return [b"said"]

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append(await body_of(receive))
        start = {"type": "http.response.start", "status": self.statuses.pop(0)}
        await send({**start, "headers": []})
        await send({"type": "http.response.body", "body": b"said"})


async def body_of(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


APPS: dict[str, tuple[Colour, Callable[[Flaky], Any]]] = {
    "mock": ("sync", lambda app: httpx.MockTransport(app.answer)),
    "async mock": ("async", lambda app: httpx.MockTransport(app.answer)),
    "wsgi": ("sync", lambda app: httpx.WSGITransport(app=app.wsgi)),
    "asgi": ("async", lambda app: httpx.ASGITransport(app=app.asgi)),
}


@pytest.mark.parametrize("kind", APPS)
@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_an_app_in_the_process_is_asked_again(kind: str, size: int) -> None:
    colour, transport = APPS[kind]
    app, body = Flaky(503, 503, 200), b"x" * size
    called = caller(colour, transport(app))
    response = await called.request("PUT", "http://a/", content=body)
    assert (response.status_code, response.text) == (200, "said")
    assert app.bodies == [body] * 3
    assert counts(called)["sends"] == 3


@pytest.mark.parametrize("wrapped", [True, False])
async def test_fastapi_is_asked_again_and_its_problems_are_typed(
    wrapped: bool,
) -> None:
    app, statuses = FastAPI(), [503, 200]

    @app.get("/flaky")
    async def flaky(response: Response) -> str:
        response.status_code = statuses.pop(0)
        return "said"

    @app.get("/empty")
    async def empty() -> None:
        raise Empty("all gone")

    served_app = server_kit.wrap(app, contract=CONTRACT) if wrapped else app
    called = caller("async", httpx.ASGITransport(app=served_app), contract=CONTRACT)
    assert (await called.get("http://a/flaky")).json() == "said"
    assert counts(called)["sends"] == 2
    with pytest.raises(Empty, match="all gone"):
        (await called.get("http://a/empty")).raise_for_status()


@on_httpx
@pytest.mark.parametrize("using", ["httpcore", "httpx"])
async def test_respx_sees_each_send(
    colour: Colour, using: Literal["httpcore", "httpx"]
) -> None:
    called = caller(colour)
    with respx.mock(using=using) as mock:
        steps: list[Any] = [
            httpx.Response(503),
            httpx.ConnectError,
            httpx.Response(200, text="ok"),
        ]
        route = mock.get("http://a/").mock(side_effect=steps)
        assert (await called.get()).text == "ok"
    assert route.call_count == counts(called)["sends"] == 3


@on_httpx
async def test_pytest_httpx_sees_each_send(
    colour: Colour, httpx_mock: HTTPXMock
) -> None:
    httpx_mock.add_response(503)
    httpx_mock.add_exception(httpx.ReadTimeout("late"))
    httpx_mock.add_response(200, text="ok")
    called = caller(colour)
    assert (await called.get()).text == "ok"
    assert len(httpx_mock.get_requests()) == counts(called)["sends"] == 3


class Memory(hishel.AsyncBaseStorage):
    """The storages that hishel brings for async code need a package or a server."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, tuple[hishel.Entry, bytes]] = {}

    async def create_entry(
        self, request: Any, response: Any, key: str, **_: Any
    ) -> hishel.Entry:
        body = b"".join([part async for part in response.stream])
        self.entries[key] = hishel.Entry(uuid4(), request, response), body
        return (await self.get_entries(key))[0]

    async def get_entries(self, key: str) -> list[hishel.Entry]:
        return [self._opened(*self.entries[key])] if key in self.entries else []

    def _opened(self, entry: hishel.Entry, body: bytes) -> hishel.Entry:
        async def parts() -> AsyncIterator[bytes]:
            yield body

        return replace(entry, response=replace(entry.response, stream=parts()))

    async def update_headers(self, id: UUID, headers: Any) -> None:  # noqa: A002 - hishel's name
        raise NotImplementedError

    async def remove_entry(self, id: UUID) -> None:  # noqa: A002 - hishel's name
        raise NotImplementedError

    async def close(self) -> None:
        self.entries.clear()


def cached(colour: Colour, inner: Any) -> Any:
    adapter = importlib.import_module(f"hishel.{httpx.__name__}")
    if colour == "async":
        return adapter.AsyncCacheTransport(inner, storage=Memory())
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    storage = hishel.SqliteStorage(connection=memory)
    return adapter.CacheTransport(inner, storage=storage)


async def test_what_hishel_has_kept_is_a_send_that_succeeded(colour: Colour) -> None:
    world = World(503, 200)
    called = caller(colour, cached(colour, world.transport))
    answers = [await called.get() for _ in range(3)]
    assert [answer.text for answer in answers] == ["body"] * 3
    kept = [answer.extensions["caching"]["from_cache"] for answer in answers]
    assert (kept, world.sends) == ([False, True, True], 2)
    known = counts(called)
    assert (known["sends"], known["breaker"]["failures"]) == (4, 1)
    assert known["breaker"]["failed_in_row"] == 0
    await called.read(answers[0])
    await close(called)


async def test_a_cache_around_the_breaker_answers_while_it_is_open(
    colour: Colour,
) -> None:
    world = World(200, 503)
    policy = Policy(breaker=BreakerConfig(failure_threshold=1), retry=None)
    kind: Any = AsyncResilientTransport if colour == "async" else ResilientTransport
    transport = cached(colour, kind(world.transport, policy, state=world.state))
    plain: Any = httpx.AsyncClient if colour == "async" else httpx.Client
    called = Caller(plain(transport=transport))
    await called.get("http://a/kept")
    await called.get("http://a/fails")
    with pytest.raises(CircuitBreakerOpenException):
        await called.get("http://a/fails")
    assert (await called.get("http://a/kept")).text == "body"
    assert world.sends == 2
    await close(called)


async def close(called: Caller) -> None:
    if isinstance(called.client, httpx.AsyncClient):
        await called.client.aclose()
    else:
        called.client.close()


@on_httpx
@on_asyncio
@pytest.mark.parametrize("content", [b"x" * 10, b"x" * 1_000_000])
async def test_aiohttp_carries_each_send(content: bytes) -> None:
    app = Flaky(503, 503, 200)
    with served(Starlette(routes=[Mount("/", app.asgi)])) as url:
        called = caller("async", httpx_aiohttp.AiohttpTransport())
        response = await called.request("PUT", url, content=content)
        await close(called)
    assert (response.status_code, response.text) == (200, "said")
    assert app.bodies == [content] * 3


def hang_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def say_nothing(connection: socket.socket) -> None:
    connection.recv(1)


@on_httpx
@on_asyncio
async def test_a_post_is_not_repeated_because_aiohttp_calls_it_a_failed_connect() -> (
    None
):
    with wire_server(hang_up) as server:
        called = caller("async", httpx_aiohttp.AiohttpTransport())
        with pytest.raises(httpx.ConnectTimeout) as caught:
            await called.request("POST", server.url)
        await close(called)
    assert len(vars(caught.value)["attempts"]) == server.connections == 1


@on_httpx
@on_asyncio
async def test_a_post_is_repeated_if_aiohttp_made_no_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        called = caller("async", httpx_aiohttp.AiohttpTransport())
        with pytest.raises(httpx.TransportError) as caught:
            await called.request("POST", url)
        await close(called)
    assert len(vars(caught.value)["attempts"]) == 3


async def test_a_post_is_repeated_if_aiohttp_gave_up_to_connect(colour: Colour) -> None:
    gave_up = httpx.ConnectTimeout("late")
    gave_up.__cause__ = aiohttp.ConnectionTimeoutError()
    world = World(gave_up)
    async with world.caller(colour) as called:
        with pytest.raises(httpx.ConnectTimeout):
            await called.request("POST", "http://a/")
    assert world.sends == 3


@on_httpx
@on_asyncio
async def test_a_deadline_cuts_what_aiohttp_waits_for() -> None:
    with wire_server(say_nothing) as server:
        called = Caller(AsyncClient(transport=httpx_aiohttp.AiohttpTransport()))
        with pytest.raises(DeadlineExceededException):
            await called.get(server.url, extensions={"deadline": 0.2})
        await close(called)
    assert server.connections == 1
