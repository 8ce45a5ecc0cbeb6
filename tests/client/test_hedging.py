"""A second send beside a slow first one: which wins, and what becomes of the other."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from resilient_http import (
    ConcurrencyLimit,
    Hedge,
    Policy,
    RetryBudget,
    RetryConfig,
    State,
)
from resilient_http.events import Ended, Event, NotHedged, Sent
from resilient_http.testing import Fixed
from tests.client.wire import wire_server
from tests.client.world import ManualClock
from tests.family import AsyncClient, Client, httpx

AT_ONCE = Policy(hedge=Hedge(delay=0.01), retry=RetryConfig(base_delay=0))


class Held(httpx.AsyncByteStream):
    """A body that comes when it is let, and remembers being closed."""

    def __init__(self, let: anyio.Event) -> None:
        self.let = let
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self.let.wait()
        yield b"body"

    async def aclose(self) -> None:
        self.closed = True


class Lanes(httpx.AsyncBaseTransport):
    """Answers its nth send as the nth function says, when that is let."""

    def __init__(self, *answers: Callable[[], httpx.Response]) -> None:
        self.answers = answers
        self.let = [anyio.Event() for _ in answers]
        self.arrived = [anyio.Event() for _ in answers]
        self.requests: list[httpx.Request] = []
        self.cancelled: list[int] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        number = len(self.requests)
        self.requests.append(request)
        self.arrived[number].set()
        try:
            await self.let[number].wait()
        except BaseException:
            self.cancelled.append(number)
            raise
        return self.answers[number]()


def fine() -> httpx.Response:
    return httpx.Response(200, content=b"body")


def busy() -> httpx.Response:
    return httpx.Response(503, content=b"busy")


def cut() -> httpx.Response:
    raise httpx.ReadError("cut")


def client_of(lanes: Lanes, policy: Policy = AT_ONCE, **options: Any) -> AsyncClient:
    state = State(clock=ManualClock(), rng=Fixed(1.0))
    options = {"state": state, "policy": policy, **options}
    return AsyncClient(transport=lanes, **options)


@pytest.mark.case("R22")
async def test_the_second_may_win_and_the_first_is_called_off() -> None:
    lanes = Lanes(fine, fine)
    lanes.let[1].set()
    async with client_of(lanes) as client:
        with anyio.fail_after(5):  # and not at the end of its own time
            response = await client.get("http://a/")
        known = client.snapshot()["origins"]["http://a:80"]
    assert response.status_code == 200
    assert lanes.cancelled == [0]
    assert known["sends"] == 2
    assert known["breaker"]["in_flight"] == 0
    assert known["breaker"]["calls"] == 1
    history = [a.status or a.error for a in vars(response)["attempts"]]
    assert sorted(map(str, history)) == ["200", "Dropped"]


async def test_the_first_may_win_all_the_same() -> None:
    lanes = Lanes(fine, fine)
    async with client_of(lanes) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, "http://a/")
        await lanes.arrived[1].wait()
        lanes.let[0].set()
    assert lanes.cancelled == [1]


@pytest.mark.case("C47", "R22")
@pytest.mark.parametrize("first", [cut, busy])
async def test_an_error_of_the_first_does_not_beat_the_second(
    first: Callable[[], httpx.Response],
) -> None:
    lanes = Lanes(first, fine)
    async with client_of(lanes) as client, anyio.create_task_group() as tasks:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await client.get("http://a/"))

        tasks.start_soon(ask)
        await lanes.arrived[1].wait()
        lanes.let[0].set()
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        lanes.let[1].set()
    assert [answer.status_code for answer in answers] == [200]
    assert len(lanes.requests) == 2


@pytest.mark.case("R22")
async def test_if_both_fail_it_ends_with_the_first_that_did() -> None:
    lanes = Lanes(busy, cut)
    once = Policy(hedge=Hedge(delay=0.01), retry=None)
    async with client_of(lanes, once) as client, anyio.create_task_group() as tasks:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await client.get("http://a/"))

        tasks.start_soon(ask)
        await lanes.arrived[1].wait()
        lanes.let[0].set()
        await anyio.wait_all_tasks_blocked()
        lanes.let[1].set()
    assert [answer.status_code for answer in answers] == [503]


@pytest.mark.case("C38")
async def test_each_send_has_a_request_of_its_own_and_says_the_same() -> None:
    lanes = Lanes(fine, fine)
    lanes.let[1].set()
    async with client_of(lanes) as client:
        request = client.build_request(
            "GET", "http://a/", headers={"Idempotency-Key": '"k"'}
        )
        response = await client.send(request)
    first, second = lanes.requests
    assert first is request
    assert second is not request
    assert response.request is request
    assert second.headers == first.headers
    assert second.headers is not first.headers
    assert second.extensions is not first.extensions


@pytest.mark.case("R22")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_what_changes_something_is_not_hedged(method: str) -> None:
    lanes = Lanes(fine, fine)
    async with client_of(lanes) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.request, method, "http://a/")
        await lanes.arrived[0].wait()
        await anyio.wait_all_tasks_blocked()
        lanes.let[0].set()
    assert len(lanes.requests) == 1


async def test_a_hedge_that_cannot_be_paid_for_is_not_sent() -> None:
    lanes = Lanes(fine, fine)
    poor = Policy(hedge=Hedge(delay=0.01), budget=RetryBudget(capacity=13))
    seen: list[Any] = []
    listeners = [seen.append]
    async with (
        client_of(lanes, poor, listeners=listeners) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.get, "http://a/")
        await lanes.arrived[0].wait()
        await anyio.wait_all_tasks_blocked()
        lanes.let[0].set()
    assert len(lanes.requests) == 1
    assert [e.reason for e in seen if isinstance(e, NotHedged)] == ["budget_spent"]


@pytest.mark.case("R22")
async def test_a_hedge_is_paid_for_like_a_retry() -> None:
    lanes = Lanes(busy, busy)
    lanes.let[1].set()
    config = RetryBudget(capacity=100, cost=14)
    once = Policy(hedge=Hedge(delay=0.01), budget=config, retry=None)
    async with client_of(lanes, once) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, "http://a/")
        await lanes.arrived[1].wait()
        lanes.let[0].set()
    known = client.snapshot()["origins"]["http://a:80"]
    assert known["budget"] == 100 - 14


@pytest.mark.case("R22")
async def test_the_body_belongs_to_the_race_and_the_loser_is_closed() -> None:
    never, now = anyio.Event(), anyio.Event()
    now.set()
    bodies = [Held(never), Held(now)]
    lanes = Lanes(
        lambda: httpx.Response(200, stream=bodies[0]),
        lambda: httpx.Response(200, stream=bodies[1]),
    )
    for let in lanes.let:
        let.set()
    async with client_of(lanes) as client:
        response = await client.get("http://a/")
    assert response.content == b"body"
    assert [body.closed for body in bodies] == [True, True]


async def test_a_streamed_loser_is_closed_and_the_winner_left_open() -> None:
    never = anyio.Event()
    bodies = [Held(never), Held(never)]
    lanes = Lanes(
        lambda: httpx.Response(503, stream=bodies[0]),
        lambda: httpx.Response(200, stream=bodies[1]),
    )
    lanes.let[1].set()
    async with client_of(lanes) as client:
        async with client.stream("GET", "http://a/") as response:
            assert response.status_code == 200
            assert [body.closed for body in bodies] == [False, False]
            breaker = client.snapshot()["origins"]["http://a:80"]["breaker"]
            assert breaker["in_flight"] == 1
        assert bodies[1].closed
        breaker = client.snapshot()["origins"]["http://a:80"]["breaker"]
        assert breaker["in_flight"] == 0


async def test_of_two_bad_streams_the_one_that_is_kept_counts_as_itself() -> None:
    now = anyio.Event()
    now.set()
    lanes = Lanes(
        lambda: httpx.Response(429, stream=Held(now)),
        lambda: httpx.Response(500, stream=Held(now)),
    )
    twice = Policy(hedge=Hedge(delay=0.01), retry=RetryConfig(max_attempts=2))
    async with client_of(lanes, twice) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            async with client.stream("GET", "http://a/") as response:
                assert response.status_code == 429
                await response.aread()

        tasks.start_soon(ask)
        await lanes.arrived[1].wait()
        lanes.let[0].set()
        await anyio.wait_all_tasks_blocked()
        lanes.let[1].set()
    breaker = client.snapshot()["origins"]["http://a:80"]["breaker"]
    assert (breaker["calls"], breaker["failures"]) == (1, 1)
    assert (breaker["in_flight"], breaker["failed_in_row"]) == (0, 0)


@pytest.mark.case("R22")
async def test_an_answer_that_lost_is_closed_though_nobody_read_it() -> None:
    never = anyio.Event()
    bodies = [Held(never), Held(never)]
    lanes = Lanes(
        lambda: httpx.Response(504, stream=bodies[0]),
        lambda: httpx.Response(200, stream=bodies[1]),
    )
    plain = Policy(hedge=Hedge(delay=0.01), retry=RetryConfig(statuses={500}))
    async with client_of(lanes, plain) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            async with client.stream("GET", "http://a/") as response:
                assert response.status_code == 200
                assert [body.closed for body in bodies] == [True, False]

        tasks.start_soon(ask)
        await lanes.arrived[1].wait()
        lanes.let[0].set()
        await anyio.wait_all_tasks_blocked()
        assert [body.closed for body in bodies] == [False, False]
        lanes.let[1].set()


@pytest.mark.case("C7", "C40")
@pytest.mark.parametrize("sends", [1, 2])
async def test_a_cancelled_race_leaves_nothing_out(sends: int) -> None:
    lanes = Lanes(fine, fine)
    patient = Policy(hedge=Hedge(delay=0.0 if sends == 2 else 60.0))
    options = {} if sends == 2 else {"state": State()}
    async with client_of(lanes, patient, **options) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "http://a/")
            await lanes.arrived[sends - 1].wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        known = client.snapshot()["origins"]["http://a:80"]
    assert len(lanes.requests) == sends
    assert sorted(lanes.cancelled) == list(range(sends))
    assert known["breaker"]["in_flight"] == 0


@pytest.mark.case("C7")
@pytest.mark.parametrize("moment", range(1, 30))
async def test_there_is_no_moment_at_which_a_cancelled_race_keeps_its_permits(
    moment: int,
) -> None:
    lanes = Lanes(lambda: httpx.Response(200, stream=Held(anyio.Event())))
    lanes.let[0].set()
    hedged = Policy(hedge=Hedge(delay=60.0), concurrency=ConcurrencyLimit(limit=1))

    async def ask() -> None:
        async with client.stream("GET", "http://a/"):
            pass

    async with client_of(lanes, hedged, state=State()) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            for _ in range(moment):
                await checkpoint()
            tasks.cancel_scope.cancel()
        known = client.snapshot()["origins"].get("http://a:80")
    if known is not None:
        assert known["breaker"]["in_flight"] == 0
        assert known["concurrency"]["in_flight"] == 0


async def test_what_is_no_way_for_a_send_to_end_is_raised_as_it_is() -> None:
    def broken() -> httpx.Response:
        raise LookupError("a bug")

    lanes = Lanes(broken, fine)
    async with client_of(lanes) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(LookupError, match="a bug"):
                await client.get("http://a/")

        tasks.start_soon(ask)
        await lanes.arrived[1].wait()
        lanes.let[0].set()
    assert lanes.cancelled == [1]


async def test_each_send_is_told_with_its_number() -> None:
    lanes = Lanes(fine, fine)
    lanes.let[1].set()
    seen: list[Any] = []
    async with client_of(lanes, listeners=[seen.append]) as client:
        await client.get("http://a/")
    sent = [(e.attempt, e.hedge) for e in seen if isinstance(e, Sent)]
    assert sent == [(1, False), (2, True)]
    ended = {e.attempt: e.status or e.error for e in seen if isinstance(e, Ended)}
    assert ended == {1: "Dropped", 2: 200}


async def test_two_sends_that_run_out_of_time_together_are_two() -> None:
    lanes = Lanes(fine, fine)
    seen: list[Any] = []
    policy = Policy(hedge=Hedge(delay=0.01), deadline=0.05)
    options = {"state": State(), "listeners": [seen.append]}
    async with client_of(lanes, policy, **options) as client:
        with pytest.raises(httpx.TimeoutException) as caught:
            await client.get("http://a/")
    assert len(lanes.requests) == 2
    assert len(vars(caught.value)["attempts"]) == 2
    assert sum(isinstance(event, Ended) for event in seen) == 2


async def test_the_delay_is_learned_from_what_answers_take() -> None:
    lanes = Lanes(*[fine] * 22)
    for let in lanes.let:
        let.set()
    lanes.let[20] = anyio.Event()
    async with client_of(lanes, Policy(hedge=Hedge(quantile=0.9))) as client:
        for _ in range(20):
            assert client.snapshot()["origins"].get("hedge_after") is None
            await client.get("http://a/")
        assert len(lanes.requests) == 20
        assert client.snapshot()["origins"]["http://a:80"]["hedge_after"] == 0
        await client.get("http://a/")
    assert len(lanes.requests) == 22
    assert lanes.cancelled == [20]


def test_a_sync_client_hedges_in_threads_and_cuts_the_loser() -> None:
    first = threading.Event()

    def handler(connection: Any) -> None:
        if first.is_set():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            first.set()
            while connection.recv(1):
                pass

    with wire_server(handler) as server:
        policy = Policy(hedge=Hedge(delay=0.05))
        with Client(policy=policy, timeout=60) as client:
            response = client.get(server.url)
            assert response.text == "ok"
            (known,) = client.snapshot()["origins"].values()
            assert known["breaker"]["in_flight"] == 0
            assert known["sends"] == 2
        running = [t for t in threading.enumerate() if "_run" in t.name]
        assert running == []


class Kept(httpx.SyncByteStream):
    """A body that remembers being closed."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield b"body"

    def close(self) -> None:
        self.closed = True


@pytest.mark.case("R22")
def test_in_threads_too_an_answer_that_lost_is_closed() -> None:
    bodies = [Kept(), Kept()]
    both_are_out, first_has_ended = threading.Event(), threading.Event()
    numbers = iter(range(2))

    def answer(request: httpx.Request) -> httpx.Response:
        number = next(numbers)
        if number == 0:
            assert both_are_out.wait(10)
            return httpx.Response(504, stream=bodies[0])
        both_are_out.set()
        assert first_has_ended.wait(10)
        return httpx.Response(200, stream=bodies[1])

    def listen(event: Event) -> None:
        if isinstance(event, Ended):
            first_has_ended.set()

    plain = Policy(hedge=Hedge(delay=0.01), retry=RetryConfig(statuses={500}))
    transport = httpx.MockTransport(answer)
    with (
        Client(transport=transport, policy=plain, listeners=[listen]) as client,
        client.stream("GET", "http://a/") as response,
    ):
        assert response.status_code == 200
        assert [body.closed for body in bodies] == [True, False]


class Stubborn(httpx.AsyncBaseTransport):
    """Answers its first send although that was called off, once it is let."""

    def __init__(self) -> None:
        self.never, self.let, self.called_off = [anyio.Event() for _ in range(3)]
        self.bodies = [Held(self.never), Held(self.never)]
        self.sends = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        number, self.sends = self.sends, self.sends + 1
        if number == 0:
            try:
                await self.never.wait()
            except anyio.get_cancelled_exc_class():
                self.called_off.set()
                with anyio.CancelScope(shield=True):
                    await self.let.wait()
        return httpx.Response(200, stream=self.bodies[number])


@pytest.mark.case("C7")
async def test_a_call_that_is_cancelled_as_it_drops_leaves_nothing_open() -> None:
    transport = Stubborn()
    state = State(clock=ManualClock())
    options: Any = {"transport": transport, "state": state, "policy": AT_ONCE}
    async with AsyncClient(**options) as client:
        request = client.build_request("GET", "http://a/")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.send(request, stream=True))
            await transport.called_off.wait()
            tasks.cancel_scope.cancel()
            transport.let.set()
        known = client.snapshot()["origins"]["http://a:80"]
    assert [body.closed for body in transport.bodies] == [True, True]
    assert known["breaker"]["in_flight"] == 0
