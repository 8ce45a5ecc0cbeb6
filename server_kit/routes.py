"""Which route a request took, as it is written in the app: `/items/{id}`.

Read from what frameworks leave in the scope, when the request is over.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from server_kit.asgi import Scope
from server_kit.exchange import Exchange

_REST = "/{path}"
"""What Starlette calls that part of a path which is the mounted app's to read."""


def template_of(exchange: Exchange, scope: Scope) -> str | None:
    """Return the template of the route, prefixes and mounts included.

    Types are left out: `{id}`, not `{id:int}`. What is mounted and has no routes that
    are known is one route: `/static/{path}`.

    Returns:
        None where there was no route: for a 404, and in apps of no framework.

    """
    # A middleware may have had a copy served.
    scope = scope if exchange.routed is None else exchange.routed
    outer, inner = _starlette(exchange.path, scope), _litestar(scope)
    if isinstance(scope.get("app"), Starlette):  # the innermost says so, last
        outer, inner = inner, outer
    if outer is None or inner is None:
        return outer if inner is None else inner
    return outer.removesuffix(_REST) + inner


def _litestar(scope: Scope) -> str | None:
    template = scope.get("path_template")
    if template or "route_handler" not in scope:
        return template
    # It is mounted, or at the root.
    paths = sorted(scope["route_handler"].paths)
    return paths[0].rstrip("/") + _REST if paths else None


def _starlette(path: str, scope: Scope) -> str | None:
    if "endpoint" not in scope:
        return None
    leaf = _leaf(scope)
    if leaf is None:
        # FastAPI does not tell of routes that are not its own, and who is mounted under
        # a path with parameters has replaced the route that says so.
        root = scope.get("app_root_path", scope.get("root_path", ""))
        routes = getattr(scope.get("router"), "routes", ())
        return _search(routes, path.removeprefix(str(root)), scope["endpoint"])
    if "app_root_path" not in scope:  # nothing is mounted
        return str(leaf.path_format)
    mounts = str(scope["root_path"]).removeprefix(str(scope["app_root_path"]))
    return mounts + _REST if _is_mount(leaf) else mounts + str(leaf.path_format)


def _leaf(scope: Scope) -> Any:
    """Return the last route, where it is known and all parameters are its own."""
    route = scope.get("route")
    if scope["endpoint"] is not _target(route):
        return None
    context = scope.get("fastapi", {}).get("effective_route_context")
    if context is not None and context.original_route is route:
        route = context  # with the prefixes it was included under
    own = () if _is_mount(route) else getattr(route, "param_convertors", ())
    return route if all(name in own for name in scope.get("path_params", ())) else None


def _target(route: Any) -> Any:
    return route.app if _is_mount(route) else getattr(route, "endpoint", None)


def _is_mount(route: Any) -> bool:
    return isinstance(route, Mount)


def _search(routes: Iterable[Any], path: str, target: Any) -> str | None:
    """Return the template of the route in `routes` that leads to `target`."""
    for route in _flat(routes):
        found = route.path_regex.match(path)
        if found is None:
            continue
        template = str(route.path_format)
        if _target(route) is target:
            return template
        if _is_mount(route):
            below = _search(route.routes or (), f"/{found['path']}", target)
            if below is not None:
                return template.removesuffix(_REST) + below
    return None


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        if hasattr(route, "effective_route_contexts"):  # FastAPI's included routers
            for context in route.effective_route_contexts():
                yield context.starlette_route or context
        elif hasattr(route, "path_regex"):
            yield route
