"""Nothing is lost when a call is cancelled, wherever it stands."""

import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from resilient_http import BreakerConfig, Policy, RetryConfig, State
from resilient_http._core.breaker import Permit
from resilient_http.testing import Fixed
from tests.client.world import (
    Caller,
    Colour,
    ManualClock,
    Recorded,
    World,
    breaker_of,
)
from tests.family import (
    AsyncClient,
    AsyncResilientTransport,
    ResilientTransport,
    httpx,
)


class Gate(httpx.AsyncByteStream):
    """A body that comes when it is let, and remembers being closed."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.let = anyio.Event()
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"first"
        self.reached.set()
        await self.let.wait()
        yield b"last"

    async def aclose(self) -> None:
        self.closed = True


class Slow(httpx.AsyncBaseTransport):
    """Answers in three stages, each of which can be waited at for ever."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.body = Gate()
        self.reached = self.body.reached
        self.sends = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sends += 1
        if self.stage == "head":
            self.reached.set()
            await self.body.let.wait()
        if self.stage == "wait":
            self.reached.set()
            return httpx.Response(503, stream=self.body)
        return httpx.Response(200, stream=self.body)


PATIENT = Policy(retry=RetryConfig(base_delay=60, max_delay=60, max_attempts=5))


def permits_out(client: AsyncClient) -> int:
    found = client.snapshot()["origins"]["http://a:80"]["breaker"]["in_flight"]
    assert isinstance(found, int)
    return found


@pytest.mark.case("C7", "C8", "C9")
@pytest.mark.parametrize("stage", ["head", "body", "wait"])
async def test_a_cancelled_call_gives_everything_back(stage: str) -> None:
    transport = Slow(stage)
    if stage == "wait":
        transport.body.let.set()
    async with AsyncClient(transport=transport, policy=PATIENT) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "http://a/")
            await transport.reached.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert permits_out(client) == 0
        assert transport.sends == 1
        assert transport.body.closed or stage == "head"
        breaker = client.snapshot()["origins"]["http://a:80"]["breaker"]
        assert breaker["failures"] == (stage == "wait")


@pytest.mark.case("C8", "C11")
async def test_a_cancelled_probe_leaves_its_place_to_the_next_call() -> None:
    config = BreakerConfig(failure_threshold=1, recovery_timeout=0, ramp=None)
    state = State()
    breaker = breaker_of(state, "http://a:80", config)
    permit = breaker.admit(0)
    assert isinstance(permit, Permit)
    breaker.settle(permit, failed=True, now=0)
    breaker.conclude(permit, failed=True, now=0)
    transport = Slow("head")
    policy = Policy(breaker=config, retry=None)
    async with AsyncClient(transport=transport, policy=policy, state=state) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "http://a/")
            await transport.reached.wait()
            assert breaker.state == "half_open"
            tasks.cancel_scope.cancel()
        assert breaker.state == "half_open"
        assert permits_out(client) == 0
        transport.body.let.set()
        assert (await client.get("http://a/")).status_code == 200


async def test_a_streamed_body_gives_its_permit_back_when_closed() -> None:
    transport = Slow("body")
    async with AsyncClient(transport=transport) as client:
        async with client.stream("GET", "http://a/"):
            assert permits_out(client) == 1
        assert permits_out(client) == 0
        assert transport.body.closed


@pytest.mark.case("C4")
async def test_a_hook_that_raises_leaves_nothing_open() -> None:
    async def hook(response: httpx.Response) -> None:
        raise ValueError("not to my taste")

    transport = Slow("body")
    transport.body.let.set()
    hooks = {"response": [hook]}
    async with AsyncClient(transport=transport, event_hooks=hooks) as client:
        with pytest.raises(ValueError, match="taste"):
            await client.get("http://a/")
        assert transport.body.closed
        assert permits_out(client) == 0
        transport.body.closed = False
        with pytest.raises(ValueError, match="taste"):
            async with client.stream("GET", "http://a/"):
                raise AssertionError
        assert transport.body.closed
        assert permits_out(client) == 0


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio is right
async def test_a_body_that_is_left_to_the_collector_ends_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = Recorded(b"first", b"last")
    world = World(httpx.Response(200, stream=body))
    async with world.caller("async") as caller:
        response = await caller.open()
        stream: Any = response.stream
        cycle: list[Any] = [aiter(stream)]
        await anext(cycle[0])
        cycle.append(cycle)
        del cycle, stream
        gc.collect()
        await anyio.wait_all_tasks_blocked()
        await response.aclose()
    assert caplog.records == []


class Closing(ManualClock):
    """A clock in whose first wait the client is closed."""

    client: Any = None

    def sleep(self, seconds: float) -> None:
        self.client.close()

    async def asleep(self, seconds: float) -> None:
        await self.client.aclose()


@pytest.mark.case("C40")
@pytest.mark.parametrize("as_transport", [False, True])
async def test_a_client_that_was_closed_in_a_wait_sends_nothing_more(
    colour: Colour, *, as_transport: bool
) -> None:
    world = World(503, 200)
    clock = Closing()
    state = State(clock=clock, rng=Fixed(0.1))
    inner: Any = world.transport
    if as_transport:
        kinds: Any = {"async": AsyncResilientTransport, "sync": ResilientTransport}
        inner = kinds[colour](inner, PATIENT, state=state)
        plain: Any = {"async": httpx.AsyncClient, "sync": httpx.Client}
        clock.client = plain[colour](transport=inner)
    else:
        clock.client = world.client(colour, policy=PATIENT, state=state)
    with pytest.raises(RuntimeError, match="client has been closed"):
        await Caller(clock.client).get()
    (known,) = state.snapshot()["origins"].values()
    assert (world.sends, known["breaker"]["in_flight"]) == (1, 0)
    world.assert_closed()
