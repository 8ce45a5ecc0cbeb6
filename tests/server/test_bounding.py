"""Requests whose time is over, or whose caller has gone."""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import fastapi
import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

import resilient_http
import server_kit
from resilient_http.context import time_left
from resilient_http.problems import Contract, GatewayTimeoutException
from resilient_http.testing import ManualClock, ScriptedServer
from server_kit import Deadlines, remaining, wrap
from server_kit.asgi import Message, Receive, Scope, Send
from tests.served import served
from tests.server.apps import AnyApp, Served, ask, litestar_app, raw_app, serve

SOON = {"X-Request-Timeout-Ms": "20"}
LATER = {"X-Request-Timeout-Ms": "5000"}
NO_TIME = {"X-Request-Timeout-Ms": "0"}


class Handler:
    """Waits for ever, and notes how it ended. Reads the body first if asked to."""

    def __init__(self, *, reads: bool = False) -> None:
        self.reads = reads
        self.ended = ""
        self.cleaned_up = False
        self.left = math.nan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.left = remaining()
        try:
            while self.reads and (await receive()).get("more_body"):
                pass
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.ended = "cancelled"
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                self.cleaned_up = True
            raise
        finally:
            self.ended = self.ended or "done"


async def answer(status: int, send: Send, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


def type_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json().get("type")


GATEWAY_TIMEOUT = (504, "gateway-timeout")
DEADLINE_EXCEEDED = (504, "deadline-exceeded")


async def test_a_handler_is_cancelled_when_the_time_of_its_caller_is_over() -> None:
    handler = Handler()
    response = await ask(wrap(handler), "/", headers=SOON)
    assert type_of(response) == GATEWAY_TIMEOUT
    assert 0 < handler.left <= 0.02
    assert (handler.ended, handler.cleaned_up) == ("cancelled", True)


@pytest.mark.case("R29")
async def test_a_maximum_holds_for_who_asks_for_more_or_nothing() -> None:
    for headers in ({}, LATER, {"grpc-timeout": "99999999H"}, {"grpc-timeout": "x"}):
        handler = Handler()
        app = wrap(handler, deadlines=Deadlines(maximum=0.02))
        assert type_of(await ask(app, "/", headers=headers)) == GATEWAY_TIMEOUT
        assert handler.left <= 0.02


@pytest.mark.case("S58", "R29")
async def test_who_arrives_with_no_time_is_refused_before_the_body_is_read() -> None:
    called = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.append(await receive())

    for headers in (NO_TIME, {"grpc-timeout": "999u"}):
        assert type_of(await ask(wrap(app), "/", headers=headers)) == DEADLINE_EXCEEDED
    assert called == []


@pytest.mark.case("S58", "R29")
@pytest.mark.parametrize("value", ["abc", "-5", "1e308", "99999999H", ""])
async def test_garbage_is_served_as_if_nothing_was_said(value: str) -> None:
    headers = {"X-Request-Timeout-Ms": value}
    assert (await ask(wrap(raw_app), "/ok", headers=headers)).status_code == 200


async def test_callers_that_are_all_late_are_mostly_served() -> None:
    app = wrap(raw_app)
    answers = [await ask(app, "/ok", headers=NO_TIME) for _ in range(100)]
    assert [one.status_code for one in answers].count(504) == 20


async def test_who_is_late_and_served_has_what_anybody_has() -> None:
    lefts = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        lefts.append(remaining())
        await answer(200, send)

    wrapped = wrap(app, deadlines=Deadlines(maximum=5))
    for _ in range(12):
        await ask(wrapped, "/", headers=NO_TIME)
    assert lefts == [pytest.approx(5, abs=1)] * 2


async def test_without_deadlines_nothing_is_read() -> None:
    app = wrap(raw_app, deadlines=None)
    assert (await ask(app, "/ok", headers=NO_TIME)).status_code == 200


async def test_a_timeout_of_the_app_is_not_ours() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    response = await ask(wrap(app), "/", headers=LATER)
    assert type_of(response) == (500, "internal-server-error")


async def test_a_cancellation_from_outside_is_not_ours() -> None:
    handler = Handler()
    with anyio.move_on_after(0.02) as scope:
        await ask(wrap(handler), "/", headers=LATER)
        raise AssertionError("went on")
    assert scope.cancelled_caught
    assert handler.ended == "cancelled"


async def test_both_at_once_leave_the_one_from_outside_in_force() -> None:
    handler = Handler()
    ended = False
    with anyio.CancelScope() as outside:
        app = wrap(handler)
        async with anyio.create_task_group() as group:

            async def client() -> None:
                nonlocal ended
                await serve(app, headers=[(b"x-request-timeout-ms", b"20")])
                ended = True

            group.start_soon(client)
            await anyio.sleep(0.01)
            outside.cancel()
    assert (handler.ended, ended) == ("cancelled", False)


async def test_on_asyncio_what_is_awaited_to_clean_up_is_awaited(
    anyio_backend_name: str,
) -> None:
    if anyio_backend_name != "asyncio":
        return  # a cancel scope of trio cuts that as well, as trio's users know
    done = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.001)
            done.append("rolled back")

    assert type_of(await ask(wrap(app), "/", headers=SOON)) == GATEWAY_TIMEOUT
    assert done == ["rolled back"]


async def test_who_answers_in_spite_of_the_cut_is_heard() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await answer(200, send)

    seen = await serve(wrap(app), headers=[(b"x-request-timeout-ms", b"20")])
    assert seen.sent[0]["status"] == 200


def starlette(endpoint: Callable[[Request], Any], **options: Any) -> Starlette:
    return Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])], **options)


def mounted(app: AnyApp) -> Starlette:
    return Starlette(routes=[Mount("/", app)])


async def wait(request: Request) -> Response:
    await anyio.sleep_forever()
    raise AssertionError


def behind_a_middleware() -> AnyApp:
    app = starlette(wait)

    async def passing(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    return app


@pytest.mark.parametrize("make", [lambda: starlette(wait), behind_a_middleware])
async def test_a_route_is_cancelled_through_its_framework(
    make: Callable[[], AnyApp],
) -> None:
    assert type_of(await ask(wrap(make()), "/", headers=SOON)) == GATEWAY_TIMEOUT


async def test_dependencies_of_fastapi_are_cleaned_up() -> None:
    cleaned_up = []

    async def session() -> AsyncIterator[str]:
        try:
            yield "session"
        finally:
            cleaned_up.append(True)

    app = fastapi.FastAPI()

    @app.get("/")
    async def slow(session: Annotated[str, fastapi.Depends(session)]) -> None:
        await anyio.sleep_forever()

    assert type_of(await ask(wrap(app), "/", headers=SOON)) == GATEWAY_TIMEOUT
    assert cleaned_up == [True]


async def test_what_is_in_time_is_untouched() -> None:
    for app in (raw_app, litestar_app()):
        response = await ask(wrap(app), "/ok", headers=LATER)
        assert (response.status_code, response.text) == (200, "fine")


# Streams


async def stream(send: Send, chunks: int, pause: float) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(chunks):
        await anyio.sleep(pause)
        more = number < chunks - 1
        await send({"type": "http.response.body", "body": b"x", "more_body": more})


async def trickle(scope: Scope, receive: Receive, send: Send) -> None:
    await stream(send, 5, 0.01)


async def test_a_stream_that_has_begun_is_cut_if_its_caller_named_a_time() -> None:
    seen = await serve(wrap(trickle), headers=[(b"x-request-timeout-ms", b"20")])
    assert seen.sent[-1].get("more_body", True)
    assert seen.error is not None  # so that the server cuts the connection


async def test_a_stream_that_has_begun_is_not_cut_by_a_maximum() -> None:
    app = wrap(trickle, deadlines=Deadlines(maximum=0.02))
    seen = await serve(app)
    assert seen.error is None
    assert [message.get("body") for message in seen.sent[1:]] == [b"x"] * 5


# Background


async def work_after(
    deadlines: Deadlines, headers: dict[str, str], app: Callable[..., AnyApp]
) -> list[float]:
    lefts = []

    async def later() -> None:
        await anyio.sleep(0.04)
        lefts.append(time_left())

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("fine", background=BackgroundTask(later))

    assert (
        await ask(wrap(app(endpoint), deadlines=deadlines), "/", headers=headers)
    ).text
    return lefts


def in_a_middleware(endpoint: Callable[[Request], Any]) -> AnyApp:
    app = starlette(endpoint)

    async def passing(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    return app


@pytest.mark.parametrize("app", [starlette, in_a_middleware])
@pytest.mark.parametrize("headers", [{}, SOON])
async def test_what_goes_on_after_the_answer_is_neither_cut_nor_bounded(
    app: Callable[..., AnyApp], headers: dict[str, str]
) -> None:
    assert await work_after(Deadlines(maximum=0.03), headers, app) == [math.inf]


async def test_what_a_request_has_started_is_bound_until_its_answer() -> None:
    lefts = []
    answered = anyio.Event()

    async def started() -> None:
        lefts.append(remaining())
        await answered.wait()
        lefts.append(remaining())

    async with anyio.create_task_group() as group:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            group.start_soon(started)
            await anyio.wait_all_tasks_blocked()
            await answer(200, send)

        await ask(wrap(app), "/", headers=LATER)
        answered.set()
    assert lefts == [pytest.approx(5, abs=1), math.inf]


def test_nothing_bounds_what_is_outside_a_request() -> None:
    assert remaining() == math.inf


async def test_what_remains_is_never_less_than_nothing() -> None:
    with resilient_http.deadline(0.001):
        await anyio.sleep(0.002)
        assert time_left() < 0
        assert remaining() == 0


# Calls to others


async def test_what_is_left_is_inherited_and_handed_on() -> None:
    other = ScriptedServer(200, clock=ManualClock(start=0))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = resilient_http.State(clock=other.clock)
        async with resilient_http.AsyncClient(
            base_url="http://other", contract=Contract(), transport=other, state=state
        ) as client:
            await client.get("/")
        await answer(204, send)

    assert (await ask(wrap(app), "/", headers=LATER)).status_code == 204
    (request,) = other.requests
    assert 4_000 <= int(request.headers["x-request-timeout-ms"]) <= 5_000
    assert time_left() == math.inf


async def test_a_caller_in_the_same_process_bounds_what_it_calls() -> None:
    lefts = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        lefts.append(remaining())
        await answer(200, send)

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        await ask(wrap(inner), "/", headers=LATER)
        await answer(200, send)

    await ask(wrap(outer), "/", headers={"X-Request-Timeout-Ms": "1000"})
    assert lefts == [pytest.approx(1, abs=0.5)]


async def test_a_wrapped_app_in_another_reads_the_time_once() -> None:
    lefts = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        lefts.append(remaining())
        await answer(200, send)

    inner = wrap(app, deadlines=Deadlines(maximum=1))
    between = wrap(mounted(inner), deadlines=None)
    for around in (wrap(mounted(between)), between):
        assert (await ask(around, "/", headers=LATER)).status_code == 200
    assert lefts == [pytest.approx(5, abs=1), pytest.approx(1, abs=0.5)]


async def test_what_is_not_http_passes() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Any:
        raise AssertionError

    scope = {"type": "websocket", "path": "/", "headers": [(b"grpc-timeout", b"0S")]}
    await wrap(app)(scope, nothing, nothing)
    assert seen == ["websocket"]


# Bodies


async def slowly(
    app: AnyApp, version: str, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[Served, int]:
    """Send a byte now and then, as long as it is asked for; return how many."""
    seen = Served([], None)
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        await anyio.sleep(0.005)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Message) -> None:
        seen.sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "http_version": version}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await app({**scope, "headers": raw, "query_string": b""}, receive, send)
    return seen, asked


@pytest.mark.case("R27")
async def test_a_body_that_drips_ends_in_a_408_and_the_handler_is_cancelled() -> None:
    handler = Handler(reads=True)
    app = wrap(handler, deadlines=Deadlines(maximum=0.03))
    seen, asked = await slowly(app, "1.1")
    assert seen.sent[0]["status"] == 408
    headers = dict(seen.sent[0]["headers"])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    assert handler.ended == "cancelled"
    assert 1 <= asked <= 7
    seen, _ = await slowly(app, "2")
    assert b"connection" not in dict(seen.sent[0]["headers"])


@pytest.mark.case("R27")
def test_a_drip_over_a_socket_is_answered_and_cut() -> None:
    handler = Handler(reads=True)
    app = wrap(mounted(handler), deadlines=Deadlines(maximum=0.2))
    with served(app) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 10) as drip:
            head = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\nx"
            drip.sendall(head)
            heard = b"".join(iter(lambda: drip.recv(65_536), b""))
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert handler.ended == "cancelled"


async def test_a_response_that_begins_before_its_request_ends_is_cut() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["more_body"]:
            pass

    app = wrap(echo)
    asked = {"x-request-timeout-ms": "20"}
    with pytest.raises(GatewayTimeoutException):
        await slowly(app, "1.1", asked)


async def test_a_handler_that_has_its_body_and_is_slow_is_answered_with_504() -> None:
    handler = Handler(reads=True)
    response = await ask(wrap(handler), "/", "POST", headers=SOON, content=b"all")
    assert type_of(response) == GATEWAY_TIMEOUT


# Callers that go away

CANCELS = Deadlines(cancel_on_disconnect=True)


class Caller:
    """One that goes away when told to; it sends its body first."""

    def __init__(self, *chunks: bytes) -> None:
        self.left = anyio.Event()
        self.sent: list[Message] = []
        self.chunks = list(chunks or (b"",))

    async def receive(self) -> Message:
        if self.chunks:
            body = self.chunks.pop(0)
            more = bool(self.chunks)
            return {"type": "http.request", "body": body, "more_body": more}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def call(self, app: AnyApp, scope: Scope | None = None) -> None:
        asked = {"type": "http", "method": "POST", "path": "/", "headers": []}
        await app(
            {**asked, "query_string": b""} if scope is None else scope,
            self.receive,
            self.send,
        )


@pytest.mark.case("R28", "S51")
@pytest.mark.parametrize("reads", [False, True])
async def test_work_is_cancelled_when_its_caller_has_gone(reads: bool) -> None:
    handler = Handler(reads=reads)
    caller = Caller(b"a", b"b") if reads else Caller()
    async with anyio.create_task_group() as group:
        group.start_soon(caller.call, wrap(handler, deadlines=CANCELS))
        await anyio.wait_all_tasks_blocked()
        assert handler.ended == ""
        caller.left.set()
    assert (handler.ended, handler.cleaned_up) == ("cancelled", True)
    assert caller.sent == []


@pytest.mark.case("R28", "S51")
async def test_unless_asked_to_work_is_finished_for_a_caller_that_has_gone() -> None:
    finished = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.01)
        finished.append(True)
        await answer(200, send)

    caller = Caller()
    caller.left.set()
    await caller.call(wrap(app))
    assert finished == [True]


async def test_the_body_passes_the_watch_in_order() -> None:
    bodies = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            bodies.append(message["body"])
            if not message["more_body"]:
                break
        await answer(200, send)

    caller = Caller(b"a", b"b", b"c", b"d")
    await caller.call(wrap(app, deadlines=CANCELS))
    assert bodies == [b"a", b"b", b"c", b"d"]
    assert caller.sent[0]["status"] == 200


async def test_a_body_is_read_no_faster_than_the_app_takes_it() -> None:
    caller = Caller(*[b"x"] * 100)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await anyio.wait_all_tasks_blocked()
        await answer(200, send)

    await caller.call(wrap(app, deadlines=CANCELS))
    assert len(caller.chunks) == 97


async def test_an_app_that_asks_is_told_that_its_caller_has_gone() -> None:
    told = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                told.extend([await receive(), await receive()])
                with anyio.CancelScope() as at_once:  # as Starlette asks
                    at_once.cancel()
                    told.append(await receive())

    caller = Caller()
    caller.left.set()
    await caller.call(wrap(app, deadlines=CANCELS))
    assert told == [{"type": "http.disconnect"}] * 3


async def test_work_after_the_answer_is_not_cancelled_by_its_end() -> None:
    finished = []
    caller = Caller()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(200, send)
        caller.left.set()  # as servers say at the end of each response
        await anyio.sleep(0.01)
        finished.append(True)

    await caller.call(wrap(app, deadlines=CANCELS))
    assert finished == [True]


async def test_a_failure_under_watch_is_that_of_the_app() -> None:
    response = await ask(wrap(raw_app, deadlines=CANCELS), "/problem")
    assert type_of(response) == (409, "out-of-stock")
    seen = await serve(wrap(raw_app, deadlines=CANCELS), "/crash")
    assert isinstance(seen.error, RuntimeError)


async def test_streams_of_starlette_pass_the_watch() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"

    async def endpoint(request: Request) -> Response:
        assert not await request.is_disconnected()
        return StreamingResponse(chunks())

    app = wrap(starlette(endpoint), deadlines=CANCELS)
    assert (await ask(app, "/")).text == "xxx"


@pytest.mark.case("R28")
def test_over_a_socket_nothing_is_sent_to_who_has_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Handler()
    app = wrap(mounted(handler), deadlines=CANCELS)
    with served(app, server_header=False) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(url, timeout=0.2)
        with httpx.Client() as client:  # the server is well, and has noticed
            assert client.get(url, headers=SOON).status_code == 504
    assert handler.ended == "cancelled"
    assert caplog.records == []


def test_the_name_is_public() -> None:
    assert server_kit.remaining is remaining
