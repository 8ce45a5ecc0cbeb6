"""What a response's headers look like after the security headers went over them."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware

from server_kit import SecurityHeaders, SecurityHeadersMiddleware, wrap
from server_kit.asgi import Message, RawHeaders, Receive, Scope, Send, local_path

BRIEF = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "x-xss-protection": "1; mode=block",
    "referrer-policy": "strict-origin-when-cross-origin",
    "x-permitted-cross-domain-policies": "none",
}
OURS = 8


def applied(
    headers: RawHeaders,
    security: SecurityHeaders | None = None,
    *,
    path: str = "/",
    is_tls: bool = True,
) -> RawHeaders:
    chosen = (SecurityHeaders() if security is None else security).for_path(path)
    return chosen.plan(path, 200, is_tls=is_tls).complete(headers, None)


def as_text(headers: RawHeaders) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in headers}


def directives(policy: str) -> dict[str, list[str]]:
    return {part.split()[0]: part.split()[1:] for part in policy.split(";")}


def sender(start: dict[str, Any]) -> Callable[..., Any]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, **start})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


async def start_of(app: Any, **scope: Any) -> Message:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    asked = {"type": "http", "scheme": "https", "path": "/", "headers": []}
    await app({**asked, **scope}, receive, send)
    return sent[0]


@pytest.mark.case("OW-4", "OW-11")
def test_the_briefs_headers_are_the_default() -> None:
    headers = applied([])
    assert len(headers) == OURS
    assert as_text(headers).items() >= BRIEF.items()
    content = as_text(headers)["content-security-policy"]
    assert content.startswith("default-src 'self'; script-src 'self' 'unsafe-inline'; ")
    permissions = as_text(headers)["permissions-policy"]
    assert permissions == "geolocation=(), microphone=(), camera=()"


async def test_the_briefs_request_for_headers_alone_is_given_them() -> None:
    app = wrap(FastAPI())

    @app.get("/api/v1/health")
    async def health() -> None: ...

    async with AsyncClient(transport=ASGITransport(app), base_url="https://t") as c:
        answer = await c.head("/api/v1/health")
    assert dict(answer.headers).items() >= BRIEF.items()
    assert "default-src 'self'; " in answer.headers["content-security-policy"]
    assert "camera=()" in answer.headers["permissions-policy"]


@pytest.mark.case("OW-2")
@pytest.mark.parametrize("profile", [SecurityHeaders(), SecurityHeaders.owasp()])
def test_hsts_alone_is_left_out_without_tls(profile: SecurityHeaders) -> None:
    sent = as_text(applied([], profile)).keys()
    missing = sent - as_text(applied([], profile, is_tls=False)).keys()
    assert missing == {"strict-transport-security"}


@pytest.mark.case("OW-2")
@pytest.mark.parametrize(
    ("https", "scheme", "said", "is_sent"),
    [
        ("scheme", "http", [], False),
        ("scheme", "https", [], True),
        ("scheme", "wss", [], True),
        ("scheme", "http", [b"https"], False),
        ("forwarded", "http", [], False),
        ("forwarded", "https", [b"http"], True),
        ("forwarded", "http", [b"https"], True),
        ("forwarded", "http", [b" HTTPS , http"], True),
        ("forwarded", "http", [b"https", b"http"], True),
        ("forwarded", "http", [b"http, https"], False),
        ("always", "http", [], True),
    ],
)
@pytest.mark.parametrize("around", ["middleware", "wrap"])
async def test_hsts_is_sent_where_the_request_came_over_tls(
    around: str, https: Any, scheme: str, said: list[bytes], is_sent: bool
) -> None:
    security = SecurityHeaders(https=https)
    app: Any = SecurityHeadersMiddleware(sender({}), security)
    if around == "wrap":
        app = wrap(sender({}), security=security)
    headers = [(b"x-forwarded-proto", value) for value in said]
    start = await start_of(app, scheme=scheme, headers=headers, method="GET")
    assert ("strict-transport-security" in as_text(start["headers"])) is is_sent


def test_a_field_set_to_none_leaves_its_header_out() -> None:
    headers = as_text(applied([], SecurityHeaders(x_xss_protection=None)))
    assert len(headers) == OURS - 1
    assert "x-xss-protection" not in headers


@pytest.mark.case("OW-17")
@pytest.mark.parametrize("name", [b"x-frame-options", b"X-Frame-Options"])
def test_a_handlers_own_value_wins(name: bytes) -> None:
    headers = applied([(name, b"SAMEORIGIN")])
    framing = [value for key, value in headers if key.lower() == b"x-frame-options"]
    assert framing == [b"SAMEORIGIN"]


@pytest.mark.case("S54")
def test_applying_twice_is_applying_once() -> None:
    once = applied([(b"a", b"b")])
    assert applied(once) == once


def test_a_name_to_remove_that_is_also_ours_is_ours_alone() -> None:
    security = SecurityHeaders(remove=frozenset({"X-Frame-Options"}))
    headers = as_text(applied([(b"x-frame-options", b"ALLOWALL")], security))
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("name", [b"Server", b"x-powered-by", b"X-AspNet-Version"])
def test_headers_that_disclose_are_taken_off(name: bytes) -> None:
    assert applied([(name, b"Secret/1.0")]) == applied([])


other_names = st.sampled_from(
    [b"set-cookie", b"Set-Cookie", b"X-Thing", b"vary", b"content-length"]
)


@pytest.mark.property
@pytest.mark.case("OW-18")
@given(st.lists(st.tuples(other_names, st.binary(max_size=20))))
def test_other_headers_survive_byte_for_byte_and_in_order(headers: RawHeaders) -> None:
    assert applied(headers)[: len(headers)] == headers


@pytest.mark.case("OW-21")
@pytest.mark.parametrize(
    "field", ["permissions_policy", "docs_content_security_policy"]
)
@pytest.mark.parametrize(
    "value", ["a\r\nset-cookie: b", "a\n", "a\0", "\u20ac", "\x7f", "", " a", "a "]
)
def test_what_no_header_can_hold_is_refused(field: str, value: str) -> None:
    kwargs: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=field) as refused:
        SecurityHeaders(**kwargs)
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("referrer_policy", b"origin", TypeError),
        ("docs_paths", "/docs", TypeError),
        ("logout_paths", frozenset({"logout"}), ValueError),
        ("clear_site_data", None, ValueError),
        ("clear_site_data", "cache", ValueError),
        ("clear_site_data", '"cache" "cookies"', ValueError),
        ("https", True, ValueError),
        ("override", 1, TypeError),
        ("routes", (("embed", SecurityHeaders()),), ValueError),
        ("routes", (("/embed/*/x", SecurityHeaders()),), ValueError),
        ("routes", (("/embed*", SecurityHeaders()),), ValueError),
        ("routes", (("/a", SecurityHeaders()), ("/a", SecurityHeaders())), ValueError),
        ("docs_paths", frozenset({"docs"}), ValueError),
        ("remove", frozenset({"no: header"}), ValueError),
        ("remove", frozenset({"caf\u00e9"}), ValueError),
    ],
)
def test_a_bad_field_is_named(
    field: str, value: object, error: type[Exception]
) -> None:
    kwargs: dict[str, Any] = {field: value}
    with pytest.raises(error, match=field):
        SecurityHeaders(**kwargs)


@pytest.mark.parametrize(
    ("root", "path", "local"),
    [
        ("", "/docs", "/docs"),
        ("/api", "/api/docs", "/docs"),
        ("/api", "/docs", "/docs"),
        ("/api", "/apis", "/apis"),
        ("/api", "/api", ""),
    ],
)
def test_a_local_path_is_what_follows_the_root(
    root: str, path: str, local: str
) -> None:
    assert local_path({"root_path": root, "path": path}) == local


@pytest.mark.case("R32")
async def test_a_start_without_headers_is_given_ours() -> None:
    start = await start_of(SecurityHeadersMiddleware(sender({})))
    assert start["headers"] == applied([])


@pytest.mark.case("R32")
async def test_messages_of_every_other_kind_are_forwarded() -> None:
    start = {"type": "http.response.start", "status": 200}
    path = {"type": "http.response.pathsend", "path": "/srv/a"}
    trailers: Message = {"type": "http.response.trailers", "headers": []}
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in (start, path, trailers):
            await send(message)

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope = {"type": "http", "scheme": "https", "path": "/", "headers": []}
    await SecurityHeadersMiddleware(app)(scope, receive, send)
    assert sent == [{**start, "headers": applied([])}, path, trailers]


async def test_headers_may_be_any_iterable_of_pairs() -> None:
    headers = iter([[b"X-Thing", b"1"], [b"X-Frame-Options", b"SAMEORIGIN"]])
    start = await start_of(SecurityHeadersMiddleware(sender({"headers": headers})))
    assert start["headers"][:2] == [
        (b"X-Thing", b"1"),
        (b"X-Frame-Options", b"SAMEORIGIN"),
    ]
    assert len(start["headers"]) == OURS + 1


async def test_the_apps_own_message_is_not_changed() -> None:
    headers: RawHeaders = [(b"server", b"x")]
    await start_of(SecurityHeadersMiddleware(sender({"headers": headers})))
    assert headers == [(b"server", b"x")]


async def test_debug_reaches_the_middlewares_responses() -> None:
    app = Starlette(middleware=[Middleware(SecurityHeadersMiddleware, debug=True)])
    async with AsyncClient(transport=ASGITransport(app), base_url="https://t") as c:
        answer = await c.get("/nothing-here")
    assert answer.status_code == 404
    assert "strict-transport-security" not in answer.headers
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.case("S33", "R32")
@pytest.mark.parametrize("kind", ["lifespan", "something.new"])
async def test_other_protocols_pass_through_untouched(kind: str) -> None:
    seen: list[tuple[Any, ...]] = []

    async def app(*connection: Any) -> None:
        seen.append(connection)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    scope: Scope = {"type": kind}
    await SecurityHeadersMiddleware(app)(scope, receive, send)
    assert seen == [(scope, receive, send)]
