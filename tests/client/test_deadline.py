"""One deadline for the whole call, the body included."""

import math
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from resilient_http import Policy, RetryConfig, State, deadline
from resilient_http.problems import MEDIA_TYPE, DeadlineExceededException
from tests.client.wire import drip, wire_server
from tests.client.world import Caller, Colour, Recorded, World
from tests.family import AsyncClient, Client, ResilientTransport, httpx, wrap

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
BODY = b"x" * 100


def client_of(colour: Colour, **options: Any) -> AsyncClient | Client:
    return AsyncClient(**options) if colour == "async" else Client(**options)


async def close(client: AsyncClient | Client) -> None:
    if isinstance(client, AsyncClient):
        await client.aclose()
    else:
        client.close()


def connections(client: AsyncClient | Client) -> list[Any]:
    transport: Any = client._transport  # noqa: SLF001 - httpx shows its pool nowhere
    return list(transport._pool.connections)  # noqa: SLF001 - likewise


@pytest.mark.case("C45", "R1", "R2")
@pytest.mark.parametrize("part", ["head", "body"])
@pytest.mark.parametrize("how", ["get", "stream"])
async def test_a_drip_ends_at_the_deadline(colour: Colour, part: str, how: str) -> None:
    sent = (b"", HEAD + BODY) if part == "head" else (HEAD, BODY)
    policy = Policy(deadline=0.5) if how == "get" else Policy()
    extensions = {"deadline": 0.5} if how == "stream" else {}
    with wire_server(partial(drip, head=sent[0], rest=sent[1], pause=0.1)) as server:
        client = client_of(colour, policy=policy)
        caller = Caller(client)
        began = time.monotonic()
        ask = caller.get if how == "get" else caller.read_all
        with pytest.raises(DeadlineExceededException) as caught:
            await ask(server.url, extensions=extensions)
        took = time.monotonic() - began
        assert took == pytest.approx(0.5, abs=0.1)
        assert isinstance(caught.value, httpx.TimeoutException)
        assert caught.value.received
        # By the timer of the send, which knows it for one, and not by the net below it.
        assert len(caught.value.attempts) == 1
        assert server.closed_by_peer.wait(5)
        assert connections(client) == []
        await close(client)


@pytest.mark.case("C51", "C45")
async def test_a_problem_read_ahead_of_the_caller_is_read_under_the_deadline(
    colour: Colour,
) -> None:
    head = HEAD.replace(b"200 OK\r\n", b"404 Not Found\r\nContent-Type: %b\r\n")
    head = head.replace(b"%b", MEDIA_TYPE.encode())
    with wire_server(partial(drip, head=head, rest=BODY, pause=0.1)) as server:
        client = client_of(colour)
        with pytest.raises(DeadlineExceededException):
            await Caller(client).open(server.url, extensions={"deadline": 0.5})
        assert server.closed_by_peer.wait(5)
        assert connections(client) == []
        await close(client)


@pytest.mark.case("R4")
async def test_attempts_share_the_deadline(colour: Colour) -> None:
    def mute(connection: socket.socket) -> None:
        while connection.recv(1):
            pass

    with wire_server(mute) as server:
        at_once = RetryConfig(base_delay=0)
        policy = Policy(deadline=0.5, attempt_timeout=0.2, retry=at_once)
        client = client_of(colour, policy=policy)
        began = time.monotonic()
        with pytest.raises(DeadlineExceededException) as caught:
            await Caller(client).get(server.url)
        assert 0.49 < time.monotonic() - began < 1.5
        attempts = caught.value.attempts
        assert [attempt.error for attempt in attempts] == [
            *("ReadTimeout", "ReadTimeout", "DeadlineExceededException")
        ]
        took = [attempt.seconds for attempt in attempts]
        assert all(0.19 < seconds < 0.5 for seconds in took[:2])
        assert sum(took) == pytest.approx(0.5, abs=0.3)
        assert isinstance(caught.value.__cause__, httpx.ReadTimeout)
        await close(client)


async def test_an_attempt_that_runs_out_of_time_is_a_read_timeout(
    colour: Colour,
) -> None:
    def mute(connection: socket.socket) -> None:
        while connection.recv(1):
            pass

    with wire_server(mute) as server:
        client = client_of(colour, policy=Policy(attempt_timeout=0.1, retry=None))
        with pytest.raises(httpx.ReadTimeout, match=r"no response within 0\.1"):
            await Caller(client).get(server.url)
        await close(client)


@pytest.mark.case("C6")
async def test_a_body_may_take_longer_than_an_attempt(colour: Colour) -> None:
    with wire_server(partial(drip, head=HEAD, rest=BODY, pause=0.005)) as server:
        client = client_of(colour, policy=Policy(attempt_timeout=0.2))
        response = await Caller(client).get(server.url)
        assert response.content == BODY
        await close(client)


class TrioTime:
    """The clock of the loop, which a test may let jump."""

    def now(self) -> float:
        return trio.current_time()

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    async def asleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class Paced(httpx.AsyncByteStream):
    """A body of one chunk every so often."""

    def __init__(self, chunk: bytes, pause: float, count: int) -> None:
        self._pace = chunk, pause, count
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunk, pause, count = self._pace
        for _ in range(count):
            await trio.sleep(pause)
            yield chunk


Read = Callable[[Policy, bytes, float, int, bool], float]


def read_async(
    policy: Policy, chunk: bytes, pause: float, count: int, streamed: bool
) -> float:
    async def main() -> float:
        body = Paced(chunk, pause, count)
        world = World(httpx.Response(200, stream=body))
        options: Any = {"policy": policy, "state": State(clock=TrioTime())}
        began = trio.current_time()
        async with world.caller("async", **options) as caller:
            response = await (caller.open() if streamed else caller.get())
            assert await caller.read(response) == chunk * count
        return trio.current_time() - began

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def read_sync(
    policy: Policy, chunk: bytes, pause: float, count: int, streamed: bool
) -> float:
    world = World(200)

    def late() -> bytes:
        world.clock.time += pause
        return chunk

    world.script = [httpx.Response(200, stream=Recorded(*[late] * count))]
    with (
        Client(transport=world.transport, state=world.state, policy=policy) as client,
        client.stream("GET", "http://a/")
        if streamed
        else nullcontext(client.get("http://a/")) as response,
    ):
        assert response.read() == chunk * count
    return world.clock.time - 1_000


@pytest.fixture(params=[read_async, read_sync], ids=["async", "sync"])
def read(request: pytest.FixtureRequest) -> Read:
    found: Read = request.param
    return found


CHOSEN = Policy(deadline=30.0)
KIB = b"x" * 1024


def test_the_default_deadline_cuts_no_body_that_moves(read: Read) -> None:
    assert read(Policy(), KIB, 1, 300, False) == pytest.approx(300)


def test_the_default_deadline_cuts_a_body_that_hardly_moves(read: Read) -> None:
    with pytest.raises(DeadlineExceededException, match="not done within 30"):
        read(Policy(), KIB[:100], 1, 300, False)


@pytest.mark.case("C45")
def test_a_chosen_deadline_cuts_a_body_that_moves(read: Read) -> None:
    with pytest.raises(DeadlineExceededException, match="not done within 30"):
        read(CHOSEN, KIB, 1, 300, False)


def test_the_defaults_do_not_hold_for_a_streamed_body(read: Read) -> None:
    assert read(Policy(), b"x", 60, 10, True) == pytest.approx(600)


@pytest.mark.case("C45")
def test_a_chosen_deadline_holds_for_a_streamed_body(read: Read) -> None:
    with pytest.raises(DeadlineExceededException):
        read(CHOSEN, b"x", 20, 10, True)


@pytest.mark.case("C45")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_body_that_is_cut_is_closed(streamed: bool) -> None:
    body = Paced(b"x", 20, 10)
    world = World(httpx.Response(200, stream=body))
    world.state = State(clock=TrioTime())

    async def main() -> None:
        async with world.caller("async", policy=CHOSEN) as caller:
            with pytest.raises(DeadlineExceededException):
                await (caller.read_all() if streamed else caller.get())
            assert body.closed

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.case("C45")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_that_is_cut_in_a_sync_client_is_closed(streamed: bool) -> None:
    world = World(200)

    def late() -> bytes:
        world.clock.time += 20
        return b"x"

    body = Recorded(*[late] * 10)
    world.script = [httpx.Response(200, stream=body)]
    async with world.caller("sync", policy=CHOSEN) as caller:
        with pytest.raises(DeadlineExceededException):
            await (caller.read_all() if streamed else caller.get())
        assert body.closed


class Refusing:
    """A network that notes how long it may take."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def connect_tcp(self, host: str, port: int, timeout: float, *more: Any) -> Any:
        self.timeouts.append(timeout)
        raise OSError(f"no way to {host}:{port}")


HASTE = Policy(deadline=2.0, retry=None)
WAYS: dict[str, Callable[[httpx.HTTPTransport], httpx.Client]] = {
    "given": lambda inner: Client(transport=inner, policy=HASTE),
    "mounted": lambda inner: Client(mounts={"http://": inner}, policy=HASTE),
    "wrapped": lambda inner: wrap(httpx.Client(mounts={"http://": inner}), HASTE),
    "below": lambda inner: httpx.Client(transport=ResilientTransport(inner, HASTE)),
}


@pytest.mark.case("C45")
@pytest.mark.parametrize("way", WAYS)
def test_every_transport_of_a_sync_client_is_told_what_is_left(way: str) -> None:
    network, inner = Refusing(), httpx.HTTPTransport()
    vars(vars(inner)["_pool"])["_network_backend"] = network
    with WAYS[way](inner) as client, pytest.raises(OSError, match="no way to a:80"):
        client.get("http://a/")
    assert 1 < network.timeouts[0] <= 2


async def test_a_deadline_around_calls_bounds_all_of_them_together(
    colour: Colour,
) -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(0.15)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with wire_server(slow) as server:
        client = client_of(colour, limits=httpx.Limits(max_keepalive_connections=0))
        caller = Caller(client)
        answered: list[int] = []

        async def ask_on_and_on() -> None:
            while True:
                with deadline(30):
                    answered.append((await caller.get(server.url)).status_code)

        began = time.monotonic()
        with pytest.raises(DeadlineExceededException), deadline(60), deadline(0.5):
            await ask_on_and_on()
        assert time.monotonic() - began == pytest.approx(0.5, abs=0.1)
        assert 1 <= len(answered) <= 3
        await caller.get(server.url)
        await close(client)


async def test_no_call_begins_once_the_time_is_over(colour: Colour) -> None:
    world = World(200)
    async with world.caller(colour) as caller:
        with deadline(0.001):
            time.sleep(0.002)  # noqa: ASYNC251 - the time that is over is real
            with pytest.raises(DeadlineExceededException):
                await caller.get()
    assert world.sends == 0


@pytest.mark.parametrize("seconds", ["2", True, None, -1, 0, math.nan, math.inf])
def test_a_malformed_deadline_around_calls_is_refused(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"deadline must be .* got "):
        deadline(seconds).__enter__()


async def test_a_deadline_holds_for_what_is_neither_send_nor_wait() -> None:
    class Hanging(httpx.Auth):
        async def async_auth_flow(
            self, request: httpx.Request
        ) -> AsyncGenerator[httpx.Request, httpx.Response]:
            await anyio.sleep(60)
            yield request

    world = World(200)
    client = AsyncClient(transport=world.transport, auth=Hanging())
    async with client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceededException):
            await client.get("http://a/", extensions={"deadline": 0.2})
        assert time.monotonic() - began == pytest.approx(0.25, abs=0.1)
    assert world.sends == 0


@pytest.mark.parametrize(
    ("timeout", "seconds", "error"),
    [
        (5.0, 11, httpx.ReadTimeout),
        (15.0, 11, None),
        (15.0, 16, httpx.ReadTimeout),
        (None, 3_000, None),
        (httpx.Timeout(5, read=None), 3_000, None),
    ],
)
async def test_a_default_is_never_less_than_what_httpx_was_given(
    colour: Colour, timeout: Any, seconds: float, error: type[Exception] | None
) -> None:
    world = World(200, seconds=seconds)
    once = Policy(retry=None)
    async with world.caller(colour, policy=once, timeout=timeout) as caller:
        if error is None:
            assert (await caller.get()).status_code == 200
        else:
            with pytest.raises(error):
                await caller.get()


@pytest.mark.parametrize("given", ["2", True, -1, 0, float("nan"), float("inf")])
async def test_a_malformed_deadline_is_refused(colour: Colour, given: Any) -> None:
    world = World(200)
    async with world.caller(colour) as caller:
        with pytest.raises((TypeError, ValueError), match=r"deadline.* got "):
            await caller.get(extensions={"deadline": given})
    assert world.sends == 0


@pytest.mark.parametrize(
    ("extensions", "name"),
    [({"policy": {"retry": None}}, "policy"), ({"idempotent": "yes"}, "idempotent")],
)
async def test_a_malformed_extension_is_refused(
    colour: Colour, extensions: Any, name: str
) -> None:
    world = World(200)
    async with world.caller(colour) as caller:
        with pytest.raises(TypeError, match=rf"extensions\['{name}'\]"):
            await caller.get(extensions=extensions)
    assert world.sends == 0
