"""Nonces for inline scripts: in the policy and in the page, or in neither."""

import base64
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse

import server_kit
from server_kit import SecurityHeaders, SecurityHeadersMiddleware, csp_nonce
from server_kit.asgi import Receive, Scope, Send
from server_kit.security.content import around_nonces
from tests.server.apps import AnyApp, ask, client_of


def page() -> FastAPI:
    app = FastAPI()

    @app.get("/page")
    async def show() -> HTMLResponse:
        return HTMLResponse(f"{csp_nonce()} {csp_nonce()}")

    @app.get("/threaded")
    def threaded() -> HTMLResponse:
        return HTMLResponse(csp_nonce())

    @app.get("/plain")
    async def plain() -> None: ...

    @app.get("/own")
    async def own() -> HTMLResponse:
        headers = {"content-security-policy": f"script-src 'nonce-{csp_nonce()}'"}
        return HTMLResponse(csp_nonce(), headers=headers)

    @app.get("/late")
    async def late() -> StreamingResponse:
        async def parts() -> Any:
            yield "<p>"
            yield csp_nonce()

        return StreamingResponse(parts())

    return app


def behind_another(app: AnyApp) -> AnyApp:
    async def passing(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    return server_kit.wrap(BaseHTTPMiddleware(app, passing))


def mounted(app: AnyApp) -> AnyApp:
    outer = FastAPI()
    outer.mount("", server_kit.wrap(app))
    return server_kit.wrap(outer)


AROUND: dict[str, Callable[[AnyApp], AnyApp]] = {
    "wrap": server_kit.wrap,
    "middleware": SecurityHeadersMiddleware,
    "both": lambda app: server_kit.wrap(SecurityHeadersMiddleware(app)),
    "inside alone": lambda app: server_kit.wrap(
        SecurityHeadersMiddleware(app), security=None
    ),
    "mounted": mounted,
    "BaseHTTPMiddleware": behind_another,
}
every_way = pytest.mark.parametrize("around", AROUND)


@pytest.mark.case("OW-20")
@every_way
async def test_the_policy_names_the_nonce_of_the_page(around: str) -> None:
    app = AROUND[around](page())
    answer = await ask(app, "/page")
    first, second = answer.text.split()
    assert first == second
    policy = answer.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert f"script-src 'self' 'unsafe-inline' 'nonce-{first}';" in policy[0]
    assert policy[0].count("nonce") == 1
    threaded = await ask(app, "/threaded")
    policy = threaded.headers.get_list("content-security-policy")
    assert f"'nonce-{threaded.text}'" in policy[0]


@pytest.mark.case("OW-20")
async def test_each_response_has_128_bits_of_its_own() -> None:
    app = server_kit.wrap(page())
    nonces = {(await ask(app, "/page")).text.split()[0] for _ in range(20)}
    assert len(nonces) == 20
    assert {len(base64.urlsafe_b64decode(nonce)) for nonce in nonces} == {18}


async def test_a_page_that_asks_for_no_nonce_keeps_its_policy() -> None:
    answer = await ask(server_kit.wrap(page()), "/plain")
    expected = SecurityHeaders().content_security_policy
    assert answer.headers["content-security-policy"] == expected


@pytest.mark.case("OW-17")
async def test_a_policy_of_the_handlers_own_is_left_to_it() -> None:
    answer = await ask(server_kit.wrap(page()), "/own")
    policy = answer.headers["content-security-policy"]
    assert policy == f"script-src 'nonce-{answer.text}'"


async def test_without_a_policy_a_nonce_changes_nothing() -> None:
    security = SecurityHeaders(content_security_policy=None)
    answer = await ask(server_kit.wrap(page(), security=security), "/page")
    assert "content-security-policy" not in answer.headers
    assert answer.headers["x-frame-options"] == "DENY"


async def test_it_is_an_error_to_ask_when_the_headers_are_gone() -> None:
    async with client_of(server_kit.wrap(page()), raises=True) as client:
        with pytest.raises(RuntimeError, match="after the headers were sent"):
            await client.get("/late")


async def test_it_is_an_error_to_ask_where_nothing_is_secured() -> None:
    for secure in (server_kit.wrap, SecurityHeadersMiddleware):
        await ask(secure(page()), "/page")  # leaves nothing behind
    with pytest.raises(RuntimeError, match="where no response gets security headers"):
        csp_nonce()
    answer = await ask(server_kit.wrap(page(), security=None), "/page")
    assert answer.status_code == 500


async def test_a_request_made_inside_another_has_a_nonce_of_its_own() -> None:
    inner = server_kit.wrap(page())
    unsecured = server_kit.wrap(page(), security=None)
    words: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        words.append(csp_nonce())
        words.append((await ask(inner, "/threaded")).text)
        words.append(csp_nonce())
        assert (await ask(unsecured, "/page")).status_code == 500
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    await ask(server_kit.wrap(app), "/")
    assert words[0] == words[2] != words[1]


async def test_an_app_and_the_one_around_it_have_one_nonce() -> None:
    inner = server_kit.wrap(page())
    words: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        words.append(csp_nonce())
        await inner(scope, receive, send)
        words.append(csp_nonce())

    answer = await ask(server_kit.wrap(app), "/threaded")
    assert words == [answer.text, answer.text]


async def test_requests_side_by_side_do_not_share() -> None:
    app = server_kit.wrap(page())
    seen: list[str] = []

    async def visit() -> None:
        answer = await ask(app, "/page")
        nonce = answer.text.split()[0]
        assert f"'nonce-{nonce}'" in answer.headers["content-security-policy"]
        seen.append(nonce)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(visit)
    assert len(set(seen)) == 10


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("default-src a", "default-src a; script-src a N; style-src a N"),
        ("script-src 'self'", "script-src 'self' N"),
        ("script-src 'none'; img-src *", "script-src N; img-src *"),
        ("Script-Src 'self';", "script-src 'self' N"),
        ("script-src a; script-src b", "script-src a N"),
        ("script-src a; script-src-elem b", "script-src a N; script-src-elem b N"),
        ("style-src a; style-src-elem b", "style-src a N; style-src-elem b N"),
        ("style-src 'unsafe-inline'", "style-src 'unsafe-inline'"),
        (
            "default-src 'unsafe-inline'",
            "default-src 'unsafe-inline'; script-src 'unsafe-inline' N",
        ),
        ("upgrade-insecure-requests", "upgrade-insecure-requests"),
        ("img-src https://x/100%25", "img-src https://x/100%25"),
    ],
)
def test_a_nonce_stands_where_it_allows_and_forbids_no_style(
    policy: str, expected: str
) -> None:
    assert "N".join(around_nonces(policy)) == expected
