"""Which endpoint a request will be for, before a framework has looked for it.

For what decides on a request further out than routing: a middleware.
"""

import sys
from typing import Any, Final

from starlette.routing import Host, Match, Mount

from server_kit.asgi import Scope
from server_kit.frameworks import routers, routes_of
from server_kit.frameworks.routes import flat
from server_kit.routes import REST, Endpoint, endpoint_of, in_litestar, methods_of

_ANYTHING: Final = Endpoint(REST)
"""What an app is that has no routes that are known."""


def endpoint_ahead(app: object, scope: Scope) -> Endpoint | None:
    """Return the endpoint that `app` will find for the request of `scope`.

    Args:
        app: What is about to be called with it.
        scope: The request, perhaps routed in part.

    Returns:
        None if there is none: for a path, or a method, that it has no route for. An app
        without routes that are known is one endpoint: `/{path}`.

    """
    so_far = endpoint_of(scope)
    scope = {**scope}  # routes may leave notes in it
    if so_far is None:
        return _ahead(app, scope)
    if so_far.methods or not so_far.template.endswith(REST):
        return so_far  # and no mount
    below = _ahead(app, scope)
    return None if below is None else below.below(so_far.template)


def _ahead(app: object, scope: Scope) -> Endpoint | None:
    are_known = False
    for router in routers(app):
        are_known = True
        found = _in_router(router, scope)
        if found is not None:
            return found
    return None if are_known else _ANYTHING


def _in_router(router: Any, scope: Scope) -> Endpoint | None:
    litestar = sys.modules.get("litestar")
    if litestar is not None and isinstance(router, litestar.Litestar):
        return _in_litestar(router, scope)
    for route in flat(routes_of(router)):
        match, child = route.matches(scope)
        if match is Match.FULL:
            return _behind(route, {**scope, **child})
    return None


def _behind(route: Any, scope: Scope) -> Endpoint | None:
    if not isinstance(route, Mount | Host):
        return Endpoint(str(route.path_format), methods_of(route))
    below = _ahead(route.app, scope)
    if below is None or isinstance(route, Host):
        return below
    return below.below(str(route.path_format))


def _in_litestar(app: Any, scope: Scope) -> Endpoint | None:
    from litestar.exceptions import HTTPException  # noqa: PLC0415 - may be missing
    from litestar.utils import normalize_path  # noqa: PLC0415 - as above

    # As its router does.
    root = str(scope.get("root_path", ""))
    path = str(scope["path"])
    path = normalize_path(path.split(root, maxsplit=1)[-1] if root else path)
    try:
        _, handler, rest, _, template = app.asgi_router.handle_routing(
            path=path, method=scope.get("method")
        )
    except HTTPException:
        return None
    found = in_litestar(template, handler)
    if found is None or not getattr(handler, "is_mount", False):
        return found
    below = _ahead(handler.fn, {**scope, "path": rest})
    return None if below is None else below.below(found.template)
