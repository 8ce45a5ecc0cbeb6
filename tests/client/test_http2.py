"""What HTTP/2 says of a request that was not answered, and what is made of it."""

import io
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Self

import anyio
import pytest
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes, Settings

from resilient_http import BreakerConfig, Policy, RetryConfig, State
from resilient_http._hands.http2 import was_not_processed
from tests.client.wire import wire_server
from tests.client.world import Caller, Colour, ManualClock
from tests.family import AsyncClient, Client, httpx

Step = Callable[[H2Connection, int], None]
"""What is done with a request, by its connection and its stream there."""

FAMILY: Final = vars(AsyncClient)["_family"]
ONE_AT_A_TIME: Final = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
LARGE: Final = b"x" * 300_000
"""More than may be sent before the server has allowed it."""


def answer(two: H2Connection, stream: int) -> None:
    two.send_headers(stream, [(":status", "200")])
    two.send_data(stream, b"body", end_stream=True)


def refuse(two: H2Connection, stream: int) -> None:
    two.reset_stream(stream, ErrorCodes.REFUSED_STREAM)


def fail(two: H2Connection, stream: int) -> None:
    two.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)


def answer_half(two: H2Connection, stream: int) -> None:
    two.send_headers(stream, [(":status", "200")])
    refuse(two, stream)


def leave_without(two: H2Connection, stream: int) -> None:
    """Go away, and say that the streams up to this one were all."""
    two.close_connection(last_stream_id=max(stream - 2, 0))


def leave_with(two: H2Connection, stream: int) -> None:
    """Go away, and say that this stream may have been the last."""
    two.close_connection(last_stream_id=stream)


def invite_and_leave_with(two: H2Connection, stream: int) -> None:
    """Ask for the rest of a body, and go away."""
    two.increment_flow_control_window(len(LARGE))
    two.increment_flow_control_window(len(LARGE), stream)
    leave_with(two, stream)


def leave_soon(two: H2Connection, stream: int) -> None:
    """Go away, and say that it is not known yet which stream was the last."""
    two.close_connection(last_stream_id=2**31 - 1)


def leave_untidily(two: H2Connection, stream: int) -> None:
    """Go away, and go on talking, which h2 would not."""
    two.increment_flow_control_window(1)
    more = two.data_to_send()
    leave_with(two, stream)
    vars(two)["_data_to_send"] += more


def has_left(two: H2Connection) -> bool:
    return two.state_machine.state is ConnectionState.CLOSED


@dataclass
class Server:
    """Does with each request what its script says next, and in the end answers."""

    script: list[Step]
    early: bool = False
    """Whether it does so before the body has come."""
    connections: int = 0
    requests: list[tuple[str, bytes]] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        two = H2Connection(H2Configuration(client_side=False))
        two.local_settings = Settings(client=False, initial_values=ONE_AT_A_TIME)
        two.initiate_connection()
        bodies: dict[int, bytes] = {}
        while not has_left(two):
            connection.sendall(two.data_to_send())
            data = connection.recv(65_536)
            if not data:
                return
            for event in two.receive_data(data):
                self._see(two, event, bodies)
        connection.sendall(two.data_to_send())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):  # or what was sent may be lost
            pass

    def _see(self, two: H2Connection, event: Any, bodies: dict[int, bytes]) -> None:
        if isinstance(event, RequestReceived):
            bodies[event.stream_id] = b""
            self.requests.append((dict(event.headers)[b":method"].decode(), b""))
        elif isinstance(event, DataReceived):
            bodies[event.stream_id] += event.data
            if not has_left(two):
                two.acknowledge_received_data(len(event.data), event.stream_id)
        elif isinstance(event, StreamEnded):
            method, _ = self.requests[-1]
            self.requests[-1] = method, bodies[event.stream_id]
        if isinstance(event, RequestReceived if self.early else StreamEnded):
            step = self.script.pop(0) if self.script else answer
            step(two, event.stream_id)


@asynccontextmanager
async def served(
    colour: Colour, *script: Step, early: bool = False, **options: Any
) -> AsyncIterator[tuple[Server, Caller]]:
    server = Server(list(script), early)
    options |= {"state": State(clock=ManualClock()), "http1": False, "http2": True}
    with wire_server(server.serve, after_head=False) as wire:
        options["base_url"] = wire.url
        if colour == "async":
            async with AsyncClient(**options) as client:
                yield server, Caller(client)
        else:
            with Client(**options) as client:
                yield server, Caller(client)


def errors(response: Any) -> list[str | None]:
    """Return what came in place of answers, before there was one or none."""
    return [attempt.error for attempt in response.attempts if attempt.error is not None]


# What was not processed is sent again.


@pytest.mark.case("R8")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=len)
async def test_a_stream_that_was_refused_is_sent_again(
    colour: Colour, method: str, content: bytes
) -> None:
    async with served(colour, refuse) as (server, caller):
        response = await caller.request(method, "/", content=content)
        assert errors(response) == ["RemoteProtocolError"]
        assert response.content == b"body"
    assert server.requests == [(method, content)] * 2
    assert server.connections == 1


@pytest.mark.case("R8")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=len)
async def test_what_a_goaway_leaves_out_is_sent_again_elsewhere(
    colour: Colour, method: str, content: bytes
) -> None:
    async with served(colour, leave_without) as (server, caller):
        response = await caller.request(method, "/", content=content)
        assert errors(response) == ["RemoteProtocolError"]
        assert response.content == b"body"
    assert server.requests == [(method, content)] * 2
    assert server.connections == 2


# httpcore leaves the rest of a body to the collector.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.case("R8")
async def test_so_is_a_body_that_was_on_its_way_when_the_goaway_came(
    colour: Colour,
) -> None:
    script = [answer, leave_without]
    async with served(colour, *script, early=True) as (server, caller):
        await caller.get("/")
        response = await caller.request("POST", "/", content=LARGE)
        assert errors(response) == ["RemoteProtocolError"]
        assert response.status_code == 200
    assert server.connections == 2


async def test_so_is_what_was_never_sent_over_a_connection_that_was_closing() -> None:
    async with served("async", leave_soon) as (server, caller):
        ended: list[Any] = []

        async def post() -> None:
            try:
                ended.append(await caller.request("POST", "/"))
            except httpx.RemoteProtocolError as error:
                ended.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post)
            tasks.start_soon(post)
    lost, sent = sorted(ended, key=lambda end: isinstance(end, httpx.Response))
    assert isinstance(lost, httpx.RemoteProtocolError)
    assert errors(lost) == ["RemoteProtocolError"]
    assert errors(sent) == ["RemoteProtocolError"]
    assert sent.status_code == 200
    assert len(server.requests) == 2


# What may have been processed is not.


@pytest.mark.case("R8")
@pytest.mark.parametrize("step", [leave_with, leave_soon, fail, answer_half])
@pytest.mark.parametrize("content", [b"", LARGE], ids=len)
async def test_a_post_that_may_have_been_processed_is_not_sent_again(
    colour: Colour, step: Step, content: bytes
) -> None:
    async with served(colour, step) as (server, caller):
        with pytest.raises(httpx.RemoteProtocolError) as raised:
            await caller.request("POST", "/", content=content)
        assert errors(raised.value) == ["RemoteProtocolError"]
    assert server.requests == [("POST", content)]


# httpcore leaves the rest of a body to the collector.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.case("R8")
@pytest.mark.parametrize("step", [leave_with, invite_and_leave_with])
async def test_nor_is_one_whose_body_was_on_its_way(colour: Colour, step: Step) -> None:
    async with served(colour, step, early=True) as (server, caller):
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.request("POST", "/", content=LARGE)
    assert len(server.requests) == 1


async def test_nor_is_one_that_was_made_while_another_error_was_handled(
    colour: Colour,
) -> None:
    def send_headers() -> NoReturn:
        raise OSError("like the function of that name in h2")

    async with served(colour, leave_with) as (server, caller):
        try:
            send_headers()
        except OSError:
            with pytest.raises(httpx.RemoteProtocolError):
                await caller.request("POST", "/")
    assert len(server.requests) == 1


@pytest.mark.case("R8")
@pytest.mark.parametrize("step", [leave_with, leave_soon, fail, answer_half])
async def test_a_get_that_may_have_been_processed_is(
    colour: Colour, step: Step
) -> None:
    async with served(colour, step) as (server, caller):
        response = await caller.get("/")
        assert errors(response) == ["RemoteProtocolError"]
        assert response.status_code == 200
    assert len(server.requests) == 2


async def test_a_body_that_is_read_only_once_is_not_sent_again(colour: Colour) -> None:
    for step in (refuse, leave_without):
        async with served(colour, step) as (server, caller):
            with pytest.raises(httpx.RemoteProtocolError):
                await caller.request("POST", "/", content=once(colour, b"first"))
        assert server.requests == [("POST", b"first")]


class Again(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """Sends twice of its own accord."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response: httpx.Response = self.inner.handle_request(request)
        except httpx.RemoteProtocolError:
            response = self.inner.handle_request(request)
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response: httpx.Response = await self.inner.handle_async_request(request)
        except httpx.RemoteProtocolError:
            response = await self.inner.handle_async_request(request)
        return response


async def test_a_refusal_that_led_to_a_second_send_says_nothing_of_that(
    colour: Colour,
) -> None:
    made = httpx.AsyncHTTPTransport if colour == "async" else httpx.HTTPTransport
    inner = made(http1=False, http2=True)
    script = [refuse, leave_with]
    async with served(colour, *script, transport=Again(inner)) as (server, caller):
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.request("POST", "/")
    assert len(server.requests) == 2


async def test_of_a_version_that_is_not_known_nothing_is_believed(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FAMILY.core, "__version__", "1.1.0")
    async with served(colour, refuse) as (server, caller):
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.request("POST", "/")
    assert len(server.requests) == 1


@pytest.mark.parametrize("arguments", [(), ("text",), (None,), ("two", "texts")])
def test_an_error_without_an_event_is_no_promise(arguments: tuple[Any, ...]) -> None:
    error = httpx.RemoteProtocolError("broken off")
    assert not was_not_processed(error, FAMILY)
    error.__cause__ = FAMILY.core.RemoteProtocolError(*arguments)
    assert not was_not_processed(error, FAMILY)


# What httpcore does by itself.


@pytest.mark.case("R8")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_a_goaway_leaves_out_later_on_is_one_attempt(
    colour: Colour, method: str
) -> None:
    async with served(colour, answer, leave_without) as (server, caller):
        await caller.get("/")
        response = await caller.request(method, "/", content=LARGE)
        assert errors(response) == []
        assert response.status_code == 200
    assert server.requests[1:] == [(method, LARGE)] * 2
    assert server.connections == 2


@pytest.mark.case("C28")
async def test_a_file_goes_out_whole_though_httpcore_sends_it_twice() -> None:
    async with served("sync", answer, leave_without) as (server, caller):
        await caller.get("/")
        await caller.request("POST", "/", content=io.BytesIO(LARGE))
    assert server.requests[1:] == [("POST", LARGE)] * 2


@pytest.mark.case("C28")
async def test_a_body_that_is_used_up_does_not_go_out_empty(colour: Colour) -> None:
    async with served(colour, answer, leave_without) as (server, caller):
        await caller.get("/")
        with pytest.raises(httpx.RemoteProtocolError, match="only once"):
            await caller.request("POST", "/", content=once(colour, b"first"))
    assert ("POST", b"first") in server.requests


class Once:
    """A body in one piece, which is gone when it has been read."""

    def __init__(self, content: bytes) -> None:
        self.pieces = iter([content])

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for piece in self.pieces:
            return piece
        raise StopAsyncIteration


def once(colour: Colour, content: bytes) -> Any:
    found = Once(content)
    return found if colour == "async" else found.pieces


# What the breaker makes of it.


@pytest.mark.parametrize(
    ("step", "error", "state"),
    [
        (refuse, "RemoteProtocolError", "closed"),
        (leave_without, "RemoteProtocolError", "closed"),
        (leave_with, "RemoteProtocolError", "open"),
        (fail, "RemoteProtocolError", "open"),
        (leave_untidily, "LocalProtocolError", "open"),
    ],
)
async def test_a_server_that_declines_in_good_order_is_not_failing(
    colour: Colour, step: Step, error: str, state: str
) -> None:
    policy = Policy(retry=None, breaker=BreakerConfig(failure_threshold=1))
    async with served(colour, step, policy=policy) as (_, caller):
        with pytest.raises(getattr(httpx, error)):
            await caller.get("/")
        known = caller.client.snapshot()["origins"]  # type: ignore[union-attr]  # ours
    assert [origin["breaker"]["state"] for origin in known.values()] == [state]


# What httpcore takes for a mistake of ours.


async def test_what_a_server_sends_that_it_may_not_is_a_failure_of_its_own(
    colour: Colour,
) -> None:
    async with served(colour, leave_untidily) as (server, caller):
        response = await caller.get("/")
        assert errors(response) == ["LocalProtocolError"]
        assert response.status_code == 200
    assert len(server.requests) == 2


async def test_a_post_to_which_it_was_sent_is_not_sent_again(colour: Colour) -> None:
    retry = RetryConfig(retryable_exceptions=(httpx.TransportError,))
    policy = Policy(retry=retry)
    async with served(colour, leave_untidily, policy=policy) as (server, caller):
        with pytest.raises(httpx.LocalProtocolError):
            await caller.request("POST", "/")
    assert len(server.requests) == 1


async def test_a_request_that_breaks_the_rules_is_not_sent_again(
    colour: Colour,
) -> None:
    async with served(colour) as (server, caller):
        with pytest.raises(httpx.LocalProtocolError) as raised:
            await caller.get("/", headers={"te": "gzip"})
        assert errors(raised.value) == ["LocalProtocolError"]
    assert server.requests == []
