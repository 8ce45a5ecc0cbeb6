"""No more calls in flight than may be, and none that would be refused anyway."""

import threading
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import pytest

from resilient_http import ConcurrencyLimit, Policy, RetryConfig, State, Throttle
from resilient_http.problems import (
    ConcurrencyLimitException,
    DeadlineExceededException,
    RateLimitException,
)
from tests.client.world import Colour, World
from tests.family import AsyncClient, Client, httpx

ONE = Policy(concurrency=ConcurrencyLimit(limit=1))
QUEUE = Policy(concurrency=ConcurrencyLimit(limit=1, queue=10))


class Gated(httpx.AsyncBaseTransport, httpx.AsyncByteStream):
    """Answers at once, with a body that comes when it is let."""

    def __init__(self) -> None:
        self.sends = self.at_once = self.most_at_once = 0
        self.let = anyio.Event()
        self.here = anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sends += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.here.set()
        return httpx.Response(200, stream=self)

    async def __aiter__(self) -> Any:
        await self.let.wait()
        yield b"body"

    async def aclose(self) -> None:
        self.at_once -= 1


def in_flight(client: AsyncClient | Client) -> tuple[int, int]:
    known = client.snapshot()["origins"]["http://a:80"]["concurrency"]
    return known["in_flight"], known["waiting"]


async def test_a_call_too_many_is_refused_unsent() -> None:
    transport = Gated()
    async with AsyncClient(transport=transport, policy=ONE) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "http://a/")
            await transport.here.wait()
            with pytest.raises(ConcurrencyLimitException) as caught:
                await client.get("http://user:pw@a/?secret")
            transport.let.set()
        assert (await client.get("http://a/")).status_code == 200
    assert transport.sends == 2
    assert isinstance(caught.value, httpx.TransportError)
    assert "secret" not in str(caught.value)


async def test_a_slot_is_held_until_the_body_is_closed() -> None:
    transport = Gated()
    async with AsyncClient(transport=transport, policy=ONE) as client:
        async with client.stream("GET", "http://a/"):
            assert in_flight(client) == (1, 0)
            with pytest.raises(ConcurrencyLimitException):
                await client.get("http://a/")
        assert in_flight(client) == (0, 0)
        transport.let.set()
        assert (await client.get("http://a/")).status_code == 200
        assert in_flight(client) == (0, 0)


async def test_a_slot_of_a_failure_is_held_until_its_body_is_closed() -> None:
    world = World(503)
    policy = Policy(concurrency=ConcurrencyLimit(limit=1), retry=None)
    async with world.caller("async", policy=policy) as caller:
        response = await caller.open()
        assert in_flight(caller.client) == (1, 0)  # type: ignore[arg-type]  # ours
        await caller.close(response)
        assert in_flight(caller.client) == (0, 0)  # type: ignore[arg-type]  # ours


async def test_calls_that_queue_go_one_by_one() -> None:
    transport = Gated()
    async with AsyncClient(transport=transport, policy=QUEUE) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(client.get, "http://a/")
            await transport.here.wait()
            await anyio.wait_all_tasks_blocked()
            assert in_flight(client) == (1, 5)
            transport.let.set()
        assert in_flight(client) == (0, 0)
    assert (transport.sends, transport.most_at_once) == (6, 1)


@pytest.mark.case("C10")
async def test_who_stops_waiting_takes_no_place_with_it() -> None:
    transport = Gated()
    async with AsyncClient(transport=transport, policy=QUEUE) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "http://a/")
            await transport.here.wait()
            async with anyio.create_task_group() as others:
                others.start_soon(client.get, "http://a/")
                others.start_soon(client.get, "http://a/")
                await anyio.wait_all_tasks_blocked()
                assert in_flight(client) == (1, 2)
                transport.let.set()  # handed over in the tick of the cancellation
                others.cancel_scope.cancel()
        assert in_flight(client) == (0, 0)
        assert (await client.get("http://a/")).status_code == 200


async def test_nobody_waits_longer_than_its_deadline() -> None:
    transport = Gated()
    async with (
        AsyncClient(transport=transport, policy=QUEUE) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.get, "http://a/")
        await transport.here.wait()
        with pytest.raises(DeadlineExceededException):
            await client.get("http://a/", extensions={"deadline": 0.05})
        assert in_flight(client) == (1, 0)
        transport.let.set()
    assert transport.sends == 1


def test_threads_wait_for_each_other() -> None:
    here, let = threading.Event(), threading.Event()
    most, lock = [0, 0], threading.Lock()

    def answer(request: httpx.Request) -> httpx.Response:
        with lock:
            most[0] += 1
            most[1] = max(most)
        here.set()
        assert let.wait(10)
        with lock:
            most[0] -= 1
        return httpx.Response(200)

    statuses: list[int] = []
    with Client(transport=httpx.MockTransport(answer), policy=QUEUE) as client:
        threads = [
            threading.Thread(
                target=lambda: statuses.append(client.get("http://a/").status_code)
            )
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        assert here.wait(10)
        let.set()
        for thread in threads:
            thread.join(10)
        assert in_flight(client) == (0, 0)
    assert statuses == [200] * 5
    assert most[1] == 1


async def test_a_loop_is_woken_by_a_thread_that_shares_its_state() -> None:
    state = State()
    here, let = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        here.set()
        assert let.wait(10)
        return httpx.Response(200)

    transport = httpx.MockTransport(answer)
    blocking = Client(transport=transport, policy=QUEUE, state=state)
    thread = threading.Thread(target=blocking.get, args=["http://a/"])
    thread.start()
    assert await anyio.to_thread.run_sync(here.wait, 10)
    quick = Gated()
    quick.let.set()
    async with AsyncClient(transport=quick, policy=QUEUE, state=state) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "http://a/")
            await anyio.wait_all_tasks_blocked()
            assert quick.sends == 0
            let.set()
        assert quick.sends == 1
    thread.join()
    blocking.close()


async def test_a_limit_that_adapts_is_cut_when_the_origin_refuses(
    colour: Colour,
) -> None:
    world = World(429)
    adaptive = ConcurrencyLimit(limit=16, adaptive="aimd")
    policy = Policy(concurrency=adaptive, retry=None)
    async with world.caller(colour, policy=policy) as caller:
        await caller.get()
        known = caller.client.snapshot()["origins"]["http://a:80"]  # type: ignore[union-attr]  # ours
    assert known["concurrency"]["limit"] == 8


async def test_most_calls_are_held_back_while_most_would_be_refused(
    colour: Colour,
) -> None:
    world = World(429)
    world.state = State(clock=world.clock, rng=Random(1))
    policy = Policy(throttle=Throttle(), retry=None)
    refused = 0
    async with world.caller(colour, policy=policy) as caller:
        for _ in range(400):
            try:
                await caller.get()
            except RateLimitException:
                refused += 1
        assert 200 < refused < 300  # three of four, of those after the first few
        assert refused + world.sends == 400
        world.clock.time += 30
        world.script = [200]
        assert (await caller.get()).status_code == 200


async def test_a_retry_does_not_hold_its_slot_while_it_waits(colour: Colour) -> None:
    world = World(503, 200)
    policy = Policy(concurrency=ConcurrencyLimit(limit=1), retry=RetryConfig())
    seen: list[int] = []
    async with world.caller(colour, policy=policy) as caller:
        sleep = world.clock.sleep

        def look(seconds: float) -> None:
            seen.append(in_flight(caller.client)[0])  # type: ignore[arg-type]  # ours
            sleep(seconds)

        world.clock.sleep = look  # type: ignore[method-assign]  # to look while it waits
        await caller.get()
    assert seen == [0]
