"""What becomes of a request over a connection that was idle, and broke."""

import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from resilient_http import State
from tests.client.wire import WireServer, read_head, wire_server
from tests.client.world import Caller, Colour, ManualClock
from tests.family import AsyncClient, Client, httpx

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
METHODS: Final = ["GET", "POST"]


def close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


Break = Callable[[socket.socket], None]
BREAKS: Final = [close, reset]


class Server:
    """Answers, and breaks its first connection when it is told to after an answer.

    Args:
        end: How it does that.
        when_asked: Whether that is when the next request has come, or when it is told.

    """

    def __init__(self, end: Break, *, when_asked: bool) -> None:
        self._end = end
        self._when_asked = when_asked
        self._told = threading.Event()
        self._done = threading.Event()
        self.requests = 0

    def serve(self, connection: socket.socket) -> None:
        self.requests += 1
        connection.sendall(OK)
        if self.requests > 1:
            return
        if self._when_asked:
            read_head(connection)
            self.requests += 1
        else:
            self._told.wait(5)
        self._end(connection)
        self._done.set()

    def break_off(self) -> None:
        self._told.set()
        assert self._done.wait(5)


@asynccontextmanager
async def idle(
    colour: Colour, server: Server
) -> AsyncIterator[tuple[WireServer, Caller]]:
    """Give a client that has one idle connection."""
    state = State(clock=ManualClock())
    with wire_server(server.serve) as wire:
        if colour == "async":
            async with AsyncClient(base_url=wire.url, state=state) as client:
                await client.get("/")
                yield wire, Caller(client)
        else:
            with Client(base_url=wire.url, state=state) as client:
                client.get("/")
                yield wire, Caller(client)


def errors(response: Any) -> int:
    return sum(attempt.error is not None for attempt in response.attempts)


@pytest.mark.case("R7")
@pytest.mark.parametrize("end", BREAKS)
@pytest.mark.parametrize("method", METHODS)
async def test_one_that_broke_before_is_not_used(
    colour: Colour, end: Break, method: str
) -> None:
    server = Server(end, when_asked=False)
    async with idle(colour, server) as (wire, caller):
        server.break_off()
        response = await caller.request(method, "/")
        assert errors(response) == 0  # httpcore has looked
    assert (server.requests, wire.connections) == (2, 2)


@pytest.mark.case("R7")
@pytest.mark.parametrize("end", BREAKS)
async def test_a_get_over_one_that_breaks_is_sent_again(
    colour: Colour, end: Break
) -> None:
    server = Server(end, when_asked=True)
    async with idle(colour, server) as (wire, caller):
        response = await caller.get("/")
        assert response.status_code == 200
        assert errors(response) == 1
    assert (server.requests, wire.connections) == (3, 2)


@pytest.mark.case("R7")
@pytest.mark.parametrize("end", BREAKS)
async def test_a_post_over_one_that_breaks_is_not(colour: Colour, end: Break) -> None:
    server = Server(end, when_asked=True)
    async with idle(colour, server) as (wire, caller):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await caller.request("POST", "/")
    assert (server.requests, wire.connections) == (2, 1)


@pytest.mark.case("R7")
@pytest.mark.parametrize("end", BREAKS)
async def test_nor_is_a_post_over_one_that_breaks_before_the_first_byte(
    colour: Colour, end: Break
) -> None:
    # It would be safe. But httpcore goes on to read when a write has failed, and what
    # it raises then is the same as if the request had come.
    server = Server(end, when_asked=False)

    def trace(name: str, info: Any) -> None:
        if name == "http11.send_request_headers.started":
            server.break_off()

    async def atrace(name: str, info: Any) -> None:
        trace(name, info)

    extensions = {"trace": atrace if colour == "async" else trace}
    async with idle(colour, server) as (wire, caller):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await caller.request("POST", "/", extensions=extensions)
    assert (server.requests, wire.connections) == (1, 1)
