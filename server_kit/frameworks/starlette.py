"""Starlette, and so FastAPI: our handlers and boundaries in place of its defaults.

The stack of an adopted app, from the outside in::

    ServerErrorMiddleware   the user's handler of crashes, if there is one
    Boundary                what the user's middlewares raise
    the user's middlewares  CORS and the like: to them a problem is a plain response
    Boundary                what the routes raise
    ExceptionMiddleware     handlers: the user's; ours for HTTPException and such
    the router
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response

from resilient_http.problems import AppException
from server_kit.boundary import Boundary
from server_kit.exchange import exchange_of
from server_kit.problems import app_exception_handler

Handler: TypeAlias = Callable[[Any, Any], Awaitable[Response]]

_CRASHES: Final = frozenset({500, Exception})
"""Under which keys Starlette looks for the handler of crashes."""

_CLIENTS: Final = frozenset({"httpx", "httpx2"})


def adopt(app: Starlette) -> None:
    """Put our handlers and boundaries into `app`, once."""
    classes: list[Any] = [found.cls for found in app.user_middleware]
    if Boundary in classes:
        return
    handlers = app.exception_handlers
    crashes = _CRASHES.isdisjoint(handlers)
    for cls, default in _defaults(app).items():
        if handlers.get(cls, default) == default:
            handlers[cls] = _Ours(default)
    if not handles_clients(handlers):
        handlers.setdefault(AppException, _Ours(_raise))
    boundary = Middleware(Boundary, crashes=crashes)
    users = [*app.user_middleware, boundary] if app.user_middleware else []
    app.user_middleware = [boundary, *users]
    app.middleware_stack = None  # to be built anew for the next request


def handles_clients(handlers: dict[Any, Any]) -> bool:
    """Tell whether a user handles what clients raise.

    Ours is an `AppException` and one of httpx's own. A handler for the former would be
    asked first; without one, the user's is.
    """
    modules = {getattr(key, "__module__", "").partition(".")[0] for key in handlers}
    return not modules.isdisjoint(_CLIENTS)


def _defaults(app: Starlette) -> dict[type[Exception], Handler]:
    """Return what the framework itself would do, or has registered, per exception."""
    fastapi = sys.modules.get("fastapi")
    if fastapi is None or not isinstance(app, fastapi.FastAPI):
        return {HTTPException: ExceptionMiddleware(app).http_exception}
    theirs = sys.modules["fastapi.exception_handlers"]
    errors = sys.modules["fastapi.exceptions"]
    in_socket = theirs.websocket_request_validation_exception_handler
    return {
        HTTPException: theirs.http_exception_handler,
        errors.RequestValidationError: theirs.request_validation_exception_handler,
        errors.WebSocketRequestValidationError: in_socket,
    }


class _Ours:
    """Answer with a problem where a wrapped app is being served, else as before."""

    def __init__(self, default: Handler) -> None:
        self._default = default

    async def __call__(self, connection: HTTPConnection, error: Exception) -> Response:
        if exchange_of(connection.scope) is None:
            return await self._default(connection, error)
        if connection.scope["type"] == "websocket":
            raise error  # a close or a refusal, which no response can tell
        return await app_exception_handler(connection, error)


async def _raise(_: HTTPConnection, error: Exception) -> Response:
    raise error
