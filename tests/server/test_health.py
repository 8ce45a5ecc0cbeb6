"""What those that look after a service are told."""

import math
from typing import Any

import anyio
import fastapi
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import resilient_http
from resilient_http.problems import NotFoundException
from server_kit import Health, RateLimiter, RateLimitMiddleware, Shedding, wrap
from server_kit.asgi import Receive, Scope, Send
from server_kit.exchange import exchange_of
from tests.server.apps import APPS, AnyApp, ask, raw_app


def fails() -> bool:
    return False


def crashes() -> None:
    raise ConnectionError("db.internal:5432 refused")


def passes() -> None:
    pass


async def passes_later() -> bool:
    await anyio.lowlevel.checkpoint()
    return True


async def fails_later() -> bool:
    return False


async def hangs() -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
async def test_any_app_can_be_asked_how_it_is(app: Any) -> None:
    wrapped = wrap(app(), health=Health(checks={"db": passes, "cache": passes_later}))
    live = await ask(wrapped, "/livez")
    assert (live.status_code, live.json()) == (200, {"status": "pass"})
    assert live.headers["content-type"] == "application/health+json"
    assert live.headers["cache-control"] == "no-store"
    ready = await ask(wrapped, "/readyz")
    assert ready.status_code == 200
    passed = [{"status": "pass"}]
    expected = {"status": "pass", "checks": {"db": passed, "cache": passed}}
    assert ready.json() == expected
    assert (await ask(wrapped, "/nowhere")).status_code == 404
    assert (await ask(wrapped, "/livez", "POST")).status_code == 404


@pytest.mark.parametrize("check", [fails, fails_later, crashes, hangs])
async def test_a_check_that_fails_makes_it_unready_and_no_less_alive(
    check: Any, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health(checks={"db": check, "cache": passes}, timeout=0.02)
    app = wrap(raw_app, health=health)
    ready = await ask(app, "/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"] == "fail"
    assert ready.json()["checks"] == {
        "db": [{"status": "fail"}],
        "cache": [{"status": "pass"}],
    }
    assert "db.internal" not in ready.text  # it is in the log
    assert ("db.internal" in caplog.text) is (check is crashes)
    assert (await ask(app, "/livez")).status_code == 200


async def test_checks_run_together() -> None:
    checks = {str(number): hangs for number in range(20)}
    with anyio.fail_after(5):
        await ask(wrap(raw_app, health=Health(checks=checks, timeout=0.3)), "/readyz")


async def test_details_are_shown_and_decide_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = resilient_http.AsyncClient()
    details: dict[str, Any] = {
        "billing": client.snapshot,
        "odd": lambda: {"nan": math.nan, 5: {1}},
        "broken": crashes,
    }
    ready = await ask(wrap(raw_app, health=Health(details=details)), "/readyz")
    assert ready.status_code == 200
    shown = ready.json()["details"]
    assert shown["billing"] == {"origins": {}}
    assert shown["odd"]["nan"] is None
    assert shown["broken"] is None
    assert "the detail broken could not be shown" in caplog.text
    await client.aclose()


async def test_shedding_is_among_the_details() -> None:
    app = wrap(raw_app, shedding=Shedding(limit=7), health=Health())
    shown = (await ask(app, "/readyz")).json()["details"]
    assert shown == {"shedding": {"limit": 7, "in_flight": 0, "waiting": 0}}
    mine = Health(details={"shedding": lambda: "mine"})
    app = wrap(raw_app, shedding=Shedding(), health=mine)
    assert (await ask(app, "/readyz")).json()["details"] == {"shedding": "mine"}


async def test_routes_of_the_app_win() -> None:
    app = wrap(fastapi.FastAPI(), health=Health())

    @app.get("/livez")
    async def live() -> str:
        return "mine"

    @app.get("/readyz")
    async def ready() -> str:
        raise RuntimeError

    assert (await ask(app, "/livez")).json() == "mine"
    assert (await ask(app, "/readyz")).status_code == 500


async def test_an_app_that_raises_its_404_has_no_such_route() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotFoundException

    wrapped = wrap(app, health=Health())
    assert (await ask(wrapped, "/livez")).status_code == 200
    assert (await ask(wrapped, "/problem")).status_code == 404


async def test_an_app_may_change_the_scope_on_its_way_to_a_404() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["path"] = "/changed"
        await raw_app(scope, receive, send)

    answer = await ask(wrap(app, health=Health()), "/livez")
    assert answer.json() == {"status": "pass"}


async def test_what_an_app_raises_besides_is_its_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await raw_app({**scope, "path": "/problem"}, receive, send)

    assert (await ask(wrap(app, health=Health()), "/livez")).status_code == 409


async def test_head_is_answered_without_a_body() -> None:
    answer = await ask(wrap(raw_app, health=Health()), "/livez", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_paths_can_be_others() -> None:
    app = wrap(raw_app, health=Health(live="/up", ready="/in"))
    for path, status in {"/up": 200, "/in": 200, "/livez": 404, "/readyz": 404}.items():
        assert (await ask(app, path)).status_code == status


async def test_it_can_be_mounted_without_a_kit() -> None:
    app = Starlette(routes=[Mount("/internal", Health(checks={"db": fails}))])
    for path, status in {"/livez": 200, "/readyz": 503, "/x": 404}.items():
        assert (await ask(app, f"/internal{path}")).status_code == status
    assert (await ask(app, "/internal/livez", "POST")).status_code == 404


async def test_it_serves_nothing_but_http() -> None:
    async def nothing(*_: object) -> Any:
        raise AssertionError

    with pytest.raises(RuntimeError, match="serves http, not websocket"):
        await Health()({"type": "websocket"}, nothing, nothing)


async def test_in_a_kit_what_is_not_http_passes() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Any:
        raise AssertionError

    await wrap(app, health=Health())({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


@pytest.mark.case("S59", "R39")
async def test_at_paths_of_its_own_it_is_never_shed() -> None:
    go = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/hold":
            await go.wait()
        await raw_app(scope, receive, send)

    shedding = Shedding(limit=1, most_limit=1, target=0.001)
    wrapped = wrap(app, shedding=shedding, health=Health(live="/up"))
    async with anyio.create_task_group() as group:
        group.start_soon(ask, wrapped, "/hold")
        await anyio.wait_all_tasks_blocked()
        assert (await ask(wrapped, "/other")).status_code == 503
        assert (await ask(wrapped, "/up")).status_code == 200
        go.set()


async def test_at_paths_of_its_own_it_is_not_rate_limited() -> None:
    inner: AnyApp = RateLimitMiddleware(raw_app, RateLimiter(), default_limit=1)
    app = wrap(inner, health=Health(live="/up"))
    assert [(await ask(app, "/up")).status_code for _ in range(3)] == [200] * 3
    assert [(await ask(app, "/ok")).status_code for _ in range(2)] == [200, 429]


async def test_a_log_can_tell_it_from_other_requests() -> None:
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        assert exchange is not None
        seen.append(exchange.is_health)
        await raw_app(scope, receive, send)

    wrapped = wrap(app, health=Health())
    for path in ("/livez", "/readyz", "/ok"):
        await ask(wrapped, path)
    assert seen == [True, True, False]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checks": [passes]}, TypeError, "Health.checks must be a mapping of names"),
        ({"checks": {"db": True}}, TypeError, "Health.checks must be a mapping"),
        ({"details": {"db": 1}}, TypeError, "Health.details must be a mapping"),
        ({"timeout": 0}, ValueError, "Health.timeout must be .* got 0"),
        ({"live": "livez"}, ValueError, "Health.live must be paths that begin with /"),
        ({"ready": None}, ValueError, "Health.ready must be"),
    ],
)
def test_what_makes_no_sense_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Health(**options)
