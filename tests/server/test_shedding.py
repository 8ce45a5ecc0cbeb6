"""Shedding as a caller meets it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from server_kit import Deadlines, Shedding, wrap
from server_kit.asgi import Message, Receive, Scope, Send
from server_kit.exchange import Exchange, exchange_of
from tests.server.apps import AnyApp, ask, raw_app

ONE = {"limit": 1, "most_limit": 1}
"""One at a time, whatever is seen."""


class Held:
    """An app whose requests wait until they are let go; it notes who came."""

    def __init__(self) -> None:
        self.go = anyio.Event()
        self.stay = anyio.Event()
        self.came: list[str] = []
        self.exchanges: list[Exchange | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            self.came.append(scope["type"])
            return
        self.came.append(scope["path"])
        self.exchanges.append(exchange_of(scope))
        if scope["path"].startswith("/hold"):
            await self.go.wait()
        if scope["path"] == "/stay":
            await self.stay.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


def shedding(**options: Any) -> Shedding:
    return Shedding(**{**ONE, "target": 0.05, **options})


async def hold(group: anyio.abc.TaskGroup, app: AnyApp, path: str = "/hold") -> None:
    """Take the only place."""
    group.start_soon(ask, app, path)
    await anyio.wait_all_tasks_blocked()


@pytest.mark.case("S59", "R39")
async def test_who_finds_no_place_in_time_is_answered_with_503() -> None:
    held = Held()
    app = wrap(held, shedding=shedding())
    async with anyio.create_task_group() as group:
        await hold(group, app)
        response = await ask(app, "/late")
        held.go.set()
    assert response.status_code == 503
    assert response.json()["type"] == "overloaded"
    assert 1 <= int(response.headers["retry-after"]) <= 3
    assert held.came == ["/hold"]
    assert (await ask(app, "/again")).status_code == 200


@pytest.mark.case("S59", "RA-9")
async def test_refused_callers_are_told_to_wait_for_different_times() -> None:
    held = Held()
    app = wrap(held, shedding=shedding(retry_after=10, target=0.001))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        answers = [await ask(app, "/late") for _ in range(30)]
        held.go.set()
    waits = {int(answer.headers["retry-after"]) for answer in answers}
    assert len(waits) > 5
    assert min(waits) >= 10
    assert max(waits) <= 30


@pytest.mark.case("S59")
async def test_the_body_of_a_refused_request_is_not_read() -> None:
    held, asked = Held(), []
    app = wrap(held, shedding=shedding(target=0.001))
    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}

    async def receive() -> Message:
        asked.append(True)
        return {"type": "http.request", "body": b"x"}

    async def send(message: Message) -> None:
        assert message.get("status", 503) == 503

    async with anyio.create_task_group() as group:
        await hold(group, app)
        await app(scope, receive, send)
        held.go.set()
    assert asked == []
    assert scope["server_kit"].problem.type == "overloaded"


async def test_who_waits_goes_on_when_the_place_is_free() -> None:
    held = Held()
    app = wrap(held, shedding=shedding(target=5))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        await hold(group, app, "/next")
        assert held.came == ["/hold"]
        held.go.set()
    assert held.came == ["/hold", "/next"]
    first, waited = held.exchanges
    assert first is not None
    assert waited is not None
    assert (first.queued, waited.is_waiting) == (0, False)
    assert 0 < waited.queued < 5


@pytest.mark.case("S59", "R39")
@pytest.mark.parametrize("path", ["/health", "/healthz", "/livez", "/readyz"])
async def test_health_checks_are_never_shed_and_take_no_place(path: str) -> None:
    held = Held()
    app = wrap(held, shedding=shedding(target=0.001))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        for _ in range(3):
            assert (await ask(app, path)).status_code == 200
        held.go.set()


async def test_other_paths_can_be_exempt() -> None:
    app = wrap(Held(), shedding=shedding(exempt_paths={"/events"}, target=0.001))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        assert (await ask(app, "/events")).status_code == 200
        assert (await ask(app, "/health")).status_code == 503
        group.cancel_scope.cancel()


async def chunks(go: anyio.Event) -> AsyncIterator[bytes]:
    yield b"first"
    await go.wait()
    yield b"last"


async def test_a_place_is_held_until_the_end_of_a_stream() -> None:
    go = anyio.Event()

    async def stream(request: Request) -> Response:
        return StreamingResponse(chunks(go))

    inner = Starlette(routes=[Route("/hold", stream), Mount("/", raw_app)])
    app = wrap(inner, shedding=shedding(target=0.001))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        assert (await ask(app, "/ok")).status_code == 503
        go.set()
    assert (await ask(app, "/ok")).status_code == 200


async def test_work_after_the_answer_holds_no_place() -> None:
    go = anyio.Event()

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("fine", background=BackgroundTask(go.wait))

    inner = Starlette(routes=[Route("/hold", endpoint), Mount("/", raw_app)])
    app = wrap(inner, shedding=shedding(target=0.001))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        assert (await ask(app, "/ok")).status_code == 200
        go.set()


@pytest.mark.parametrize("path", ["/crash", "/problem", "/nowhere", "/late"])
async def test_a_place_is_free_again_however_a_request_ends(path: str) -> None:
    app = wrap(raw_app, shedding=shedding(target=0.001))
    for _ in range(3):
        await ask(app, path)
    assert (await ask(app, "/ok")).status_code == 200


@pytest.mark.case("R28")
async def test_a_place_is_free_again_when_a_request_is_cancelled() -> None:
    held = Held()
    app = wrap(held, shedding=shedding(target=5))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        await hold(group, app, "/hold/waiting")
        group.cancel_scope.cancel()
    assert held.came == ["/hold"]
    assert (await ask(app, "/ok")).status_code == 200


@pytest.mark.case("R28")
async def test_who_is_cancelled_as_its_turn_comes_hands_the_place_on(
    anyio_backend_name: str,
) -> None:
    if anyio_backend_name != "asyncio":
        return  # on trio who was woken is no longer cancelled in its wait
    go = anyio.Event()
    waiter: list[asyncio.Task[Any] | None] = []
    came = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        came.append(scope["path"])
        if scope["path"] == "/hold":
            await go.wait()
        await raw_app({**scope, "path": "/ok"}, receive, send)
        for task in waiter:  # its place is given by now, and it has not run yet
            assert task is not None
            task.cancel()

    wrapped = wrap(app, shedding=shedding(target=5))

    async def waiting() -> None:
        waiter.append(asyncio.current_task())
        await ask(wrapped, "/waiting")

    async with anyio.create_task_group() as group:
        await hold(group, wrapped)
        group.start_soon(waiting)
        await anyio.wait_all_tasks_blocked()
        go.set()
    waiter.clear()
    assert came == ["/hold"]
    with anyio.fail_after(2):
        assert (await ask(wrapped, "/")).status_code == 200


async def test_who_runs_out_of_time_in_the_queue_was_not_begun_and_gives_way() -> None:
    held = Held()
    app = wrap(held, shedding=shedding(target=5))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        expired = await ask(app, "/expired", headers={"x-request-timeout-ms": "20"})
        await hold(group, app, "/next")
        held.go.set()
    assert (expired.status_code, expired.json()["type"]) == (504, "deadline-exceeded")
    assert held.came == ["/hold", "/next"]


async def test_who_is_served_late_has_begun() -> None:
    held = Held()
    app = wrap(held, shedding=shedding(target=5))
    answers: list[httpx.Response] = []

    async def wait_and_run_out() -> None:
        headers = {"x-request-timeout-ms": "60"}
        answers.append(await ask(app, "/stay", headers=headers))

    async with anyio.create_task_group() as group:
        await hold(group, app)
        group.start_soon(wait_and_run_out)
        await anyio.wait_all_tasks_blocked()
        held.go.set()
    assert held.came == ["/hold", "/stay"]
    assert answers[0].json()["type"] == "gateway-timeout"


PRIORITIES: dict[str, Any] = {
    "/pay": "critical",
    "/export": "sheddable",
    "/export/now": "normal",
}


async def order(paths: list[tuple[str, str]], **options: Any) -> list[str]:
    """Have requests wait in this order; return that in which they were served."""
    held = Held()
    two = {"limit": 2, "most_limit": 2, "least_limit": 2, "target": 5}
    settings = shedding(priorities=PRIORITIES, **two, **options)
    app = wrap(held, shedding=settings)
    async with anyio.create_task_group() as group:
        await hold(group, app, "/stay")
        await hold(group, app)
        for path, criticality in paths:
            headers = {"x-criticality": criticality} if criticality else {}

            async def call(path: str = path, headers: Any = headers) -> None:
                await ask(app, path, headers=headers)

            group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
        held.go.set()
        await anyio.wait_all_tasks_blocked()
        held.stay.set()
    return held.came[2:]


def waiting_for(*paths: str) -> list[tuple[str, str]]:
    return [(path, "") for path in paths]


@pytest.mark.case("R39")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/export", "/pay"),
        ("/export/old", "/pay/5"),
        ("/", "/pay"),
        ("/payment", "/pay"),
        ("/export", "/export/now"),
    ],
)
async def test_the_more_critical_route_goes_first(first: str, second: str) -> None:
    assert await order(waiting_for(first, second)) == [second, first]


@pytest.mark.case("S59")
async def test_a_header_is_believed_from_trusted_callers_alone() -> None:
    asked = [("/", ""), ("/export", "critical")]
    assert await order(asked) == ["/", "/export"]
    assert await order(asked, trusted=lambda _: False) == ["/", "/export"]
    assert await order(asked, trusted=lambda _: True) == ["/export", "/"]


async def test_a_trusted_header_that_says_nothing_leaves_it_to_the_route() -> None:
    asked = [("/export", "urgent"), ("/pay", "")]
    assert await order(asked, trusted=lambda _: True) == ["/pay", "/export"]


async def test_a_wrapped_app_in_another_is_counted_once() -> None:
    held = Held()
    inner = wrap(held, shedding=shedding(target=0.001))
    app = wrap(Starlette(routes=[Mount("/", inner)]), shedding=Shedding())
    async with anyio.create_task_group() as group:
        await hold(group, app)
        assert (await ask(app, "/ok")).status_code == 200
        held.go.set()


async def test_a_wrapped_app_sheds_within_one_that_does_not() -> None:
    held = Held()
    inner = wrap(held, shedding=shedding(target=5))
    app = wrap(Starlette(routes=[Mount("/", inner)]))
    async with anyio.create_task_group() as group:
        await hold(group, app)
        late = await ask(app, "/late", headers={"x-request-timeout-ms": "20"})
        held.go.set()
    assert late.json()["type"] == "deadline-exceeded"  # as the outer one has heard


async def test_what_is_not_http_passes() -> None:
    held = Held()

    async def nothing(*_: object) -> Any:
        raise AssertionError

    app = wrap(held, shedding=shedding())
    for _ in range(3):
        await app({"type": "websocket", "path": "/", "headers": []}, nothing, nothing)
    assert held.came == ["websocket"] * 3


@pytest.mark.case("S59")
async def test_refusing_is_cheap() -> None:
    """Far below what a slow machine needs for 100 µs of work; a guard, no benchmark."""
    held = Held()
    app = wrap(held, shedding=shedding(target=0.001), deadlines=Deadlines())

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        pass

    async with anyio.create_task_group() as group:
        await hold(group, app)
        await ask(app, "/late")
        began = time.process_time()
        for _ in range(200):
            scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
            await app(scope, receive, send)
        spent = time.process_time() - began
        held.go.set()
    assert spent / 200 < 0.005


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": 0}, ValueError, "Shedding.target must be .* above 0, got 0"),
        ({"target": None}, TypeError, "Shedding.target must be"),
        ({"limit": 0}, ValueError, "Shedding.limit must be an int of at least 1"),
        ({"limit": 1.5}, TypeError, "Shedding.limit must be an int"),
        ({"limit": 5, "least_limit": 6}, ValueError, "from least_limit to most_limit"),
        ({"limit": 5, "most_limit": 4}, ValueError, "from least_limit to most_limit"),
        ({"retry_after": 0}, ValueError, "Shedding.retry_after must be"),
        ({"priorities": {"/a": "high"}}, ValueError, "any of critical, normal, shed"),
        ({"priorities": {"a": "normal"}}, ValueError, "paths that begin with /"),
        ({"priorities": ["/a"]}, TypeError, "a mapping of paths"),
        ({"header": "nötig"}, ValueError, "Shedding.header must be"),
        ({"trusted": "mesh"}, TypeError, "Shedding.trusted must be callable, or None"),
        ({"exempt_paths": "/health"}, TypeError, "a collection of paths"),
        ({"exempt_paths": {"health"}}, ValueError, "paths that begin with /"),
    ],
)
def test_what_makes_no_sense_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Shedding(**options)
