"""The line that is written about each request, and what listeners are told."""

import json
import logging
import socket
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

import anyio
import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

import server_kit
from server_kit import AccessLog, RequestServed
from server_kit.access_log.log import level_of, observer_of, printable
from server_kit.access_log.watch import Watch
from server_kit.asgi import Message, Receive, Scope, Send
from server_kit.exchange import Exchange
from server_kit.problems import BUILT_INS
from tests.served import served
from tests.server.apps import APPS, AnyApp, ask, raw_app, serve, starlette_app

KNOWN = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-request-id": "r-1"}


class Caught(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def line(self) -> Any:
        """The only record, with its fields as attributes."""
        (record,) = self.records
        return record


@pytest.fixture
def log() -> Iterator[Caught]:
    caught = Caught()
    logger = logging.getLogger("server_kit.access")
    logger.addHandler(caught)
    logger.setLevel(logging.INFO)
    yield caught
    logger.removeHandler(caught)
    logger.setLevel(logging.NOTSET)


def logged(app: AnyApp, **settings: Any) -> AnyApp:
    return server_kit.wrap(app, access_log=AccessLog(**settings))


def answering(answer: Any) -> Starlette:
    async def endpoint(request: Request) -> Any:
        return await answer(request)

    return Starlette(routes=[Route("/{name}", endpoint, methods=["GET", "POST"])])


@pytest.mark.parametrize("name", APPS)
async def test_a_line_tells_of_the_request_and_its_answer(
    name: str, log: Caught
) -> None:
    headers = {**KNOWN, "x-request-attempt": "2"}
    await ask(logged(APPS[name]()), "/ok?token=x", headers=headers)
    line = log.line
    assert (line.method, line.path, line.status) == ("GET", "/ok", 200)
    assert line.route == (None if name == "raw" else "/ok")
    assert (line.request_id, line.trace_id, line.attempt) == ("r-1", "a" * 32, 2)
    assert (line.request_bytes, line.response_bytes) == (0, 4)
    assert (line.ended, line.problem_type) == ("complete", None)
    assert (line.client, line.levelno) == ("127.0.0.1", logging.INFO)
    assert 0 < line.duration < 60
    message = line.getMessage()
    assert message.startswith("GET /ok 200 ")
    assert "request_id=r-1" in message
    assert "token" not in message


@pytest.mark.parametrize("name", APPS)
async def test_a_problem_is_named(name: str, log: Caught) -> None:
    await ask(logged(APPS[name]()), "/problem")
    assert (log.line.status, log.line.problem_type) == (409, "out-of-stock")
    assert log.line.levelno == logging.INFO


async def test_a_problem_that_was_not_the_answer_is_not_named(log: Caught) -> None:
    app = starlette_app()

    async def swallows(scope: Scope, receive: Receive, send: Send) -> None:
        async def nothing(message: Message) -> None:
            del message

        await app(scope, receive, nothing)
        await raw_app({**scope, "path": "/ok"}, receive, send)

    await ask(logged(swallows), "/problem")
    assert (log.line.status, log.line.problem_type) == (200, None)


@pytest.mark.parametrize(
    ("headers", "attempt"),
    [({}, None), ({"x-request-attempt": "0"}, None), ({"x-request-attempt": "9"}, 9)]
    + [({"x-request-attempt": given}, None) for given in ("a", "-1", "1" * 9, "1.5")],
)
async def test_an_attempt_is_a_number_or_nothing(
    headers: dict[str, str], attempt: int | None, log: Caught
) -> None:
    await ask(logged(raw_app), "/ok", headers=headers)
    assert log.line.attempt == attempt


@pytest.mark.case("S36")
async def test_a_response_that_breaks_off_says_so(log: Caught) -> None:
    seen: list[RequestServed] = []
    app = server_kit.wrap(
        starlette_app(), access_log=AccessLog(), listeners=[seen.append]
    )
    await serve(app, "/late")
    line = log.line
    assert (line.status, line.ended, line.response_bytes) == (200, "aborted", 1)
    assert line.levelno == logging.ERROR
    assert "ended=aborted" in line.getMessage()
    assert (seen[0].ended, seen[0].route) == ("aborted", "/late")


async def test_an_app_that_answers_nothing_is_a_500(log: Caught) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    await serve(logged(silent))
    assert (log.line.status, log.line.ended) == (500, "aborted")
    assert (log.line.levelno, hasattr(log.line, "first_byte")) == (logging.ERROR, False)


async def test_the_line_of_a_stream_comes_at_its_end(log: Caught) -> None:
    async def drip() -> Any:
        for _ in range(3):
            assert log.records == []
            yield b"ab"

    async def answer(request: Request) -> StreamingResponse:
        return StreamingResponse(drip())

    await ask(logged(answering(answer)), "/x")
    assert (log.line.response_bytes, log.line.ended) == (6, "complete")


async def test_the_line_does_not_wait_for_background_tasks(log: Caught) -> None:
    seen: list[int] = []

    async def answer(request: Request) -> PlainTextResponse:
        task = BackgroundTask(lambda: seen.append(len(log.records)))
        return PlainTextResponse("fine", background=task)

    await ask(logged(answering(answer)), "/x")
    assert seen == [len(log.records)] == [1]


async def test_of_apps_in_each_other_the_outermost_writes(log: Caught) -> None:
    inner = logged(starlette_app())
    await ask(logged(Starlette(routes=[Mount("/in", inner)])), "/in/status/404")
    line = log.line
    assert (line.path, line.route) == ("/in/status/404", "/in/status/{number}")
    assert line.problem_type == "not-found"


@pytest.mark.parametrize(
    ("status", "ended", "is_slow", "level"),
    [
        (200, "complete", False, logging.INFO),
        (404, "complete", False, logging.INFO),
        (429, "complete", False, logging.INFO),
        (499, "client left", False, logging.INFO),
        (200, "complete", True, logging.WARNING),
        (502, "complete", False, logging.WARNING),
        (503, "complete", False, logging.WARNING),
        (504, "complete", False, logging.WARNING),
        (500, "complete", True, logging.ERROR),
        (501, "complete", False, logging.ERROR),
        (200, "aborted", False, logging.ERROR),
    ],
)
async def test_the_level_says_who_should_look(
    status: int, ended: Any, is_slow: bool, level: int
) -> None:
    seen: list[RequestServed] = []
    await ask(server_kit.wrap(raw_app, listeners=[seen.append]), "/ok")
    served = seen[0]._replace(status=status, ended=ended)
    assert level_of(served, is_slow=is_slow) == level


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/health"])
async def test_health_checks_have_no_line_until_they_fail(
    path: str, log: Caught
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if failing:
            raise RuntimeError
        await raw_app({**scope, "path": "/ok"}, receive, send)

    failing = False
    wrapped = logged(app)
    await ask(wrapped, path)
    assert log.records == []
    failing = True
    await ask(wrapped, path)
    assert log.line.status == 500


async def test_which_paths_have_no_line_can_be_chosen(log: Caught) -> None:
    app = logged(raw_app, exclude=frozenset({"/ok"}))
    await ask(app, "/ok")
    assert log.records == []
    await ask(app, "/livez")
    assert log.line.path == "/livez"


async def test_nothing_in_a_line_starts_another(log: Caught) -> None:
    scope = {
        "query_string": b"a=\x1b[2J\r\nfake",
        "method": "GE\nT",
        "client": ("10.0.0.1\nfake", 80),  # a proxy's word, perhaps
        "headers": [(b"x-a", b"1\r\nfake\x85"), (b"x-a", b"2")],
    }
    settings = {"query": True, "headers": True, "bodies": 100}
    path = "/a\r\n2026 fake\u2028\x1b[31m\ud800"
    await serve(logged(raw_app, **settings), path, **scope)
    line = log.line
    assert line.path == "/a\\r\\n2026 fake\\u2028\\x1b[31m\\ud800"
    assert line.request_headers == {"x-a": "1\\r\\nfake\\x85, 2"}
    assert (line.method, line.client) == ("GE\\nT", "10.0.0.1\\nfake")
    assert line.getMessage().isprintable()
    assert line.getMessage().encode()


def test_what_is_printable_stays() -> None:
    assert printable("/caf\u00e9 100% \\n") == "/caf\u00e9 100% \\n"


@pytest.mark.case("S50")
async def test_personal_data_in_a_path_is_masked(log: Caught) -> None:
    await ask(logged(raw_app), "/users/bob@x.com/4111111111111111")
    assert log.line.path == "/users/***/***"
    log.records.clear()
    await ask(logged(starlette_app()), "/status/4111111111111111")
    assert (log.line.path, log.line.route) == ("/status/***", "/status/{number}")


@pytest.mark.case("S50")
@pytest.mark.parametrize("name", ["fastapi", "starlette", "litestar", "raw"])
async def test_queries_and_headers_are_written_masked_if_asked_for(
    name: str, log: Caught
) -> None:
    headers = {"Authorization": "Bearer xyz", "Cookie": "a=xyz", "X-API-Key": "xyz"}
    path = "/ok?token=xyz&page=2"
    await ask(logged(APPS[name]()), path, headers=headers)
    assert not hasattr(log.line, "query")
    assert not hasattr(log.line, "request_headers")
    log.records.clear()
    app = logged(APPS[name](), query=True, headers=True)
    await ask(app, path, headers=headers)
    assert log.line.query == "token=***&page=2"
    assert log.line.request_headers["authorization"] == "***"
    assert log.line.response_headers["x-frame-options"] == "DENY"
    assert "xyz" not in log.line.getMessage()


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(json.loads(await request.body()))


@pytest.mark.case("S50")
async def test_bodies_are_written_masked_and_the_handler_has_its_own(
    log: Caught,
) -> None:
    order = {"sku": "A1", "password": "hunter2", "pad": "x" * 100}
    answer = await ask(logged(answering(echo), bodies=40), "/x", "POST", json=order)
    assert answer.json() == order
    line = log.line
    masked = '{"sku":"A1","password":"***","pad":"<102 more bytes>'
    assert line.request_body == masked
    assert line.response_body.startswith('{"sku":"A1","password":"***"')
    assert line.request_bytes == line.response_bytes == len(answer.content)
    assert "hunter2" not in line.getMessage()


async def test_no_body_starts_another_line(log: Caught) -> None:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("a\r\nfake\x1b[2J")

    await ask(logged(answering(answer), bodies=100), "/x")
    assert log.line.response_body == "a\\r\\nfake\\x1b[2J"


async def test_without_asking_no_body_is_written(log: Caught) -> None:
    await ask(logged(answering(echo)), "/x", "POST", json={})
    assert not hasattr(log.line, "request_body")


@pytest.mark.case("S50")
async def test_an_upload_is_handed_on_as_it_comes(log: Caught) -> None:
    handed: list[int] = []
    given: list[int] = []

    async def upload(request: Request) -> PlainTextResponse:
        async for part in request.stream():
            if part:
                given.append(len(part))
                assert len(given) == len(handed)  # nothing is read ahead
        return PlainTextResponse("fine")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def chunk() -> Message:
            more = len(handed) < 50
            if more:
                handed.append(1_000)
            body = b"x" * 1_000 if more else b""
            return {"type": "http.request", "body": body, "more_body": more}

        await wrapped(scope, chunk, send)

    wrapped = logged(answering(upload), bodies=100)
    await serve(app, "/x", method="POST")
    assert log.line.request_bytes == sum(given) == 50_000
    assert log.line.request_body == "<binary 50000 bytes>"


async def left_by(kind: str) -> Message:
    return {"type": kind}


def watched(scope: Scope, receive: Receive, send: Send, seen: list[RequestServed],
            now: list[float]) -> Watch:  # fmt: skip
    observer = observer_of(None, [seen.append])
    assert observer is not None
    observer.clock = lambda: now[0]
    exchange = Exchange(
        contract=BUILT_INS, limiter=None, request_id="r", path="/", debug=False
    )
    return Watch(observer, exchange, scope, receive, send)


START = {"type": "http.response.start", "status": 200, "headers": []}
LAST = {"type": "http.response.body", "body": b"abc"}


@pytest.mark.case("S51")
@pytest.mark.parametrize("name", ["starlette", "fastapi"])
async def test_a_client_that_leaves_before_the_answer_is_a_499(
    name: str, log: Caught
) -> None:
    async def waits(request: Request) -> PlainTextResponse:
        assert await request.is_disconnected()
        return PlainTextResponse("too late")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await wrapped(scope, lambda: left_by("http.disconnect"), send)

    wrapped = logged(answering(waits))
    await serve(app, "/x")
    line = log.line
    assert (line.status, line.ended, line.levelno) == (499, "client left", logging.INFO)
    assert line.route == "/{name}"


@pytest.mark.case("S51")
async def test_a_client_that_leaves_in_its_upload_is_a_499(log: Caught) -> None:
    async def reads(request: Request) -> PlainTextResponse:
        with pytest.raises(ClientDisconnect):
            await request.body()
        raise ClientDisconnect

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await wrapped(scope, lambda: left_by("http.disconnect"), send)

    wrapped = logged(answering(reads))
    await serve(app, "/x", method="POST")
    assert (log.line.status, log.line.ended) == (499, "client left")
    assert log.line.problem_type is None


@pytest.mark.case("S51")
async def test_a_client_that_leaves_in_the_answer_keeps_its_status() -> None:
    seen: list[RequestServed] = []

    async def send(message: Message) -> None:
        if message is LAST:
            raise OSError  # as servers do from version 2.4 of ASGI on

    watch = watched({"headers": []}, lambda: left_by("http.request"), send, seen, [0.0])
    await watch.send(START)
    with pytest.raises(OSError):  # noqa: PT011 - any that the server raises
        await watch.send(LAST)
    watch.over()
    assert (seen[0].status, seen[0].ended) == (200, "client left")


@pytest.mark.case("S51")
@pytest.mark.parametrize("at", ["start", "end"])
async def test_whoever_waited_is_looked_for_before_the_answer(at: str) -> None:
    seen: list[RequestServed] = []
    asked: list[float] = []
    now = [0.0]

    async def receive() -> Message:
        asked.append(now[0])
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    watch = watched({"headers": []}, receive, send, seen, now)
    now[0] = 0.2 if at == "start" else 0.05
    await watch.send(START)
    now[0] = 0.25
    await watch.send(LAST)
    assert asked == [0.2 if at == "start" else 0.25]
    assert (seen[0].status, seen[0].ended) == (
        (499 if at == "start" else 200),
        "client left",
    )
    assert (await watch.receive())["type"] == "http.disconnect"
    assert len(asked) == 1  # what was found is handed on


async def test_nobody_is_looked_for_while_a_body_is_to_come() -> None:
    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        pass

    now = [0.0]
    for headers in ([(b"content-length", b"5")], [(b"transfer-encoding", b"chunked")]):
        watch = watched({"headers": headers}, receive, send, [], now)
        now[0] += 1.0
        await watch.send(START)
    watch = watched({"headers": []}, receive, send, [], now)
    await watch.send(START)  # at once


@pytest.mark.case("S51")
def test_a_client_that_hangs_up_on_a_real_server_is_a_499() -> None:
    told = threading.Event()
    seen: list[RequestServed] = []

    def listen(request: RequestServed) -> None:
        seen.append(request)
        told.set()

    async def busy(request: Request) -> PlainTextResponse:
        await anyio.sleep(0.3)  # long enough to be left, and does not listen
        return PlainTextResponse("to nobody")

    with served(server_kit.wrap(answering(busy), listeners=[listen])) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert told.wait(20)
    assert (seen[0].status, seen[0].ended) == (499, "client left")


@pytest.mark.case("S50")
def test_a_real_server_serves_what_is_watched_as_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "server_kit.access")
    order = {"sku": "A1", "password": "hunter2", "pad": "x" * 300_000}
    with (
        served(logged(answering(echo), bodies=50, headers=True, query=True)) as url,
        httpx.Client(base_url=url) as client,
    ):
        for _ in range(3):
            answer = client.post("/x?token=xyz", json=order)
            assert answer.json() == order
    assert caplog.text.count("POST /x 200") == 3
    assert "hunter2" not in caplog.text
    assert "xyz" not in caplog.text


async def test_an_upload_that_is_half_read_is_left_to_the_app() -> None:
    parts = [b"ab", b"cd"]

    async def receive() -> Message:
        now[0] += 1.0
        body = parts.pop(0)
        return {"type": "http.request", "body": body, "more_body": True}

    async def send(message: Message) -> None:
        pass

    now = [0.0]
    seen: list[RequestServed] = []
    watch = watched({"headers": [(b"content-length", b"9")]}, receive, send, seen, now)
    await watch.receive()
    await watch.send(START)
    assert parts == [b"cd"]
    await watch.receive()
    await watch.send(LAST)
    assert (seen[0].receiving, seen[0].request_bytes) == (2.0, 4)


async def test_whoever_listens_is_left_to_listen() -> None:
    now = [0.0]
    asked: list[float] = []
    leaves = anyio.Event()
    seen: list[RequestServed] = []

    async def receive() -> Message:
        asked.append(now[0])
        if len(asked) > 1:
            await leaves.wait()
            now[0] += 100.0
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    watch = watched({"headers": []}, receive, send, seen, now)
    await watch.receive()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.receive)  # as a streaming response does
        await anyio.wait_all_tasks_blocked()
        now[0] = 1.0
        await watch.send(START)
        assert asked == [0.0, 0.0]
        leaves.set()
    await watch.send(LAST)
    assert (seen[0].receiving, seen[0].ended) == (0.0, "complete")


BODY = "http.response.body"
TRAILERS = "http.response.trailers"


@pytest.mark.parametrize(
    ("rest", "trailers", "at"),
    [
        ([{"type": BODY}], False, 1),
        ([{"type": BODY, "more_body": True}, {"type": BODY}], False, 2),
        ([{"type": BODY}, {"type": TRAILERS}], True, 2),
        ([{"type": TRAILERS, "more_trailers": True}, {"type": TRAILERS}], True, 2),
        ([{"type": "http.response.zerocopysend", "file": 3}], False, 1),
        ([{"type": "http.response.pathsend", "path": "/a"}], False, 1),
        ([{"type": "http.response.early_hint", "links": []}, {"type": BODY}], False, 2),
    ],
)
async def test_an_answer_is_told_of_when_it_is_whole(
    rest: list[Message], trailers: bool, at: int
) -> None:
    seen: list[RequestServed] = []
    sent: list[Message] = []
    now = [0.0]

    async def send(message: Message) -> None:
        assert seen == []
        sent.append(message)

    nothing: Any = None
    watch = watched({"headers": []}, nothing, send, seen, now)
    await watch.send({**START, "trailers": trailers})
    for message in rest:
        await watch.send(message)
        assert len(seen) == (len(sent) == at + 1)
    assert seen[0].ended == "complete"


async def test_hints_are_no_answer_yet() -> None:
    seen: list[RequestServed] = []
    now = [0.0]

    async def send(message: Message) -> None:
        now[0] += 0.01

    nothing: Any = None
    watch = watched({"headers": []}, nothing, send, seen, now)
    await watch.send({"type": "http.response.early_hint", "links": []})
    await watch.send(START)
    await watch.send(LAST)
    assert seen[0].first_byte == 0.02


async def test_who_leaves_after_the_answer_has_not_left() -> None:
    seen: list[RequestServed] = []

    async def send(message: Message) -> None:
        pass

    watch = watched(
        {"headers": []}, lambda: left_by("http.disconnect"), send, seen, [0.0]
    )
    await watch.send(START)
    await watch.send(LAST)
    await watch.receive()
    watch.over()
    assert [served.ended for served in seen] == ["complete"]


async def test_a_slow_request_says_what_it_waited_for() -> None:
    seen: list[RequestServed] = []
    now = [10.0]

    async def receive() -> Message:
        if now[0] > 10.0:
            await anyio.sleep_forever()  # there is no more, and nobody leaves
        now[0] += 2.0
        return {"type": "http.request", "body": b"ab", "more_body": False}

    async def send(message: Message) -> None:
        now[0] += 0.5

    watch = watched({"headers": []}, receive, send, seen, now)
    await watch.receive()
    now[0] += 1.0
    await watch.send(START)
    now[0] += 4.0
    await watch.send(LAST)
    (served,) = seen
    assert served.duration == 8.0
    assert served.first_byte == 7.5
    assert (served.receiving, served.sending, served.handling) == (2.0, 1.0, 5.0)
    assert (served.request_bytes, served.response_bytes) == (2, 3)


async def test_a_slow_request_is_a_warning(log: Caught) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["server_kit"].queued = 0.25
        await raw_app(scope, receive, send)

    await ask(logged(app, slow=0), "/ok")
    line = log.line
    assert (line.levelno, line.queued) == (logging.WARNING, 0.25)
    assert line.handling == 0  # and never less, where waits overlap
    assert {"first_byte", "receiving", "sending", "handling"} <= vars(line).keys()
    log.records.clear()
    await ask(logged(app, slow=60), "/ok")
    assert log.line.levelno == logging.INFO
    assert not hasattr(log.line, "queued")


async def test_a_handler_that_raises_fails_no_request(
    log: Caught, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    broken = Broken()
    logger = logging.getLogger("server_kit.access")
    logger.addHandler(broken)
    try:
        app = logged(raw_app)
        for _ in range(3):
            assert (await ask(app, "/ok")).status_code == 200
    finally:
        logger.removeHandler(broken)
    failures = [r for r in caplog.records if "not logged again" in r.getMessage()]
    assert len(failures) == 1
    assert "disk full" in str(failures[0].exc_info)


async def test_a_listener_that_raises_fails_no_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[RequestServed] = []

    def broken(_: RequestServed) -> None:
        raise ValueError

    app = server_kit.wrap(raw_app, listeners=[broken, seen.append])
    for _ in range(2):
        assert (await ask(app, "/ok")).status_code == 200
    assert len(seen) == 2
    assert caplog.text.count("not logged again") == 1


async def test_routes_that_raise_fail_no_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["endpoint"] = scope["route_handler"] = object()
        await raw_app(scope, receive, send)

    wrapped = server_kit.wrap(app, listeners=[print])
    assert (await ask(wrapped, "/ok")).status_code == 200
    assert caplog.text.count("not logged again") == 1


async def test_nobody_is_asked_what_nobody_reads(log: Caught) -> None:
    logging.getLogger("server_kit.access").setLevel(logging.WARNING)
    await ask(logged(raw_app), "/ok")
    assert log.records == []


async def test_structlog_gets_the_fields() -> None:
    events: list[MutableMapping[str, Any]] = []

    def catch(_: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        events.append({**event, "level": method})
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[catch])
    try:
        await ask(logged(raw_app, structlog=True), "/ok", headers=KNOWN)
        await ask(logged(raw_app, structlog=True), "/crash")
    finally:
        structlog.configure(**before)
    fine, crash = events
    assert (fine["event"], fine["level"]) == ("GET /ok 200", "info")
    assert (fine["request_id"], fine["status"]) == ("r-1", 200)
    assert crash["level"] == "error"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("slow", -1, ValueError),
        ("slow", float("nan"), ValueError),
        ("slow", "1s", TypeError),
        ("slow", True, TypeError),
        ("bodies", -1, ValueError),
        ("bodies", True, TypeError),
        ("bodies", 1.5, TypeError),
        ("headers", 1, TypeError),
        ("query", None, TypeError),
        ("mask_emails", "no", TypeError),
        ("structlog", "yes", TypeError),
        ("exclude", {"/x"}, TypeError),
        ("secret", "password", TypeError),
        ("secret", frozenset({""}), TypeError),
        ("shown", frozenset({1}), TypeError),
    ],
)
def test_a_setting_that_cannot_be_is_named_and_shown(
    name: str, value: object, error: type[Exception]
) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(error, match=f"{name} must .*, got"):
        AccessLog(**options)
