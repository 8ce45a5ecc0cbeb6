"""One client in several event loops, in many threads, and on both sides of a fork."""

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from resilient_http import State
from tests.client.wire import wire_server
from tests.client.world import World
from tests.family import (
    AsyncClient,
    AsyncResilientTransport,
    Client,
    ResilientTransport,
    httpx,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def keep_answering(connection: socket.socket) -> None:
    """Answer each request with the number of those before it on its connection."""
    answered = 0
    while True:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % answered)
        answered += 1
        if not connection.recv(65_536):
            return


def ends_well(work: Callable[[], bool]) -> bool:
    """Whether `work`, done in a forked child, returns true within ten seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def plain(**options: Any) -> Any:
    return httpx.AsyncClient(transport=AsyncResilientTransport(**options))


# What a loop that is closed leaves open, only the collector can close.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("make", [AsyncClient, plain])
def test_an_async_client_survives_its_event_loop(make: Callable[[], Any]) -> None:
    with wire_server(keep_answering) as server:
        client = make()

        async def twice(client: Any) -> list[str]:
            return [(await client.get(server.url)).text for _ in range(2)]

        for _ in range(3):
            assert asyncio.run(twice(client)) == ["0", "1"]
        asyncio.run(client.aclose())
        del client
        gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_what_is_left_open_takes_no_place_in_the_next_event_loop() -> None:
    limits = httpx.Limits(max_connections=1)
    with wire_server(keep_answering) as server:
        client = AsyncClient(limits=limits)
        request = client.build_request("GET", server.url)
        left = asyncio.run(client.send(request, stream=True))
        asyncio.run(client.get(server.url))
        asyncio.run(client.aclose())
        del left, client
        gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_pool_with_other_names_is_left_as_it_is() -> None:
    class Renamed(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            vars(vars(self)["_pool"]).pop("_connections", None)
            return httpx.Response(200)

    client = AsyncClient(transport=Renamed())
    for _ in range(2):
        assert asyncio.run(client.get("http://a/")).is_success


async def test_connections_are_kept_within_an_event_loop() -> None:
    with wire_server(keep_answering) as server:
        async with AsyncClient() as client:
            texts = [(await client.get(server.url)).text for _ in range(3)]
    assert texts == ["0", "1", "2"]


async def test_clients_that_share_a_pool_leave_its_connections_there() -> None:
    inner = httpx.AsyncHTTPTransport()
    with wire_server(keep_answering) as server:
        clients = [AsyncClient(transport=inner), plain(inner=inner), AsyncClient()]
        texts = [(await client.get(server.url)).text for client in clients]
        for client in clients:
            await client.aclose()
    assert texts == ["0", "1", "0"]


def test_a_sync_client_is_used_by_many_threads_at_once() -> None:
    world = World(200)
    client: Any = world.client("sync")
    with client, ThreadPoolExecutor(8) as threads:
        at_once = threading.Barrier(8)

        def many(_: int) -> int:
            at_once.wait()
            return sum(client.get("http://a/").is_success for _ in range(50))

        assert sum(threads.map(many, range(8))) == 400
        known = client.snapshot()["origins"]["http://a:80"]
    assert (known["calls"], known["sends"], world.sends) == (400, 400, 400)
    assert known["breaker"]["in_flight"] == 0


@pytest.fixture
def forks() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")


@pytest.fixture
def fork_waits_for(forks: None) -> Iterator[Callable[[Any], None]]:
    """Return what has a thread hold a lock until well after the next fork began."""
    with ThreadPoolExecutor(1) as thread:

        def hold(lock: Any) -> None:
            held = threading.Event()

            def briefly() -> None:
                with lock:
                    held.set()
                    time.sleep(0.2)

            thread.submit(briefly)
            held.wait()

        yield hold


@pytest.mark.usefixtures("forks")
def test_a_pool_that_is_not_known_keeps_no_other_from_starting_over() -> None:
    strange = [
        Client() for _ in range(10)
    ]  # the order in which they are looked at varies
    for client in strange:
        pool = vars(vars(client)["_transport"])["_pool"]
        del vars(pool)["_optional_thread_lock"]
    with wire_server(keep_answering) as server, Client() as client:
        assert client.get(server.url).text == "0"
        assert ends_well(lambda: client.get(server.url).text == "0")


@pytest.mark.usefixtures("forks")
def test_parent_and_child_have_conversations_of_their_own() -> None:
    with wire_server(keep_answering) as server, Client() as client:

        def texts() -> list[str]:
            return [client.get(server.url).text for _ in range(2)]

        assert texts() == ["0", "1"]
        assert ends_well(lambda: texts() == ["0", "1"])
        assert texts() == ["2", "3"]


@pytest.mark.usefixtures("forks")
def test_an_async_client_is_used_before_and_after_a_fork() -> None:
    world = World(503, 200)
    client: Any = world.client("async")

    def is_answered() -> bool:
        world.script = [503, 200]
        response: httpx.Response = asyncio.run(client.get("http://a/"))
        return response.is_success

    assert is_answered()
    assert ends_well(is_answered)
    assert is_answered()


def test_a_step_in_another_thread_is_whole_in_a_child(
    fork_waits_for: Callable[[Any], None],
) -> None:
    world = World(200)
    client: Any = world.client("sync")
    fork_waits_for(world.state.lock)
    assert ends_well(lambda: client.get("http://a/").is_success)


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize(("rng", "differs"), [(None, True), (Random(1), False)])
def test_parent_and_child_draw_other_jitter(rng: Random | None, differs: bool) -> None:
    state = State(rng=rng)
    parents = Random()
    parents.setstate(state.rng.getstate())
    number = parents.random()
    assert ends_well(lambda: (state.rng.random() != number) is differs)
    assert state.rng.random() == number


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("as_transport", [True, False])
def test_what_other_threads_have_of_a_pool_is_free_in_a_child(
    as_transport: bool,
) -> None:
    limits = httpx.Limits(max_connections=1)
    inner = httpx.HTTPTransport(limits=limits)
    transport = ResilientTransport(inner) if as_transport else inner
    client = (httpx.Client if as_transport else Client)(transport=transport)
    pool = vars(inner)["_pool"]
    with wire_server(keep_answering) as server, client, ThreadPoolExecutor(1) as thread:
        with client.stream("GET", server.url):
            queued = thread.submit(client.get, server.url)
            while len(pool.connections) + len(vars(pool)["_requests"]) < 3:
                time.sleep(0.001)
            with vars(pool)["_optional_thread_lock"]:
                assert ends_well(lambda: client.get(server.url).text == "0")
        assert queued.result().is_success
