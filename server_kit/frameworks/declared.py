"""What the handler of one request has declared, once the request is over."""

import sys
from dataclasses import dataclass
from typing import Any

from starlette.routing import Host, Match, Mount

from resilient_http.problems import (
    AppException,
    BadRequestException,
    ValidationException,
)
from server_kit.asgi import Scope, local_path
from server_kit.frameworks import nearest, routers, routes_of
from server_kit.frameworks.routes import flat
from server_kit.openapi.implied import Documented
from server_kit.openapi.raises import declared_by


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler, and what it may answer."""

    name: str
    problems: frozenset[type[AppException]]
    statuses: frozenset[str] = frozenset()
    """Those described in words of its author's own."""

    def may_answer(self, problem: type[AppException], status: int) -> bool:
        """Tell whether it declared or implies this."""
        around = {str(status), f"{status // 100}XX", "default"}
        return problem in self.problems or not self.statuses.isdisjoint(around)


def handler_of(app: object, asked: Scope, scope: Scope) -> Handler | None:
    """Return who handled a request; None if nobody did, or nobody knows.

    Args:
        app: What was called.
        asked: The scope as it was then.
        scope: The scope as it was left.

    """
    method = str(asked["method"])
    served = scope.get("litestar_app", scope.get("app"))
    known = nearest(app, served)
    if scope.get("route_handler") is not None:
        return _of_litestar(scope["route_handler"], method, known)
    route = _route_of(app, {**asked, "path": local_path(asked), "root_path": ""})
    if route is None:
        return None
    if getattr(route, "dependant", None) is not None:
        return _of_fastapi(served, route, method, known)
    endpoint = getattr(route, "endpoint", None)
    action = getattr(endpoint, method.lower(), None)  # of Starlette's HTTPEndpoint
    found = (*declared_by(endpoint), *declared_by(action))
    everywhere = known.everywhere(method.lower())
    return Handler(f"{method} {route.path}", frozenset({*found, *everywhere}))


def _route_of(app: object, asked: Scope) -> Any:
    for router in routers(app):
        for route in flat(routes_of(router)):
            match, child = route.matches({**asked})
            if match is Match.FULL:
                is_leaf = not isinstance(route, Mount | Host)
                return route if is_leaf else _route_of(route, {**asked, **child})
    return None


def _of_fastapi(app: Any, route: Any, method: str, known: Documented) -> Handler:
    fastapi = sys.modules["server_kit.frameworks.fastapi"]  # as it has been adopted
    found = fastapi.operation(app, route, known, method.lower())
    own = frozenset(map(str, route.responses)) - found.replaced
    problems = frozenset({*found.declared, *found.implied})
    return Handler(f"{method} {route.path_format}", problems, own)


def _of_litestar(handler: Any, method: str, known: Documented) -> Handler:
    litestar = sys.modules["server_kit.frameworks.litestar_openapi"]
    # It checks what a handler takes, and nothing where it takes nothing.
    checks = (ValidationException, BadRequestException)
    found = (*litestar.declared_of(handler), *known.everywhere(method.lower()), *checks)
    statuses = {str(error.status_code) for error in handler.raises or ()}
    statuses |= set(map(str, handler.responses or ()))
    name = f"{method} {min(handler.paths)}"
    return Handler(name, frozenset(found), frozenset(statuses))
