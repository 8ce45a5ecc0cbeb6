"""Peers, hosts and clocks that mean no good."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from resilient_http import BreakerConfig, Policy, RateLimit, RetryConfig, State
from resilient_http.events import Event, bounded
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    CircuitBreakerOpenException,
    Contract,
    DeadlineExceededException,
    NotFoundException,
    RateLimitException,
)
from resilient_http.state import MOST_ORIGINS
from resilient_http.testing import After
from tests.client.wire import wire_server
from tests.client.world import Caller, Colour, Recorded, World
from tests.family import AsyncClient, Client, httpx

# httpx leaves its generators to the collector where a body is closed halfway.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
MIB = b"x" * 2**20


def hint_without_end(connection: socket.socket, many: int, pause: float) -> None:
    while True:
        connection.sendall(HINT * many)
        time.sleep(pause)


@pytest.mark.case("R3")
@pytest.mark.parametrize(("many", "pause"), [(1, 0.05), (1_000, 0.0)])
async def test_hints_without_an_answer_end_at_the_deadline(
    colour: Colour, many: int, pause: float
) -> None:
    flood = partial(hint_without_end, many=many, pause=pause)
    state = State()
    with wire_server(flood) as server:
        made: Any = AsyncClient if colour == "async" else Client
        client = made(policy=Policy(deadline=0.5), state=state)
        began = time.monotonic()
        with pytest.raises(httpx.TimeoutException):
            await Caller(client).get(server.url)
        assert 0.49 < time.monotonic() - began < 1.5
        assert server.closed_by_peer.wait(5)
        assert vars(vars(client)["_transport"])["_pool"].connections == []
        await close(client)
    (known,) = state.snapshot()["origins"].values()
    assert known["breaker"]["in_flight"] == 0


async def close(client: AsyncClient | Client) -> None:
    if isinstance(client, AsyncClient):
        await client.aclose()
    else:
        client.close()


class OutOfStock(AppException):
    """Not what any of these documents may become."""

    type = "https://shop.example/problems/out-of-stock"
    title = "Out of stock"
    status = 409


SHOP = Contract(OutOfStock, type_base="https://shop.example/problems/")
GOOD = {"type": "gone", "title": "Gone", "detail": "for good"}


@pytest.mark.case("R16")
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html>not found</html>", None),
        (b'["for good"]', None),
        (json.dumps(GOOD).encode("utf-16"), "for good"),
        (b'{"detail":' * 10_000 + b"1" + b"}" * 10_000, None),
        (b'{"detail": "for good", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", None),
        (json.dumps({**GOOD, "status": "x"}).encode(), "for good"),
        (json.dumps({**GOOD, "status": 409}).encode(), "for good"),
        (json.dumps({**GOOD, "type": "../out-of-stock"}).encode(), "for good"),
        (json.dumps({**GOOD, "title": 5, "type": {}}).encode(), "for good"),
        (json.dumps({**GOOD, "detail": ["x"]}).encode(), None),
    ],
    ids=[
        *("no JSON", "list", "UTF-16", "deep", "deep in part", "status of no number"),
        *(
            "status of another",
            "relative type",
            "types of no text",
            "detail of no text",
        ),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_garbage_for_a_problem_is_an_error_of_its_status(
    colour: Colour, body: bytes, detail: str | None, *, streamed: bool
) -> None:
    headers = {"content-type": MEDIA_TYPE}
    world = World(httpx.Response(404, headers=headers, stream=Recorded(body)))
    async with world.caller(colour, contract=SHOP) as caller:
        response = await (caller.open() if streamed else caller.get())
        with pytest.raises(NotFoundException) as caught:
            response.raise_for_status()
        await caller.close(response)
    assert not isinstance(caught.value, OutOfStock)
    assert (caught.value.status, caught.value.detail) == (404, detail)


@pytest.mark.case("R16")
async def test_of_a_hundred_megabytes_for_a_problem_one_chunk_is_taken(
    colour: Colour,
) -> None:
    taken: list[int] = []

    def chunk() -> bytes:
        taken.append(1)
        return MIB

    stream = Recorded(*[chunk] * 100)
    headers = {"content-type": MEDIA_TYPE}
    world = World(httpx.Response(404, headers=headers, stream=stream))
    async with world.caller(colour) as caller:
        response = await caller.open()
        with pytest.raises(NotFoundException):
            response.raise_for_status()
        await caller.close(response)
    assert len(taken) == 1
    assert stream.closed


@pytest.mark.case("R24", "C17")
async def test_steps_of_the_wall_clock_change_nothing(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, step = time.time, [0.0]
    monkeypatch.setattr("time.time", lambda: real() + step[0])
    hours = iter([3_600, -7_200, 3_600, -3_600, 7_200, 3_600])

    class Stepping(World):
        def serve(self, request: httpx.Request, body: bytes) -> httpx.Response:
            step[0] += next(hours)
            return super().serve(request, body)

    quick = RetryConfig(base_delay=0.001, max_delay=0.001)
    config = BreakerConfig(failure_threshold=1, recovery_timeout=60, ramp=None)
    world = Stepping(503, httpx.ReadError, 200, 503)
    policy = Policy(deadline=30.0, retry=quick, breaker=config)
    async with world.caller(colour, state=State(), policy=policy) as caller:
        response: Any = await caller.get()
        assert response.status_code == 200
        assert all(0 <= attempt.seconds < 10 for attempt in response.attempts)
        await caller.get()
        for hour in (3_600, -7_200):
            step[0] += hour
            with pytest.raises(CircuitBreakerOpenException) as caught:
                await caller.get()
            assert caught.value.retry_after is not None
            assert 50 < caught.value.retry_after <= 72


CALLERS_OWN: list[Any] = [
    *(httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.PoolTimeout),
    *(400, 401, 403, 404, 408, 409, 422, 429),
]


@pytest.mark.case("C21", "R20")
@pytest.mark.parametrize("step", CALLERS_OWN, ids=str)
async def test_the_callers_own_faults_open_no_breaker(
    colour: Colour, step: Any
) -> None:
    world = World(step)
    config = BreakerConfig(failure_threshold=1, minimum_calls=1, failure_rate=0.01)
    async with world.caller(
        colour, policy=Policy(retry=None, breaker=config)
    ) as caller:
        for _ in range(100):
            try:
                await caller.get()
            except httpx.TransportError as error:
                assert type(error) is step  # noqa: PT017 - the same end, by another road
        assert known_of(caller)["breaker"]["state"] == "closed"
    assert world.sends == 100


@pytest.mark.case("C21")
async def test_refusals_of_our_own_open_no_breaker(colour: Colour) -> None:
    world = World(200)
    config = BreakerConfig(failure_threshold=1, minimum_calls=1, failure_rate=0.01)
    limit = RateLimit(1, 1e6, mode="reject")
    policy = Policy(rate_limit=limit, breaker=config)
    async with world.caller(colour, policy=policy) as caller:
        await caller.get()
        for _ in range(100):
            with pytest.raises(RateLimitException):
                await caller.get()
            with pytest.raises(httpx.InvalidURL):
                await caller.get("http://a:port/")
        assert known_of(caller)["breaker"]["state"] == "closed"


def known_of(caller: Caller) -> Any:
    client: Any = caller.client
    return client.snapshot()["origins"]["http://a:80"]


@pytest.mark.case("C25")
@pytest.mark.parametrize("streamed", [False, True])
async def test_bodies_that_die_open_the_breaker(
    colour: Colour, *, streamed: bool
) -> None:
    broken = Recorded(b"ha", httpx.ReadError("cut"))
    world = World(httpx.Response(200, stream=broken))
    config = BreakerConfig(failure_threshold=100, minimum_calls=20)
    async with world.caller(
        colour, policy=Policy(retry=None, breaker=config)
    ) as caller:
        ask: Callable[[], Any] = caller.read_all if streamed else caller.get
        for _ in range(20):
            with pytest.raises(httpx.ReadError):
                await ask()
        with pytest.raises(CircuitBreakerOpenException):
            await ask()
    assert world.sends == 20


@pytest.mark.case("C25", "R2")
async def test_a_body_that_comes_too_late_is_a_failure(colour: Colour) -> None:
    late = Recorded(b"ha", After(10.0, b"ha"))
    world = World(httpx.Response(200, stream=late))
    policy = Policy(deadline=5.0, retry=None)
    async with world.caller(colour, policy=policy) as caller:
        response = await caller.open()
        with pytest.raises(DeadlineExceededException):
            await caller.read(response)
        await caller.close(response)
        assert known_of(caller)["breaker"]["failures"] == 1
    assert late.closed


@pytest.mark.case("R19", "C15")
@pytest.mark.parametrize("places", [1, 3])
async def test_of_a_hundred_calls_only_the_probes_are_sent(places: int) -> None:
    config = BreakerConfig(
        failure_threshold=1, half_open_max_calls=places, success_threshold=100
    )
    let, refused = anyio.Event(), 0

    class Held(World):
        async def handle_async_request(self, request: Any) -> Any:
            if self.sends:
                self.requests.append(request)
                await let.wait()
            return await super().handle_async_request(request)

    world = Held(503)
    policy = Policy(retry=None, breaker=config)
    async with world.caller("async", policy=policy) as caller:
        await caller.get()
        world.clock.time += 60

        async def ask() -> None:
            nonlocal refused
            try:
                await caller.get()
            except CircuitBreakerOpenException:
                refused += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert (refused, world.sends) == (100 - places, 1 + places)
            tasks.cancel_scope.cancel()
        assert known_of(caller)["breaker"]["state"] == "half_open"
        world.script = [200]
        let.set()
        assert (await caller.get()).status_code == 200


@pytest.mark.case("C26", "R20")
def test_a_host_that_fails_among_thousands_still_trips() -> None:
    world = World(lambda request: 503 if request.url.host == "down" else 200)
    policy = Policy(retry=None, breaker=BreakerConfig(failure_threshold=3))
    client: Any = world.client("sync", policy=policy)
    with client:
        for number in range(3 * MOST_ORIGINS + 3):
            if number % (MOST_ORIGINS + 1) == 0:
                client.get("http://down/")
            client.get(f"http://host-{number}/")
        with pytest.raises(CircuitBreakerOpenException):
            client.get("http://down/")


@pytest.mark.case("C54")
def test_ten_thousand_hosts_are_a_bounded_number_of_labels() -> None:
    told: list[Event] = []
    listeners = [bounded(told.append, most=100)]
    client: Any = World(200).client("sync", listeners=listeners)
    with client:
        for number in range(10_000):
            client.get(f"http://host-{number}/")
        client.get("http://host-0/again?with=a-query")
        assert len(client.snapshot()["origins"]) == MOST_ORIGINS
    labels = [event.origin for event in told]
    assert len(labels) == 2 * 10_001
    assert len(set(labels)) == 101
    assert labels[-3:] == ["other", *["http://host-0:80"] * 2]


@pytest.mark.case("R24")
async def test_what_a_stalled_loop_missed_is_no_failure_of_the_server() -> None:
    asked, stalled = threading.Event(), threading.Event()

    def while_nobody_looks(connection: socket.socket) -> None:
        asked.set()
        assert stalled.wait(5)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    policy = Policy(attempt_timeout=0.1, retry=None)
    with wire_server(while_nobody_looks) as server:
        async with (
            AsyncClient(policy=policy) as client,
            anyio.create_task_group() as tasks,
        ):

            async def ask() -> None:
                with suppress(httpx.ReadTimeout):
                    await client.get(server.url)

            tasks.start_soon(ask)
            while not asked.is_set():
                await anyio.lowlevel.checkpoint()
            stalled.set()
            time.sleep(0.5)  # noqa: ASYNC251 - this is the stall
        (known,) = client.snapshot()["origins"].values()
    breaker = known["breaker"]
    assert (breaker["failures"], breaker["in_flight"]) == (0, 0)
    assert known["sends"] == 1


@pytest.mark.case("R24")
async def test_a_server_that_does_not_answer_is_blamed_all_the_same(
    colour: Colour,
) -> None:
    def mute(connection: socket.socket) -> None:
        while connection.recv(1):
            pass

    with wire_server(mute) as server:
        made: Any = AsyncClient if colour == "async" else Client
        client = made(policy=Policy(attempt_timeout=0.1, retry=None))
        with pytest.raises(httpx.ReadTimeout):
            await Caller(client).get(server.url)
        (known,) = client.snapshot()["origins"].values()
        assert known["breaker"]["failures"] == 1
        await close(client)
