"""What does a request cost that goes well? `python -m benchmarks.server`.

A trivial Starlette route, called in process by hand: what is measured is what stands
around it. README.md says what it shows and what it does not.
"""

import asyncio
import io
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib import import_module
from random import Random
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import server_kit
from benchmarks.figures import BARE, Verdict, figures
from benchmarks.options import options
from benchmarks.peers import installed
from benchmarks.report import Run, end, table
from benchmarks.rounds import Plan, Repeat, Samples, measure

FULL: Final = Plan(rounds=100, calls=200)
QUICK: Final = Plan(rounds=5, calls=20)

KIT: Final = "server_kit"
LOGGED: Final = "server_kit + access log"
BASE: Final = "one BaseHTTPMiddleware"
MOUNTED: Final = "slowapi + secure + asgi-correlation-id + starlette-problem"

ADDED: Final = 45.0
ADDED_LOGGED: Final = 90.0
OF_BASE: Final = 1 / 4

_PACKAGES: Final = (
    *("starlette", "anyio", "pydantic", "slowapi", "limits", "secure"),
    *("asgi-correlation-id", "starlette-problem"),
)
_WHERE: Final = "a trivial Starlette route"

App = Callable[..., Awaitable[None]]


def main() -> int:
    """Measure everything and print it; with `--check` return 1 if a bar fails."""
    told = options("server").parse_args()
    run = measured(QUICK if told.quick else FULL)
    return end(run, table(run), told)


def measured(plan: Plan) -> Run:
    """Return what requests take."""
    run = Run("server", "One request that goes well", plan, _PACKAGES)
    apps, run.left_out[_WHERE] = installed(_APPS)
    repeats = {name: _repeat(app) for name, app in apps.items()}
    run.samples[_WHERE] = samples = asyncio.run(measure(repeats, plan, Random()))
    run.bars = _verdicts(samples)
    return run


def _verdicts(samples: Samples) -> list[Verdict]:
    found = figures(samples)
    share = found[KIT].adds / found[BASE].adds
    return [
        Verdict(_WHERE, KIT, "µs added", found[KIT].adds, ADDED),
        Verdict(_WHERE, KIT, "of what BaseHTTPMiddleware adds", share, OF_BASE),
        Verdict(_WHERE, LOGGED, "µs added", found[LOGGED].adds, ADDED_LOGGED),
    ]


async def _ok(_: Request) -> Response:
    return PlainTextResponse("fine")


def _bare() -> Starlette:
    return Starlette(routes=[Route("/ok", _ok)])


def _base() -> Starlette:
    async def add_one(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers["X-One"] = "1"
        return response

    app = _bare()
    app.add_middleware(BaseHTTPMiddleware, dispatch=add_one)
    return app


def _kit(**more: Any) -> App:
    return server_kit.wrap(
        _bare(),
        shedding=server_kit.Shedding(),
        idempotency=server_kit.Idempotency(),
        health=server_kit.Health(),
        **more,
    )


def _logged() -> App:
    logger = logging.getLogger("server_kit.access")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    return _kit(access_log=server_kit.AccessLog())


def _mounted() -> Starlette:
    slowapi = import_module("slowapi")
    app = _bare()
    app.state.limiter = slowapi.Limiter(
        key_func=import_module("slowapi.util").get_remote_address,
        default_limits=["1000000000/second"],
    )
    secure = import_module("secure")
    problem = import_module("starlette_problem.handler")
    app.add_middleware(import_module("slowapi.middleware").SlowAPIASGIMiddleware)
    app.add_middleware(
        import_module("secure.middleware").SecureASGIMiddleware,
        secure=secure.Secure.with_default_headers(),
    )
    app.add_middleware(import_module("asgi_correlation_id").CorrelationIdMiddleware)
    problem.add_exception_handler(app)
    return app


_APPS: Final[Mapping[str, Callable[[], App]]] = {
    BARE: _bare,
    KIT: _kit,
    LOGGED: _logged,
    BASE: _base,
    MOUNTED: _mounted,
}

_HEADERS: Final = [
    (b"host", b"shop.example"),
    (b"user-agent", b"python-httpx/0.28.1"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
]
_ASKED: Final = {"type": "http.request", "body": b"", "more_body": False}


def _repeat(app: App) -> Repeat:
    sent: list[int] = []

    async def receive() -> Mapping[str, Any]:
        return _ASKED

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    async def repeat(calls: int) -> None:
        sent.clear()
        for _ in range(calls):
            await app(_scope(), receive, send)
        assert sent == [200] * calls

    return repeat


def _scope() -> MutableMapping[str, Any]:
    """Return a request as uvicorn describes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/ok",
        "raw_path": b"/ok",
        "query_string": b"",
        "headers": list(_HEADERS),
        "state": {},
    }


if __name__ == "__main__":
    sys.exit(main())
