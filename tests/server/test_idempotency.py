"""A request with a key is served once, and repeats are given what it was given."""

from collections import Counter
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

import server_kit
from resilient_http.problems import (
    IdempotencyKeyInProgressException,
    IdempotencyKeyReusedException,
    RateLimitException,
)
from server_kit import Idempotency, RateLimiter, RateLimitMiddleware
from server_kit.asgi import Message, Receive, Scope, Send
from server_kit.exchange import exchange_of
from server_kit.idempotency.stores import StoreUnavailableError
from server_kit.idempotency.stores.in_memory import MemoryStore
from server_kit.problems import send_problem
from tests.server.apps import APPS, AnyApp, ask, serve
from tests.server.orders import KEY, Orders, give, is_replay, part, post, shop

OTHER_KEY = '"another"'
LINK = '<https://shop.example/docs/keys>; rel="describedby"'
DOCS: Any = {"docs_url": "https://shop.example/docs/keys"}


def type_of(answer: httpx.Response) -> str:
    kind: str = answer.json()["type"]
    return kind


@pytest.mark.case("IK-6", "IK-7")
async def test_a_repeat_is_answered_as_the_first_and_changes_nothing() -> None:
    orders = Orders()
    app = shop(orders)
    first, second = [await post(app) for _ in range(2)]
    assert (first.status_code, first.text, is_replay(first)) == (201, "order 1", False)
    assert (second.status_code, second.text) == (201, "order 1")
    assert is_replay(second)
    assert orders.placed == [b"one of A1"]


@pytest.mark.case("IK-7")
async def test_another_key_is_another_request() -> None:
    orders = Orders()
    app = shop(orders)
    for key in (KEY, OTHER_KEY, None, None):
        assert not is_replay(await post(app, key=key))
    assert len(orders.placed) == 4


@pytest.mark.case("IK-2")
async def test_parameters_do_not_tell_keys_apart() -> None:
    app = shop(Orders())
    await post(app)
    assert is_replay(await post(app, key=f"{KEY};v=2"))


@pytest.mark.case("IK-6")
@pytest.mark.parametrize("status", [200, 302, 400, 404, 409, 422, 500, 502, 504])
async def test_what_the_handler_answers_is_kept_error_or_not(status: int) -> None:
    orders = Orders(status=status)
    app = shop(orders)
    first, second = [await post(app) for _ in range(2)]
    assert first.status_code == second.status_code == status
    assert first.content == second.content
    assert (len(orders.placed), is_replay(second)) == (1, True)


@pytest.mark.case("IK-6", "S60")
@pytest.mark.parametrize("name", ["fastapi", "starlette", "litestar", "raw"])
@pytest.mark.parametrize("path", ["/crash", "/problem", "/received", "/status/403"])
async def test_what_the_handler_raises_is_an_answer_too(name: str, path: str) -> None:
    app = shop(APPS[name](), methods=frozenset({"GET"}))
    first, second = [await post(app, path, method="GET", content=b"") for _ in range(2)]
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert is_replay(second)


@pytest.mark.case("IK-4", "IK-17", "R35")
@pytest.mark.parametrize(
    "other",
    [
        {"content": b"two of A1"},
        {"path": "/orders/7"},
        {"path": "/orders?dry=1"},
        {"method": "PATCH"},
        {"headers": {"Content-Type": "application/json"}},
    ],
)
async def test_a_key_cannot_be_used_for_something_else(other: dict[str, Any]) -> None:
    orders = Orders()
    app = shop(orders, **DOCS)
    await post(app)
    refused = await post(app, **other)
    assert (refused.status_code, type_of(refused)) == (422, "idempotency-key-reused")
    assert refused.headers["link"] == LINK
    assert len(orders.placed) == 1
    assert is_replay(await post(app))


@pytest.mark.case("IK-17")
async def test_headers_and_their_order_do_not_tell_requests_apart() -> None:
    app = shop(Orders())
    await post(app, headers={"Accept": "*/*", "X-A": "1", "Content-Type": "a/b"})
    again = {"Content-Type": "a/b", "X-B": "2", "User-Agent": "other"}
    assert is_replay(await post(app, headers=again))


@pytest.mark.case("IK-10", "R35")
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_no_caller_is_given_the_answer_of_another(header: str) -> None:
    orders = Orders()
    app = shop(orders)
    for whose in ("Bearer a", "Bearer b"):
        assert not is_replay(await post(app, headers={header: whose}))
    assert not is_replay(await post(app))
    assert len(orders.placed) == 3
    assert is_replay(await post(app, headers={header: "Bearer b"}))


@pytest.mark.case("IK-10")
async def test_callers_without_credentials_are_told_apart_by_address() -> None:
    orders = Orders()
    app = shop(orders)
    asked: dict[str, Any] = {"method": "POST"}
    asked["headers"] = [(b"idempotency-key", KEY.encode())]
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        await serve(app, "/", client=(address, 5), **asked)
    assert len(orders.placed) == 2


@pytest.mark.case("IK-10")
async def test_who_a_caller_is_can_be_said() -> None:
    def user(request: Request) -> str:
        return request.headers["x-user"]

    orders = Orders()
    app = shop(orders, caller=user)
    for token in ("old", "new"):
        await post(app, headers={"Authorization": token, "X-User": "ann"})
    await post(app, headers={"Authorization": "new", "X-User": "bob"})
    assert len(orders.placed) == 2


async def test_a_caller_that_is_no_name_is_a_crash() -> None:
    orders = Orders()
    app = shop(orders, caller=lambda request: None)
    assert (await post(app)).status_code == 500
    assert orders.placed == []


@pytest.mark.case("IK-10")
async def test_keys_can_be_kept_apart_by_route() -> None:
    orders = Orders()
    app = shop(orders, scope="route")
    for path, method in [("/a", "POST"), ("/b", "POST"), ("/b", "PATCH")]:
        assert not is_replay(await post(app, path, method=method))
    assert (await post(app, "/a?x=1")).status_code == 422
    assert len(orders.placed) == 3


@pytest.mark.case("IK-3")
async def test_a_request_that_needs_a_key_is_refused_without_one() -> None:
    orders = Orders()
    app = shop(orders, required=["/orders"], **DOCS)
    refused = await post(app, key=None)
    assert (refused.status_code, type_of(refused)) == (400, "idempotency-key-missing")
    assert refused.headers["link"] == LINK
    assert orders.placed == []
    assert (await post(app, "/carts", key=None)).status_code == 201
    assert (await ask(app, "/orders")).status_code == 201


@pytest.mark.case("IK-9", "R35")
@pytest.mark.parametrize("key", ["abc", "", '"a"b', f'"{"k" * 2**20}"', '"a\x00b"'])
async def test_a_malformed_key_is_refused(key: str) -> None:
    orders = Orders()
    refused = await post(shop(orders, **DOCS), key=key)
    assert (refused.status_code, type_of(refused)) == (400, "bad-request")
    assert refused.headers["link"] == LINK
    assert orders.placed == []


@pytest.mark.case("R35")
async def test_two_keys_are_refused() -> None:
    app = shop(Orders())
    refused = await post(app, headers={"idempotency-key": KEY})
    assert refused.status_code == 400
    assert "more than one" in refused.json()["detail"]


@pytest.mark.case("IK-1")
async def test_keys_without_quotes_can_be_allowed() -> None:
    app = shop(Orders(), lenient=True)
    await post(app, key="abc")
    assert is_replay(await post(app, key='"abc"'))


@pytest.mark.case("IK-11")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_other_methods_need_no_key_and_may_send_any(method: str) -> None:
    orders = Orders()
    app = shop(orders, required=True)
    for key in (None, KEY, KEY, "no key"):
        answer = await post(app, key=key, method=method)
        assert (answer.status_code, is_replay(answer)) == (201, False)
    assert len(orders.placed) == 4


@pytest.mark.case("IK-14")
async def test_a_replay_has_the_headers_that_are_still_true() -> None:
    kept = [(b"etag", b'"v1"'), (b"x-own", b"a"), (b"x-own", b"b")]
    once = [(b"set-cookie", b"s=1"), (b"date", b"now"), (b"x-request-id", b"r-1")]
    app = shop(Orders(headers=[*kept, *once]))
    first, second = [await post(app, headers={"X-Request-ID": "r-2"}) for _ in "12"]
    assert first.headers["set-cookie"] == "s=1"
    assert second.headers["location"] == "/orders/1"
    assert second.headers["content-type"] == "text/plain"
    assert second.headers["etag"] == '"v1"'
    assert second.headers.get_list("x-own") == ["a", "b"]
    assert second.headers["x-request-id"] == "r-2"
    assert second.headers["x-frame-options"] == "DENY"
    assert not {"set-cookie", "date"} & {*second.headers}


class Gate:
    """Holds the first that comes until it is opened."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.opened = anyio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.opened.wait()


@pytest.mark.case("IK-5", "IK-12")
async def test_while_the_first_is_served_a_repeat_is_told_to_come_back() -> None:
    gate = Gate()
    orders = Orders(before=gate)
    app = shop(orders)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, app)
        await gate.reached.wait()
        refused = await post(app)
        reused = await post(app, content=b"two of A1")
        gate.opened.set()
    assert type_of(refused) == "idempotency-key-in-progress"
    assert (refused.status_code, refused.headers["retry-after"]) == (409, "1")
    assert reused.status_code == 422
    assert "retry-after" not in reused.headers
    assert is_replay(await post(app))
    assert len(orders.placed) == 1


@pytest.mark.case("IK-12")
def test_409_may_be_repeated_and_422_may_not() -> None:
    assert IdempotencyKeyInProgressException.retry == "same_key"
    assert IdempotencyKeyInProgressException.work_not_started
    assert IdempotencyKeyReusedException.retry == "never"


@pytest.mark.case("IK-16")
@pytest.mark.parametrize("wait", [0, 20])
async def test_of_a_hundred_at_once_one_is_served(wait: float) -> None:
    answers: list[httpx.Response] = []
    all_came = anyio.Event()

    async def send_one() -> None:
        answers.append(await post(app))
        if len(answers) == 99:
            all_came.set()

    async def until_the_others_were_answered() -> None:
        if wait == 0:
            await all_came.wait()

    orders = Orders(before=until_the_others_were_answered)
    app = shop(orders, wait=wait)
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(send_one)
    seen = Counter((answer.status_code, is_replay(answer)) for answer in answers)
    others = (201, True) if wait else (409, False)
    assert seen == {(201, False): 1, others: 99}
    assert len(orders.placed) == 1


async def test_who_waits_takes_over_what_was_released() -> None:
    gate = Gate()
    orders = Orders(status=503, before=gate)
    app = shop(orders, wait=20)
    answers: list[int] = []

    async def send_one() -> None:
        answers.append((await post(app)).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_one)
        await gate.reached.wait()
        tasks.start_soon(send_one)
        gate.opened.set()
    assert answers == [503, 503]
    assert len(orders.placed) == 2


async def test_who_has_waited_long_enough_is_told_to_come_back() -> None:
    gate = Gate()
    app = shop(Orders(before=gate), wait=0.05)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, app)
        await gate.reached.wait()
        assert (await post(app)).status_code == 409
        gate.opened.set()


@pytest.mark.case("IK-15")
@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_status_that_says_that_nothing_was_done_is_not_kept(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    orders = Orders(status=status)
    app = shop(orders)
    assert (await post(app)).status_code == status
    orders.status = 201
    answer = await post(app)
    assert (answer.status_code, is_replay(answer)) == (201, False)
    assert is_replay(await post(app))
    assert caplog.messages == []


@pytest.mark.case("IK-15")
async def test_such_a_status_is_not_kept_where_it_is_streamed() -> None:
    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        async def parts() -> Any:
            yield b"busy"

        await StreamingResponse(parts(), 503)(scope, receive, send)

    app = shop(busy)
    assert [(await post(app)).status_code for _ in "12"] == [503, 503]


async def test_a_problem_that_did_not_become_the_answer_says_nothing_of_it() -> None:
    async def nowhere(message: Message) -> None:
        """Drop it."""

    async def recovers(scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(RateLimitException(), scope, nowhere)
        await Orders()(scope, receive, send)

    app = shop(recovers)
    await post(app)
    assert is_replay(await post(app))


@pytest.mark.case("IK-15")
async def test_a_refusal_of_a_middleware_is_not_kept() -> None:
    orders = Orders()
    limit: Any = {"limiter": RateLimiter(), "default_limit": 1}
    inner = Starlette(middleware=[Middleware(RateLimitMiddleware, **limit)])
    inner.mount("/", orders)
    app = shop(inner)
    await post(app, key=OTHER_KEY)
    assert (await post(app)).status_code == 429
    assert (await post(app)).status_code == 429
    assert len(orders.placed) == 1


@pytest.mark.case("IK-15")
@pytest.mark.parametrize("is_mounted", [False, True])
async def test_a_problem_that_says_so_is_not_kept_whatever_its_status(
    is_mounted: bool,
) -> None:
    class Early(RateLimitException):
        type = "early"
        status = 418

    tried: list[bool] = []

    async def refuse(request: Request) -> JSONResponse:
        tried.append(True)
        raise Early("come back later")

    inner = Starlette(routes=[Route("/", refuse, methods=["POST"])])
    mounted = Starlette(routes=[Mount("/", server_kit.wrap(inner))])
    app = shop(mounted if is_mounted else inner)
    assert [(await post(app, "/")).status_code for _ in "12"] == [418, 418]
    assert len(tried) == 2


@pytest.mark.case("S60")
@pytest.mark.parametrize("name", ["fastapi", "starlette", "litestar", "raw"])
async def test_a_failure_can_release_the_key(name: str) -> None:
    given: dict[str, Any] = {"methods": frozenset({"GET"}), "on_failure": "release"}
    app = shop(APPS[name](), **given)
    for path in ("/crash", "/received", "/status/500"):
        answers = [await post(app, path, method="GET", content=b"") for _ in "12"]
        assert {answer.status_code for answer in answers} <= {500, 503}
        assert not any(map(is_replay, answers))


@pytest.mark.case("S60")
@pytest.mark.parametrize(("on_failure", "runs"), [("record", 1), ("release", 2)])
async def test_who_says_nothing_has_failed(on_failure: str, runs: int) -> None:
    ran: list[bool] = []

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        ran.append(True)

    app = shop(silent, on_failure=on_failure)
    asked: dict[str, Any] = {"headers": [(b"idempotency-key", KEY.encode())]}
    first, second = [await serve(app, "/", method="POST", **asked) for _ in "12"]
    assert first.sent == []
    assert len(ran) == runs
    if on_failure == "record":
        assert second.sent[0]["status"] == 500


@pytest.mark.case("S60", "R28")
@pytest.mark.parametrize(("on_failure", "runs"), [("record", 1), ("release", 2)])
async def test_a_handler_that_is_cancelled_has_failed(
    on_failure: str, runs: int
) -> None:
    gate = Gate()
    orders = Orders(before=gate)
    app = shop(orders, on_failure=on_failure)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, app)
        await gate.reached.wait()
        tasks.cancel_scope.cancel()
    gate.opened.set()
    answer = await post(app)
    assert len(orders.placed) == runs
    assert answer.status_code == (201 if on_failure == "release" else 504)


@pytest.mark.case("S51", "R28")
@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_client_did_not_wait_for_is_there_when_it_asks_again(
    fails: bool,
) -> None:
    gate = Gate()
    orders = Orders(before=gate)
    app = shop(orders)

    async def one_that_leaves() -> None:
        try:
            await give(app, part(b"one of A1"), fails=fails)
        except OSError:
            assert fails

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one_that_leaves)
        await gate.reached.wait()
        assert (await post(app)).status_code == 409  # it is being served all the same
        gate.opened.set()
    answer = await post(app)
    assert (answer.text, is_replay(answer), len(orders.placed)) == ("order 1", True, 1)


async def test_a_request_that_breaks_off_is_not_begun() -> None:
    orders = Orders()
    app = shop(orders)
    assert await give(app, part(b"one of", more=True)) == []
    assert orders.placed == []
    assert not is_replay(await post(app))


async def test_the_app_receives_what_was_sent_piece_by_piece() -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.extend([await receive() for _ in range(4)])

    pieces = [part(b"one ", more=True), part(b"of ", more=True), part(b"A1")]
    await give(shop(app), *pieces)
    assert received == [*pieces, {"type": "http.disconnect"}]


async def test_a_request_that_is_too_long_for_a_key_is_refused() -> None:
    orders = Orders()
    app = shop(orders, max_request_bytes=9)
    assert (await post(app)).status_code == 201
    sent = await give(app, part(b"one of ", more=True), part(b"A12"))
    assert sent[0]["status"] == 413
    assert (await post(app, key=None, content=b"one of A12")).status_code == 201
    assert len(orders.placed) == 2


async def test_a_request_that_says_how_long_it_is_need_not_be_read() -> None:
    app = shop(Orders(), max_request_bytes=9)
    sent = await give(app, headers=[(b"content-length", b"10")])
    assert sent[0]["status"] == 413


async def test_what_comes_before_an_answer_passes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.debug", "info": {}})
        await Orders()(scope, receive, send)

    wrapped = shop(app)
    first, second = [await give(wrapped, part(b"one of A1")) for _ in "12"]
    begun, ended = "http.response.start", "http.response.body"
    assert [it["type"] for it in first] == ["http.response.debug", begun, ended]
    assert [it["type"] for it in second] == [begun, ended]


async def drip(scope: Scope, receive: Receive, send: Send) -> None:
    async def parts() -> Any:
        yield b"one"
        yield b"two"

    await StreamingResponse(parts())(scope, receive, send)


@pytest.mark.case("R35")
async def test_a_stream_is_not_held_and_says_that_it_is_not_kept() -> None:
    gate = Gate()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        async def parts() -> Any:
            yield b"one"
            await gate()
            yield b"two"

        await StreamingResponse(parts())(scope, receive, send)

    app = shop(slow)
    sent: list[Message] = []

    async def one() -> None:
        asked: dict[str, Any] = {"headers": [(b"idempotency-key", KEY.encode())]}
        served = await serve(app, "/orders", method="POST", **asked)
        sent.extend(served.sent)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await gate.reached.wait()
        gate.opened.set()
    assert (b"idempotent-replayable", b"false") in sent[0]["headers"]
    assert b"".join(message["body"] for message in sent[1:]) == b"onetwo"
    assert [message["body"] for message in sent[1:3]] == [b"one", b"two"]


@pytest.mark.case("R35")
@pytest.mark.parametrize("inner", [drip, Orders()], ids=["stream", "long"])
async def test_what_was_served_and_not_kept_is_not_served_again(inner: AnyApp) -> None:
    app = shop(inner, max_response_bytes=6, **DOCS)
    first, second = [await post(app) for _ in "12"]
    assert first.headers["idempotent-replayable"] == "false"
    assert (second.status_code, type_of(second)) == (409, "conflict")
    assert second.headers["link"] == LINK
    assert "retry-after" not in second.headers


async def test_an_answer_in_pieces_of_a_known_length_is_kept() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"6")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for body, more in [(b"one", True), (b"two", True), (b"", False)]:
            message = {"type": "http.response.body", "body": body, "more_body": more}
            await send(message)

    wrapped = shop(app)
    first, second = [await post(wrapped) for _ in "12"]
    assert (first.content, second.content) == (b"onetwo", b"onetwo")
    assert is_replay(second)


@pytest.mark.parametrize(("on_failure", "again"), [("record", 409), ("release", 200)])
async def test_a_stream_that_breaks_off_has_failed(on_failure: str, again: int) -> None:
    breaks = [True]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def parts() -> Any:
            yield b"one"
            if breaks.pop():
                raise RuntimeError

        await StreamingResponse(parts())(scope, receive, send)

    wrapped = shop(app, on_failure=on_failure)
    await post(wrapped)
    breaks.append(False)
    assert (await post(wrapped)).status_code == again


async def test_a_file_sent_by_its_path_is_not_kept() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/a"})

    asked: dict[str, Any] = {"headers": [(b"idempotency-key", KEY.encode())]}
    wrapped = shop(app)
    first, second = [await serve(wrapped, "/", method="POST", **asked) for _ in "12"]
    assert first.kinds == ["http.response.start", "http.response.pathsend"]
    assert second.sent[0]["status"] == 409


class Renewed(MemoryStore):
    """A store in memory that notes renewals, and may have lost what was claimed."""

    def __init__(self, settings: Idempotency) -> None:
        super().__init__(settings)
        self.renewals = 0
        self.twice = anyio.Event()
        self.has_lost = False

    async def renew(self, claim: Any) -> bool:
        self.renewals += 1
        if self.renewals == 1:
            raise StoreUnavailableError
        if self.renewals >= 2:
            self.twice.set()
        return not self.has_lost and await super().renew(claim)

    async def settle(self, claim: Any, answer: Any) -> bool:
        return not self.has_lost and await super().settle(claim, answer)


async def test_a_claim_is_renewed_while_the_handler_runs_even_if_that_fails() -> None:
    store = Renewed(Idempotency(lease=0.06))
    orders = Orders(before=store.twice.wait)
    app = shop(orders, kept_in=store, lease=0.06)
    with anyio.fail_after(20):
        await post(app)
    assert is_replay(await post(app))
    assert len(orders.placed) == 1


async def test_an_answer_whose_claim_is_lost_is_sent_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Renewed(Idempotency())
    store.has_lost = True
    answer = await post(shop(Orders(), kept_in=store))
    assert (answer.text, answer.headers["idempotent-replayable"]) == (
        "order 1",
        "false",
    )
    assert "outlived its claim" in caplog.text


async def test_where_memory_is_full_of_claims_nothing_is_begun(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    orders = Orders(before=gate)
    app = shop(orders, max_entries=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, app)
        await gate.reached.wait()
        refused = [await post(app, key=f'"{number}"') for number in range(3)]
        gate.opened.set()
    assert {(it.status_code, it.headers["retry-after"]) for it in refused} == {
        (503, "1")
    }
    assert len(orders.placed) == 1
    assert len(caplog.records) == 1
    assert (await post(app, key=OTHER_KEY)).status_code == 201


@pytest.mark.case("S54")
async def test_a_key_is_claimed_once_where_wrapped_apps_are_mounted() -> None:
    orders = Orders()
    inner = server_kit.wrap(orders, idempotency=Idempotency(scope="route"))
    outer = Starlette(routes=[Mount("/shop", inner)])
    app = server_kit.wrap(outer, idempotency=Idempotency())
    first, second = [await post(app, "/shop/orders") for _ in "12"]
    assert (first.text, second.text, is_replay(second)) == ("order 1", "order 1", True)
    assert first.headers.get_list("idempotent-replayed") == []
    assert second.headers.get_list("idempotent-replayed") == ["true"]


@pytest.mark.case("S54")
async def test_where_wrapped_apps_are_mounted_the_outer_one_decides() -> None:
    orders = Orders()
    inner = server_kit.wrap(orders, idempotency=Idempotency())
    outer = Idempotency(unrecorded=frozenset({201}))
    app = server_kit.wrap(Starlette(routes=[Mount("/", inner)]), idempotency=outer)
    assert not any([is_replay(await post(app)) for _ in "12"])
    assert len(orders.placed) == 2


async def test_a_mounted_app_honours_keys_that_the_outer_one_does_not() -> None:
    inner = shop(Orders(), required=["/orders"])
    app = server_kit.wrap(Starlette(routes=[Mount("/shop", inner)]))
    assert (await post(app, "/shop/orders", key=None)).status_code == 400
    assert not is_replay(await post(app, "/shop/orders"))
    assert is_replay(await post(app, "/shop/orders"))


async def test_the_exchange_tells_what_became_of_the_key() -> None:
    seen: list[Any] = []

    async def watch(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        assert exchange is not None
        seen.append(exchange)
        await Orders()(scope, receive, send)

    app = shop(watch)
    for key in (KEY, None):
        await post(app, key=key)
    assert [exchange.idempotency for exchange in seen] == ["claimed", None]


async def test_what_is_not_http_passes() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    for kind in ("websocket", "lifespan"):
        scope = {
            "type": kind,
            "path": "/",
            "headers": [(b"idempotency-key", b"no key")],
        }
        await shop(app, required=True)(scope, nothing, nothing)
    assert seen == ["websocket", "lifespan"]


async def test_work_after_the_answer_is_not_part_of_it() -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("done")(scope, receive, send)
        await gate()

    wrapped = shop(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, wrapped)
        await gate.reached.wait()
        assert is_replay(await post(wrapped))
        gate.opened.set()
