"""Which methods a path answers, where a router names those of one route alone.

Starlette, and so FastAPI, refuses a method by the first route that has the path: with
`GET` and `POST` registered apart, `Allow` says `GET`. RFC 9110, section 15.5.6, wants
what the resource supports.
"""

from typing import Any

from starlette.routing import Host, Match, Mount

from server_kit.asgi import Scope
from server_kit.frameworks import routers, routes_of
from server_kit.frameworks.routes import flat


def allowed(app: object, asked: Scope) -> set[str]:
    """Return the methods that the routes of `app` have for the path of `asked`.

    Empty if a route has the method, too: then it was the handler who refused it. Empty
    for apps whose routes are not of Starlette's kind.

    Args:
        app: What was called.
        asked: The request, as it was when `app` was called; `path` is relative to it.

    """
    found: set[str] = set()
    for router in routers(app):
        found |= _allowed(routes_of(router), asked)
    return found


def _allowed(routes: list[Any], scope: Scope) -> set[str]:
    found: set[str] = set()
    for route in flat(routes):
        # A copy each: FastAPI leaves notes in the scope that it asks about.
        match, child = route.matches({**scope})
        if match is Match.PARTIAL:
            found |= set(route.methods or ())
        elif match is Match.FULL:
            if not isinstance(route, Mount | Host):
                return set()
            for router in routers(route):
                found |= _allowed(routes_of(router), {**scope, **child})
            break
    return found
