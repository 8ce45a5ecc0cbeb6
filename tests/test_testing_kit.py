"""The kit for tests: time and chance that are numbers, and a server with a script."""

import asyncio
import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

import resilient_http.httpx2 as fork
import resilient_http.testing.httpx2 as fork_testing
import server_kit
from resilient_http import (
    AsyncClient,
    BreakerConfig,
    Client,
    Policy,
    RetryConfig,
    State,
)
from resilient_http.problems import (
    AppException,
    CircuitBreakerOpenException,
    Contract,
    DeadlineExceededException,
    IdempotencyKeyInProgressException,
    NotFoundException,
    RateLimitException,
    ServiceUnavailableException,
    ValidationError,
    ValidationException,
)
from resilient_http.testing import (
    After,
    Fixed,
    ManualClock,
    ScriptedBody,
    ScriptedServer,
)
from tests.test_readme import run

ONCE = Policy(retry=None, breaker=None)


class OutOfStock(AppException):
    """The shelf is empty."""

    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str


SHOP = Contract(OutOfStock, type_base="https://shop.example/problems/")


class Kit(SimpleNamespace):
    """A family, a colour, and the kit's classes for them."""

    http: Any
    server: Any
    body: Any
    client: Any

    async def get(self, server: Any, url: str = "http://a/", **options: Any) -> Any:
        """Send a GET by a new client, once unless there is a policy."""
        options.setdefault("state", State(clock=server.clock, rng=Fixed(1)))
        options = {"transport": server, "policy": ONCE, **options}
        client = self.client(**options)
        if isinstance(client, self.http.AsyncClient):
            async with client:
                return await client.get(url)
        with client:
            return client.get(url)

    async def read(self, server: Any, **options: Any) -> int:
        """Send a GET, and count the bytes of its body until something is raised."""
        options = {"transport": server, "state": State(clock=server.clock), **options}
        client, count = self.client(**options), 0
        with suppress(DeadlineExceededException):
            if isinstance(client, self.http.AsyncClient):
                async with client, client.stream("GET", "http://a/") as answer:
                    async for part in answer.aiter_raw():
                        count += len(part)
            else:
                with client, client.stream("GET", "http://a/") as answer:
                    for part in answer.iter_raw():
                        count += len(part)
        return count


@pytest.fixture(params=["httpx", "httpx2"])
def family(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(params=["async", "sync"])
def kit(request: pytest.FixtureRequest, family: str) -> Kit:
    is_async = request.param == "async"
    if family == "httpx":
        client: Any = AsyncClient if is_async else Client
        return Kit(http=httpx, server=ScriptedServer, body=ScriptedBody, client=client)
    client = fork.AsyncClient if is_async else fork.Client
    classes = {
        "server": fork_testing.ScriptedServer,
        "body": fork_testing.ScriptedBody,
    }
    return Kit(http=httpx2, client=client, **classes)


def plain(family: str, *script: Any, **options: Any) -> tuple[Any, Any]:
    """Return the family's own module, and a server for its clients."""
    if family == "httpx":
        return httpx, ScriptedServer(*script, **options)
    return httpx2, fork_testing.ScriptedServer(*script, **options)


async def test_a_wait_moves_the_clock_and_is_noted() -> None:
    clock = ManualClock(start=5.0)
    clock.sleep(2)
    await clock.asleep(0.5)
    assert (clock.now(), clock.waits) == (7.5, [2, 0.5])


async def test_what_a_server_takes_is_no_wait_of_the_client() -> None:
    clock = ManualClock()
    clock.spend(2)
    await clock.aspend(3)
    assert (clock.now(), clock.waits) == (1_005.0, [])


async def test_a_wait_lets_others_run() -> None:
    clock, ran = ManualClock(), []

    async def other() -> None:
        ran.append(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        while not ran:
            await clock.asleep(1)


async def test_without_autojump_nobody_goes_on_by_himself() -> None:
    clock, done = ManualClock(autojump=False), []

    async def wait() -> None:
        await clock.asleep(5)
        done.append(clock.now())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await clock.wait_for_waiters()
        clock.advance(4.9)
        await anyio.wait_all_tasks_blocked()
        assert (done, clock.waiting) == ([], 1)
        clock.advance(0.1)
    assert (done, clock.waiting, clock.waits) == ([1_005.0], 0, [5])


@pytest.mark.parametrize("steps", [[10.0], [2.0, 1.0, 7.0]])
async def test_tasks_are_woken_in_the_order_of_their_time(steps: list[float]) -> None:
    """On trio those that are woken at once would run in any order."""
    clock, woken = ManualClock(autojump=False), []

    async def wait(seconds: float) -> None:
        await clock.asleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as tasks:
        for number in (3, 9, 1, 7, 5, 2, 8, 6, 4):
            tasks.start_soon(wait, number)
        await clock.wait_for_waiters(9)
        for seconds in steps:
            clock.advance(seconds)
    assert woken == [1, 2, 3, 4, 5, 6, 7, 8, 9]


async def test_those_of_one_time_are_woken_as_they_came() -> None:
    clock, woken = ManualClock(autojump=False), []

    async def wait(number: int) -> None:
        await clock.asleep(1)
        woken.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(wait, number)
            await clock.wait_for_waiters(number + 1)
        clock.advance(1)
    assert woken == list(range(8))


async def test_a_cancelled_waiter_is_forgotten() -> None:
    clock, woken = ManualClock(autojump=False), []

    async def wait(seconds: float) -> None:
        await clock.asleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as doomed:
                doomed.start_soon(wait, 1)
                await clock.wait_for_waiters()
                scope.cancel()
        assert clock.waiting == 0
        tasks.start_soon(wait, 2)
        await clock.wait_for_waiters()
        clock.advance(2)
    assert woken == [2]


async def test_one_who_is_cancelled_as_he_is_woken_holds_up_nobody() -> None:
    clock, woken = ManualClock(autojump=False), []

    async def wait(seconds: float) -> None:
        await clock.asleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, 2)
        await clock.wait_for_waiters()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as doomed:
                doomed.start_soon(wait, 1)
                await clock.wait_for_waiters(2)
                clock.advance(2)
                scope.cancel()
    assert woken[-1] == 2


async def test_sums_of_waits_may_differ_in_the_last_digit() -> None:
    clock = ManualClock(start=0.0, autojump=False)
    clock.advance(0.1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.asleep, 0.2)  # until 0.30000000000000004
        await clock.wait_for_waiters()
        clock.time = 0.0
        clock.advance(0.3)
    assert clock.now() == 0.1 + 0.2


async def test_no_wait_is_no_waiter() -> None:
    clock = ManualClock(autojump=False, patience=0.001)

    async def wait_in_vain() -> None:
        with pytest.raises(TimeoutError):
            await clock.wait_for_waiters()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_in_vain)
        await anyio.wait_all_tasks_blocked()
        await clock.asleep(0)
        clock.sleep(-1)
    assert (clock.now(), clock.waits) == (1_000.0, [0, -1])
    clock.autojump = True
    clock.sleep(-1)
    assert clock.now() == 1_000.0


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_time_does_not_go_back_nor_on_for_ever(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be finite, at least 0, got"):
        ManualClock().advance(seconds)


async def test_who_waits_for_waiters_in_vain_is_told() -> None:
    clock = ManualClock(autojump=False, patience=0.001)
    with pytest.raises(TimeoutError, match="1 should wait on the clock, 0 do"):
        await clock.wait_for_waiters()
    with pytest.raises(TimeoutError, match="2 should wait on the clock, 0 do"):
        clock.wait_for_threads(2)


def test_threads_wait_on_it_too() -> None:
    clock = ManualClock(autojump=False)
    with ThreadPoolExecutor() as pool:
        waits = [pool.submit(clock.sleep, seconds) for seconds in (1, 2)]
        clock.wait_for_threads(2)
        clock.advance(1)
        waits[0].result(10)
        assert (waits[1].done(), clock.waiting) == (False, 1)
        clock.advance(1)
        waits[1].result(10)


def test_threads_do_not_lose_time() -> None:
    clock = ManualClock()

    def work() -> None:
        for _ in range(1_000):
            clock.sleep(1)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(work)
    assert clock.now() == 5_000


async def test_another_thread_may_advance_it() -> None:
    clock = ManualClock(autojump=False)

    def advance() -> None:
        clock.wait_for_threads(2)
        clock.advance(5)

    thread = threading.Thread(target=advance)
    thread.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.asleep, 3)
        tasks.start_soon(clock.asleep, 4)
    thread.join()


async def test_a_task_and_a_thread_do_not_wait_for_each_other() -> None:
    """A task is woken first, and its loop stands still until the thread is done."""
    clock = ManualClock(autojump=False)
    with ThreadPoolExecutor() as pool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clock.asleep, 1)
            await clock.wait_for_waiters()
            later = pool.submit(clock.sleep, 2)
            clock.wait_for_threads(2)
            clock.advance(2)
            later.result(10)


def test_a_loop_that_is_gone_holds_up_nobody() -> None:
    clock, loop = ManualClock(autojump=False), asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    lost = [loop.create_task(clock.asleep(1)) for _ in range(2)]
    loop.run_until_complete(clock.wait_for_waiters(2))
    loop.close()

    async def wait() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clock.asleep, 2)
            await clock.wait_for_waiters(3)
            clock.advance(2)

    asyncio.run(wait())
    assert clock.waiting == 0
    assert not lost.pop().done()


def test_chance_is_a_number() -> None:
    shares = (0, 0.25, 1)
    assert [Fixed(share).uniform(2, 4) for share in shares] == [2, 2.5, 4]
    assert [Fixed(share).random() for share in shares] == [0, 0.25, 1]
    with pytest.raises(ValueError, match=r"share must be 0\.\.1, got 2"):
        Fixed(2)


async def test_the_last_step_repeats(kit: Kit) -> None:
    server = kit.server(503, kit.http.Response(200, text="yes"))
    answers = [await kit.get(server) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 200, 200]
    assert [answer.text for answer in answers] == ["", "yes", "yes"]
    assert server.sends == 3


async def test_a_response_is_played_as_it_was_written(kit: Kit) -> None:
    written = kit.http.Response(
        201,
        headers=[("content-encoding", "gzip"), ("set-cookie", "a=1"), ("x", "1")],
        content=gzip.compress(b"packed"),
        extensions={"reason_phrase": b"Made"},
    )
    server = kit.server(written)
    for _ in range(2):
        answer = await kit.get(server)
        assert (answer.status_code, answer.content) == (201, b"packed")
        assert answer.reason_phrase == "Made"
        assert answer.headers.raw == written.headers.raw


async def test_requests_and_their_bodies_are_noted(family: str) -> None:
    http, server = plain(family, 200, content=b"here")
    async with http.AsyncClient(transport=server) as client:
        assert (await client.post("http://a/x", content=b"there")).content == b"here"
    with http.Client(transport=server) as client:
        assert client.get("http://a/y").content == b"here"
    assert [request.url.path for request in server.requests] == ["/x", "/y"]
    assert server.bodies == [b"there", b""]


async def test_errors_are_raised_in_place_of_an_answer(kit: Kit) -> None:
    cut = kit.http.ReadError("cut")
    server = kit.server(kit.http.ConnectError, cut, cut)
    with pytest.raises(kit.http.ConnectError, match="scripted"):
        await kit.get(server)
    depths = []
    for _ in range(2):
        with pytest.raises(kit.http.ReadError) as caught:
            await kit.get(server)
        assert caught.value is cut
        depths.append(len(caught.traceback))
    assert depths[0] == depths[1]


async def test_a_function_decides_by_the_request(kit: Kit) -> None:
    def decide(request: Any) -> Any:
        paths = {"/lost": 404, "/cut": kit.http.ReadError, "/slow": After(5, 204)}
        return paths[request.url.path]

    server = kit.server(decide)
    assert (await kit.get(server, "http://a/lost")).status_code == 404
    with pytest.raises(kit.http.ReadError):
        await kit.get(server, "http://a/cut")
    began = server.clock.now()
    assert (await kit.get(server, "http://a/slow")).status_code == 204
    assert server.clock.now() - began == 5


async def test_sends_take_time_on_the_clock(kit: Kit) -> None:
    server = kit.server(After(2, 503), 200, seconds=0.5)
    policy = Policy(retry=RetryConfig(base_delay=1.0))
    assert (await kit.get(server, policy=policy)).status_code == 200
    assert (server.clock.now(), server.clock.waits) == (1_000 + 0.5 + 2 + 1 + 0.5, [1])


async def test_a_problem_is_caught_as_its_class(kit: Kit) -> None:
    server = kit.server(OutOfStock("None left", sku="A1"), contract=SHOP)
    answer = await kit.get(server, "http://a/orders/A1", contract=SHOP)
    with pytest.raises(OutOfStock) as caught:
        answer.raise_for_status()
    assert (caught.value.sku, caught.value.instance) == ("A1", "/orders/A1")
    assert caught.value.request_id == "scripted-1"
    again = await kit.get(kit.server(NotFoundException))
    with pytest.raises(NotFoundException):
        again.raise_for_status()


FAULT = ValidationError(field="sku", message="is too short", type="too_short")


@pytest.mark.parametrize(
    "error",
    [
        OutOfStock("None left", sku="A1", extra={"aisle": 4}),
        NotFoundException(headers={"X-Shelf": "4", "Cache-Control": "max-age=5"}),
        RateLimitException("At once", retry_after=0.2),
        RateLimitException(
            "Later", retry_after=3, headers={"Cache-Control": "private"}
        ),
        ServiceUnavailableException(retry_after=2.5),
        IdempotencyKeyInProgressException(retry_after=1),
        OutOfStock(sku="A1", retry_after=4),
        ValidationException(errors=[FAULT]),
    ],
    ids=str,
)
async def test_a_problem_is_what_server_kit_sends(error: AppException) -> None:
    async def fail(request: Request) -> None:
        raise error

    routes = [Route("/a b/{rest:path}", fail)]
    app = server_kit.wrap(Starlette(routes=routes), contract=SHOP, security=None)
    url, headers = "http://a/a%20b/%C3%A9?q=1", {"X-Request-ID": "r1"}
    answers = []
    for transport in (httpx.ASGITransport(app), ScriptedServer(error, contract=SHOP)):
        async with httpx.AsyncClient(transport=transport) as client:
            answers.append(await client.get(url, headers=headers))
    theirs, ours = answers
    assert ours.status_code == theirs.status_code
    assert ours.json() == theirs.json()
    assert sorted(ours.headers.items()) == sorted(theirs.headers.items())


async def test_a_body_that_breaks_off_is_asked_for_again(kit: Kit) -> None:
    bodies = [
        kit.body(b"ha", kit.http.ReadError("cut")),
        kit.body(b"ha", kit.http.ReadError),
        kit.body(b"ha", lambda: b"lf", After(2, b"!")),
    ]
    server = kit.server(*(kit.http.Response(200, stream=body) for body in bodies))
    answer = await kit.get(server, policy=Policy())
    assert (answer.content, server.sends) == (b"half!", 3)
    assert server.clock.now() - sum(server.clock.waits) == 1_002
    assert [body.closed > 0 for body in bodies] == [True, True, True]


@pytest.fixture
def slow(kit: Kit) -> Any:
    """Serve 50 kB in 20 s."""
    body = kit.body(*[After(2, b"x" * 5_000)] * 10)
    return kit.server(kit.http.Response(200, stream=body))


async def test_a_slow_body_is_read_until_its_deadline(kit: Kit, slow: Any) -> None:
    """A sync client looks at the clock before it asks for more."""
    is_async = issubclass(kit.client, kit.http.AsyncClient)
    count = await kit.read(slow, policy=Policy(deadline=5.0))
    assert count == (10_000 if is_async else 15_000)
    assert slow.clock.now() == 1_006
    slow.assert_closed()


async def test_a_slow_body_is_no_answer_in_time(kit: Kit, slow: Any) -> None:
    with pytest.raises(DeadlineExceededException):
        await kit.get(slow, policy=Policy(deadline=5.0))
    assert slow.clock.now() == 1_006
    slow.assert_closed()


@pytest.mark.parametrize("part", ["text", 5, bytes, After(1, After(1, b"x"))])
def test_a_part_that_is_none_is_refused(kit: Kit, part: Any) -> None:
    with pytest.raises(TypeError, match=r"parts\[1\] must be bytes, an exc.*, got"):
        kit.body(b"", part)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_nothing_comes_before_its_time_or_never(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be finite, at least 0, got"):
        After(seconds, 200)


async def test_a_body_without_a_server_has_no_clock() -> None:
    with pytest.raises(RuntimeError, match="has no clock"):
        list(ScriptedBody(After(1, b"x")))


@pytest.mark.parametrize("limit", ["deadline", "attempt_timeout"])
async def test_what_hangs_is_given_up_once_the_clock_has_passed_its_limit(
    family: str, limit: str
) -> None:
    clock = ManualClock(autojump=False)
    _, server = plain(family, After(60, 503), After(1, 200), clock=clock)
    limits: Any = {limit: 5.0}
    made: Any = AsyncClient if family == "httpx" else fork.AsyncClient
    state, policy = State(clock=clock, rng=Fixed(0)), Policy(**limits)
    client = made(transport=server, state=state, policy=policy)
    ended: list[Any] = []

    async def call() -> None:
        try:
            ended.append((await client.get("http://a/")).status_code)
        except DeadlineExceededException as error:
            ended.append(type(error).__name__)

    async with client, anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await clock.wait_for_waiters()
        clock.advance(4)
        await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert (ended, server.sends) == ([], 1)
        clock.advance(1)
        if limit == "attempt_timeout":
            await clock.wait_for_waiters()
            clock.advance(1)
    is_over = (["DeadlineExceededException"], 1)
    assert (ended, server.sends) == (is_over if limit == "deadline" else ([200], 2))
    server.assert_closed()


async def test_another_thread_may_pass_the_limit() -> None:
    clock = ManualClock(autojump=False)
    server = ScriptedServer(After(7_200, 200), clock=clock)

    def advance() -> None:
        clock.wait_for_threads()
        clock.advance(3_600)

    thread = threading.Thread(target=advance)
    thread.start()
    with anyio.fail_after(10):
        await an_hour_at_most(server, clock)
    thread.join()


async def test_a_call_that_does_not_wait_on_the_clock_has_its_limit_there_too() -> None:
    clock = ManualClock()
    arrived = anyio.Event()

    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            arrived.set()
            await anyio.sleep_forever()
            raise AssertionError

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(an_hour_at_most, Silent(), clock)
            await arrived.wait()
            clock.advance(3_600)


async def an_hour_at_most(
    transport: httpx.AsyncBaseTransport, clock: ManualClock
) -> None:
    state, policy = State(clock=clock), Policy(deadline=3_600.0, attempt_timeout=None)
    async with AsyncClient(transport=transport, state=state, policy=policy) as client:
        with pytest.raises(DeadlineExceededException):
            await client.get("http://a/")


async def test_a_request_is_noted_when_it_arrives() -> None:
    clock = ManualClock(autojump=False)
    server = ScriptedServer(200, seconds=3, clock=clock)
    async with (
        httpx.AsyncClient(transport=server) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.get, "http://a/")
        await clock.wait_for_waiters()
        assert (server.sends, server.open_bodies) == (1, [])
        clock.advance(3)


def test_a_body_that_is_left_open_is_found(family: str) -> None:
    http, server = plain(family, 404, 200)
    with http.Client(transport=server) as client:
        assert client.get("http://a/read").status_code == 404
        left = client.send(client.build_request("GET", "http://a/left"), stream=True)
        assert server.open_bodies == ["200 to GET http://a/left"]
        with pytest.raises(AssertionError, match="left open: 200 to GET http://a/left"):
            server.assert_closed()
        left.close()
        server.assert_closed()


@pytest.mark.parametrize(
    "step", ["503", 42, True, None, After(1, None), After(1, int), KeyboardInterrupt]
)
async def test_a_step_that_is_none_is_refused(kit: Kit, step: Any) -> None:
    name = kit.http.__name__
    message = rf"script\[1\] must be a status, an {name}.Response or an exception, got"
    with pytest.raises(TypeError, match=message):
        kit.server(200, step)
    server = kit.server(200)
    with pytest.raises(TypeError, match=r"script\[0\] must be"):
        server.script = [step]
    server.script = [lambda request: step]
    with pytest.raises(TypeError, match="the answer to GET http://a/ must be"):
        await kit.get(server)


def test_a_script_has_a_step(kit: Kit) -> None:
    with pytest.raises(ValueError, match="script must have a step"):
        kit.server()
    other = httpx2 if kit.http is httpx else httpx
    with pytest.raises(TypeError, match="must be a status"):
        kit.server(other.Response(200))


async def test_a_new_script_takes_over(kit: Kit) -> None:
    server = kit.server(503)
    steps = [404, 200]
    server.script = steps
    assert [(await kit.get(server)).status_code for _ in range(3)] == [404, 200, 200]
    assert steps == [404, 200]


def test_threads_share_a_script(family: str) -> None:
    server: Any = (
        ScriptedServer if family == "httpx" else fork_testing.ScriptedServer
    )(*[201] * 50, 200)
    client: Any = (Client if family == "httpx" else fork.Client)(transport=server)
    with client, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(client.get, ["http://a/"] * 60))
    codes = sorted(answer.status_code for answer in answers)
    assert (codes, server.sends) == ([200] * 10 + [201] * 50, 60)
    server.assert_closed()


async def test_a_circuit_opens_refuses_and_closes(kit: Kit) -> None:
    server = kit.server(503, 503, 200)
    config = BreakerConfig(failure_threshold=2, success_threshold=1)
    policy = Policy(retry=None, breaker=config)
    state = State(clock=server.clock, rng=Fixed(0))
    options: Any = {"state": state, "policy": policy}
    for _ in range(2):
        await kit.get(server, **options)
    with pytest.raises(CircuitBreakerOpenException) as caught:
        await kit.get(server, **options)
    assert (server.sends, caught.value.retry_after) == (2, 5.0)
    server.clock.advance(5.0)
    assert (await kit.get(server, **options)).status_code == 200
    assert state.snapshot()["origins"]["http://a:80"]["breaker"]["state"] == "closed"


TESTS = """
import httpx

def test_one_clock(manual_clock, scripted_server):
    assert scripted_server.clock is manual_clock
    assert httpx.Client(transport=scripted_server).get("http://a/").status_code == 200

def test_left_open(scripted_server):
    client = httpx.Client(transport=scripted_server)
    client.send(client.build_request("GET", "http://a/"), stream=True)
"""


def test_the_fixtures_check_what_was_left_open(tmp_path: Path) -> None:
    plugins = 'pytest_plugins = ["resilient_http.testing.fixtures"]'
    (tmp_path / "conftest.py").write_text(plugins)
    (tmp_path / "test_it.py").write_text(TESTS)
    done = run(tmp_path, "-m", "pytest", "-q", "-W", "error")
    assert "2 passed, 1 error" in done.stdout
    assert "left open: 200 to GET http://a/" in done.stdout


def test_the_kit_needs_no_pytest(tmp_path: Path) -> None:
    seen = "import sys, resilient_http.testing; assert 'pytest' not in sys.modules"
    assert run(tmp_path, "-c", seen).returncode == 0
