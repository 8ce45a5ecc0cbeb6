"""Every error leaves as a problem document, whatever framework it was raised in."""

import json
from typing import Any, cast

import anyio
import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

import server_kit
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    BadRequestException,
    CircuitBreakerOpenException,
    ConcurrencyLimitException,
    Contract,
    DeadlineExceededException,
    IdempotencyKeyInProgressException,
    NotFoundException,
    RateLimitException,
    ServiceUnavailableException,
    ValidationError,
    ValidationException,
)
from server_kit.asgi import ASGIApp, Receive, Scope, Send
from server_kit.problems import send_problem
from tests.server.apps import (
    APPS,
    SECRET,
    SHOP,
    OutOfStock,
    ask,
    ask_wrapped,
    fastapi_app,
    litestar_app,
    serve,
    starlette_app,
)

CASES = [
    ("/problem", 409, "https://shop.example/problems/out-of-stock"),
    ("/group", 409, "https://shop.example/problems/out-of-stock"),
    ("/groups", 500, "internal-server-error"),
    ("/crash", 500, "internal-server-error"),
    ("/received", 503, "upstream-error"),
    ("/login", 401, "unauthorized"),
    ("/status/404", 404, "not-found"),
    ("/status/418", 418, "about:blank"),
    ("/status/499", 499, "about:blank"),
    ("/status/599", 599, "about:blank"),
    ("/status/799", 799, "about:blank"),
    ("/nowhere", 404, "not-found"),
]

every_app = pytest.mark.parametrize("name", APPS)


@pytest.mark.case("9457-1", "9457-2", "S46", "S57")
@pytest.mark.parametrize(("path", "status", "kind"), CASES)
@every_app
async def test_every_error_is_a_problem(
    name: str, path: str, status: int, kind: str
) -> None:
    answer = await ask_wrapped(APPS[name](), path)
    body = answer.json()
    assert answer.status_code == body["status"] == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert body["type"] == kind
    assert body["instance"] == path
    assert body["request_id"] == answer.headers["x-request-id"]


@every_app
async def test_a_problem_of_the_contract_has_its_members(name: str) -> None:
    answer = await ask_wrapped(APPS[name](), "/problem")
    body = answer.json()
    del body["request_id"]
    assert body == {
        "type": "https://shop.example/problems/out-of-stock",
        "title": "Out of stock",
        "status": 409,
        "detail": "Only 2 left",
        "instance": "/problem",
        "sku": "A1",
        "available": 2,
    }


@every_app
async def test_a_frameworks_exception_keeps_its_detail_and_headers(name: str) -> None:
    app = APPS[name]()
    refused = await ask_wrapped(app, "/login")
    assert refused.headers["www-authenticate"] == "Bearer"
    forbidden = await ask_wrapped(app, "/status/403")
    assert forbidden.json()["detail"] == "as said"
    assert forbidden.headers["x-why"] == "so"


@pytest.mark.parametrize("name", ["fastapi", "starlette", "litestar"])
async def test_a_method_not_allowed_says_which_are(name: str) -> None:
    answer = await ask_wrapped(APPS[name](), "/ok", "POST")
    assert (answer.status_code, answer.json()["title"]) == (405, "Method Not Allowed")
    assert "GET" in answer.headers["allow"]


@pytest.mark.case("S40", "9457-32")
@pytest.mark.parametrize("status", [204, 205, 304, 307])
@every_app
async def test_what_is_no_error_has_no_body(name: str, status: int) -> None:
    answer = await ask_wrapped(APPS[name](), f"/status/{status}")
    assert answer.status_code == status
    assert answer.content == b""
    assert "content-type" not in answer.headers
    assert answer.headers["x-why"] == "so"
    length = {205: "0", 307: "0"}.get(status)
    assert answer.headers.get("content-length") == length


@pytest.mark.case("9457-26", "R31")
@pytest.mark.parametrize("path", ["/crash", "/groups", "/received"])
@every_app
async def test_a_crash_tells_nothing_about_itself(name: str, path: str) -> None:
    answer = await ask_wrapped(APPS[name](), path)
    assert answer.status_code == (503 if path == "/received" else 500)
    assert answer.headers["content-type"] == MEDIA_TYPE
    seen = answer.content + b"".join(b"".join(pair) for pair in answer.headers.raw)
    for leak in ("s3cr3t", "/srv/app", "SELECT", "Error(", "Traceback"):
        assert leak.encode() not in seen
    assert SECRET.encode() not in seen


@pytest.mark.case("9457-26")
@pytest.mark.parametrize("make", [fastapi_app, starlette_app, litestar_app])
async def test_the_debug_mode_of_a_framework_is_not_the_kits(make: Any) -> None:
    answer = await ask_wrapped(make(debug=True), "/crash")
    assert answer.json()["type"] == "internal-server-error"
    assert SECRET not in answer.text


@every_app
async def test_in_debug_a_crash_tells_what_it_was(name: str) -> None:
    answer = await ask(server_kit.wrap(APPS[name](), debug=True), "/crash")
    body = answer.json()
    assert answer.status_code == body["status"] == 500
    assert body["detail"] == f"RuntimeError: {SECRET}"
    assert "".join(body["traceback"]).startswith("Traceback")


@pytest.mark.case("R31")
@every_app
async def test_a_group_reaches_the_server_as_it_was_raised(name: str) -> None:
    served = await serve(server_kit.wrap(APPS[name](), contract=SHOP), "/groups")
    assert isinstance(served.error, ExceptionGroup)
    assert [type(e) for e in served.error.exceptions] == [OutOfStock, ValueError]


@pytest.mark.case("S38")
@every_app
async def test_the_server_hears_of_a_crash_and_of_nothing_else(name: str) -> None:
    app = server_kit.wrap(APPS[name](), contract=SHOP)
    crash = await serve(app, "/crash")
    assert isinstance(crash.error, RuntimeError)
    assert crash.kinds == ["http.response.start", "http.response.body"]
    for path in ("/problem", "/group", "/login", "/received", "/status/503"):
        assert (await serve(app, path)).error is None


@every_app
async def test_the_connection_that_a_crash_ends_is_not_offered_again(name: str) -> None:
    app = server_kit.wrap(APPS[name]())
    for path, version, said in [
        ("/crash", "1.1", [b"close"]),
        ("/crash", "2", []),
        ("/problem", "1.1", []),
    ]:
        served = await serve(app, path, http_version=version)
        headers = served.sent[0]["headers"]
        assert [value for key, value in headers if key == b"connection"] == said


@pytest.mark.case("9457-32", "S41")
@pytest.mark.parametrize("name", ["starlette", "raw"])
async def test_the_problem_of_a_head_request_has_headers_only(name: str) -> None:
    app = server_kit.wrap(APPS[name]())
    known = [(b"x-request-id", b"r1")]
    full = await serve(app, "/problem", headers=known)
    head = await serve(app, "/problem", method="HEAD", headers=known)
    assert head.sent[0] == full.sent[0]
    assert head.sent[1]["body"] == b""
    lengths = dict(head.sent[0]["headers"])[b"content-length"]
    assert int(lengths) == len(full.sent[1]["body"])


@pytest.mark.case("S41", "9457-32")
async def test_head_on_a_route_without_it_is_a_problem_without_a_body() -> None:
    answer = await serve(server_kit.wrap(APPS["fastapi"]()), "/ok", method="HEAD")
    assert answer.sent[0]["status"] == 405
    assert dict(answer.sent[0]["headers"])[b"content-type"] == MEDIA_TYPE.encode()
    assert int(dict(answer.sent[0]["headers"])[b"content-length"]) > 100
    assert answer.sent[1]["body"] == b""


def raising(error: Exception) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return server_kit.wrap(app)


def from_elsewhere(error: AppException, *, answered: bool = True) -> AppException:
    error.received = True
    error.response = object() if answered else None  # type: ignore[assignment]  # asked only for its presence
    return error


@pytest.mark.parametrize(
    ("error", "status", "upstream", "wait"),
    [
        (from_elsewhere(NotFoundException("42")), 502, 404, None),
        (from_elsewhere(RateLimitException(retry_after=9)), 502, 429, None),
        (from_elsewhere(ServiceUnavailableException(retry_after=9)), 503, 503, "9"),
        (
            from_elsewhere(RateLimitException(retry_after=9), answered=False),
            *(503, None, "9"),
        ),
        (
            from_elsewhere(CircuitBreakerOpenException(), answered=False),
            503,
            None,
            None,
        ),
        (from_elsewhere(ConcurrencyLimitException(), answered=False), 503, None, None),
        (from_elsewhere(DeadlineExceededException(), answered=False), 504, None, None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_problem_received_is_not_the_callers(
    error: AppException, status: int, upstream: int | None, wait: str | None
) -> None:
    answer = await ask(raising(error), "/")
    body = answer.json()
    assert answer.status_code == body["status"] == status
    assert body["type"] == "upstream-error"
    assert body["upstream_type"] == error.type
    assert body["upstream_status"] == upstream
    assert answer.headers.get("retry-after") == wait


async def test_what_was_kept_from_the_caller_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = from_elsewhere(NotFoundException("no such payment"))
    answer = await ask(raising(error), "/")
    assert "no such payment" not in answer.text
    assert "no such payment" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text


async def test_a_crash_is_logged_under_the_id_the_caller_was_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = await ask(raising(ValueError(SECRET)), "/a%20b")
    (record,) = [found for found in caplog.records if found.name == "server_kit"]
    known = answer.headers["x-request-id"]
    assert record.getMessage() == f"{known} GET /a%20b crashed: ValueError"
    assert vars(record)["request_id"] == known


async def test_a_detail_that_is_no_text_becomes_a_member() -> None:
    detail = {"code": "E7", "type": "mine"}
    error = HTTPException(400, detail=detail)  # type: ignore[arg-type]  # FastAPI allows it
    body = (await ask(raising(error), "/")).json()
    assert body["details"] == detail
    assert body["type"] == "bad-request"
    assert "detail" not in body


@pytest.mark.case("RA-1", "RA-2", "RA-7")
@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (RateLimitException(retry_after=59.2), "60"),
        (RateLimitException(retry_after=0), "1"),
        (ServiceUnavailableException(retry_after=0.1), "1"),
        (IdempotencyKeyInProgressException(retry_after=2), "2"),
        (BadRequestException(retry_after=5), None),
        (RateLimitException(), None),
        (RateLimitException(retry_after=5, headers={"Retry-After": "7"}), "7"),
    ],
    ids=str,
)
async def test_a_wait_is_a_header_where_it_means_something(
    error: AppException, wait: str | None
) -> None:
    answer = await ask(raising(error), "/")
    assert answer.headers.get_list("retry-after") == ([] if wait is None else [wait])


@pytest.mark.case("RA-8")
async def test_a_429_is_not_to_be_stored() -> None:
    for error in (RateLimitException(), HTTPException(429)):
        answer = await ask(raising(error), "/")
        assert answer.headers["cache-control"] == "no-store"
    answer = await ask(raising(ServiceUnavailableException(retry_after=1)), "/")
    assert "cache-control" not in answer.headers
    kept = RateLimitException(headers={"Cache-Control": "private"})
    answer = await ask(raising(kept), "/")
    assert answer.headers.get_list("cache-control") == ["private"]


@pytest.mark.case("RA-8")
@pytest.mark.parametrize("headers", [{}, {"Cache-Control": "private"}])
async def test_a_429_of_the_apps_own_is_not_to_be_stored(headers: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({"slow": "down"}, 429, headers)(scope, receive, send)

    answer = await ask(server_kit.wrap(app), "/")
    said = headers.get("Cache-Control", "no-store")
    assert answer.headers.get_list("cache-control") == [said]
    assert answer.json() == {"slow": "down"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Split", "a\r\nSet-Cookie: stolen=1"),
        ("X-Null", "a\0b"),
        ("X-Wide", "\u20ac"),
        ("X Space", "a"),
        ("X-\u20ac", "a"),
        ("", "a"),
        ("X-Line\nBreak", "a"),
    ],
)
async def test_a_header_that_http_does_not_allow_is_left_out(
    name: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {name: value, "X-Fine": " caf\u00e9\t"}
    answer = await serve(raising(HTTPException(400, "no", headers)))
    assert answer.error is None
    sent = dict(answer.sent[0]["headers"])
    assert sent[b"x-fine"] == "caf\u00e9".encode("latin-1")
    assert not [key for key in sent if key.startswith(b"x-") and b"split" in key]
    assert not {name.lower().encode(), b"set-cookie"} & sent.keys()
    assert b"\n" not in b"".join(sent) + b"".join(sent.values())
    assert repr(name.lower()) in caplog.text.lower()


@pytest.mark.case("9457-2")
async def test_the_length_and_type_of_the_body_are_ours_to_say() -> None:
    theirs: Any = {"Content-Length": "3", "content-type": "text/html", "X-Number": 5}
    error = BadRequestException(headers=theirs)
    answer = await ask(raising(error), "/")
    assert answer.headers.get_list("content-type") == [MEDIA_TYPE]
    assert answer.headers.get_list("content-length") == [str(len(answer.content))]
    assert answer.headers["x-number"] == "5"


class Broken(Contract):
    def document(self, *args: Any, **options: Any) -> dict[str, Any]:
        raise RuntimeError(SECRET)


@pytest.mark.case("9457-1", "9457-2", "9457-26")
async def test_a_problem_that_cannot_be_written_is_still_a_problem() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotFoundException("here")

    answer = await ask(server_kit.wrap(app, contract=Broken()), "/")
    assert answer.status_code == answer.json()["status"] == 500
    assert answer.json()["type"] == "internal-server-error"
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert SECRET not in answer.text


class Unreadable(HTTPException):
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        HTTPException(cast("int", None), SECRET),
        Unreadable(cast("int", "many")),
        RequestValidationError(cast("list[Any]", 5)),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_exception_that_stands_for_no_problem_is_a_crash(
    error: Exception, debug: bool
) -> None:
    served = await serve(server_kit.wrap(raising(error), debug=debug))
    assert served.sent[0]["status"] == 500
    assert served.error is error
    assert debug or SECRET.encode() not in served.sent[1]["body"]


@pytest.mark.case("S44")
async def test_errors_of_a_validation_of_ones_own_may_say_anything() -> None:
    odd = ValidationError(field="\ud800", message="m", type="t", value=float("nan"))
    answer = await ask(raising(ValidationException(errors=[odd])), "/")
    assert answer.status_code == answer.json()["status"] == 422
    assert len(answer.json()["errors"]) == 1
    changed: Any = ValidationException()
    changed.errors = ["what"]
    assert (await ask(raising(changed), "/")).json()["errors"] == ["what"]


async def test_the_path_of_an_instance_is_a_uri() -> None:
    body = (await ask(raising(NotFoundException()), "/caf%C3%A9/a b?q=secret")).json()
    assert body["instance"] == "/caf%C3%A9/a%20b"


async def test_a_path_that_is_no_text_is_written_all_the_same() -> None:
    served = await serve(raising(NotFoundException()), "/\udcff")
    assert json.loads(served.sent[1]["body"])["instance"] == "/%3F"


async def test_without_a_kit_a_problem_can_be_sent_all_the_same() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(RateLimitException("Slow down", retry_after=3), scope, send)

    answer = await ask(app, "/there", headers={"X-Request-ID": "r-1"})
    assert answer.headers["retry-after"] == "3"
    assert answer.json()["instance"] == "/there"
    assert answer.json()["request_id"] == "r-1"
    assert "request_id" not in (await ask(app, "/there")).json()


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.datetimes()
    | st.just(10**400)
    | st.builds(object)
    | st.just(float),
    lambda inner: (
        st.lists(inner)
        | st.sets(st.integers() | st.text())
        | st.dictionaries(st.text(st.characters(codec=None)), inner)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["type", "status", "detail", "request_id"]) | st.text(
    st.characters(codec=None)
)


@pytest.mark.case("9457-33", "9457-1", "9457-19", "S44")
@pytest.mark.property
@given(
    extra=st.dictionaries(NAMES, HOSTILE),
    detail=st.none() | st.text(st.characters(codec=None)),
    status=st.sampled_from([400, 404, 422, 499, 500, 799]),
)
def test_whatever_a_problem_says_it_is_valid_json(
    extra: dict[str, Any], detail: str | None, status: int
) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    async def visit() -> tuple[int, bytes]:
        error = BadRequestException(detail, extra=extra)
        vars(error)["status"] = status
        answer = await ask(raising(error), "/")
        return answer.status_code, answer.content

    answered, content = anyio.run(visit)
    body = json.loads(content.decode("utf-8"), parse_constant=refuse)
    assert answered == body["status"] == status
    assert body["type"] == "bad-request"
