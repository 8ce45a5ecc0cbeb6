"""Servers that can do so much and no more, behind a network that takes its time."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from random import Random
from typing import Any, Final

import httpx

from benchmarks.overload.scenario import (
    QUEUE,
    REFUSING,
    ROUND_TRIP,
    SERVICE,
    Scale,
    Scenario,
)
from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send

Wrap = Callable[[ASGIApp], ASGIApp]
"""What is put around an app; the app itself for nothing."""

_OK: Final = 200


class Server:
    """One worker, first come, first served.

    It finishes what it has begun, whether or not somebody waits for it, unless what is
    around its app cancels that. It begins when the one before is done, also where the
    loop is late to tell it so.

    Args:
        around: What its app is wrapped with.
        rng: Where service times come from.

    """

    def __init__(self, around: Wrap, rng: Random) -> None:
        self.app = around(self._serve)
        self.speed = 1.0
        self.is_failing = False
        self._rng = rng
        self._worker = asyncio.Lock()
        self._waiting = 0
        self._free_at = 0.0
        self._time = asyncio.get_running_loop().time

    @property
    def accepts(self) -> bool:
        """Whether there is room for one more connection."""
        return self._waiting * SERVICE < QUEUE

    def refused(self) -> None:
        """Pay for an error, before the next request is worked on."""
        cost = REFUSING * SERVICE / self.speed
        self._free_at = max(self._free_at, self._time()) + cost

    async def _serve(self, _: Scope, __: Receive, send: Send) -> None:
        if self.is_failing:
            await _answer(send, 500)
            return
        self._waiting += 1
        arrived = self._time()
        try:
            async with self._worker:
                await self._work(arrived)
        finally:
            self._waiting -= 1
        await _answer(send, _OK)

    async def _work(self, arrived: float) -> None:
        seconds = self._rng.expovariate(self.speed / SERVICE)
        self._free_at = end = max(arrived, self._free_at) + seconds
        try:
            await asyncio.sleep(end - self._time())
        except asyncio.CancelledError:
            self._free_at -= end - self._time()
            raise


async def _answer(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Service(httpx.AsyncBaseTransport):
    """The network, and in it a balancer that sends each request to any of the servers.

    A caller that gives up is not noticed by a server that does not look.

    Args:
        scale: How many servers there are.
        around: What the app of each is wrapped with.
        rng: Where service times and the balancer's choices come from.

    """

    def __init__(self, scale: Scale, around: Wrap, rng: Random) -> None:
        self._servers = [Server(around, rng) for _ in range(scale.servers)]
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()
        self.tries = [0] * (int(scale.over) + 1)
        """By second, the requests that were sent."""

    def pull(self, scenario: Scenario) -> None:
        """Let the trigger begin."""
        for server in self._servers:
            server.speed = scenario.speed
        self._servers[0].is_failing = scenario.is_first_failing

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Hand a request to one of the servers, and wait for its answer."""
        self.tries[int(self._loop.time())] += 1
        server = self._rng.choice(self._servers)
        await asyncio.sleep(ROUND_TRIP)
        if not server.accepts:
            raise httpx.ConnectError("The backlog is full", request=request)
        exchange = _Exchange(self._loop, request)
        served = self._loop.create_task(exchange.served_by(server), context=Context())
        self._running.add(served)
        served.add_done_callback(self._running.discard)
        return await exchange.answer(request.extensions["timeout"]["read"])


class _Exchange:
    """One request, and the answer that a client may no longer wait for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: httpx.Request) -> None:
        self._loop = loop
        self._request = request
        self._answer: asyncio.Future[httpx.Response] = loop.create_future()
        self._gone: asyncio.Future[None] | None = None
        self._head: Message = {}
        self._body = b""
        self._is_read = False

    async def answer(self, seconds: float | None) -> httpx.Response:
        """Wait for it for so long."""
        timer = None
        if seconds is not None:
            timer = self._loop.call_later(seconds - ROUND_TRIP, self._give_up)
        try:
            return await self._answer
        finally:
            if timer is not None:
                timer.cancel()
            if self._gone is not None and not self._gone.done():
                self._gone.set_result(None)

    def _give_up(self) -> None:
        if not self._answer.done():
            error = httpx.ReadTimeout("No answer in time", request=self._request)
            self._answer.set_exception(error)

    async def served_by(self, server: Server) -> None:
        """Be served, to the end."""
        url = self._request.url
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path,
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower(), it) for name, it in self._request.headers.raw],
            "client": ("10.0.0.1", 50_000),
            "server": ("10.0.0.2", 80),
        }
        await server.app(scope, self._receive, self._send)
        if self._head["status"] != _OK:
            server.refused()
        if not self._answer.done():
            self._answer.set_result(
                httpx.Response(
                    self._head["status"],
                    headers=self._head["headers"],
                    stream=httpx.ByteStream(self._body),
                )
            )

    async def _receive(self) -> Message:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if not self._answer.done():
            self._gone = self._loop.create_future()
            await self._gone
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
        else:
            self._body += message["body"]
