"""Which endpoint a request is for, as its route is written in the app: `/items/{id}`.

Read from what frameworks leave in the scope, when they have looked for a route.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from starlette.applications import Starlette
from starlette.routing import Mount

from server_kit.asgi import Scope
from server_kit.exchange import Exchange, exchange_of

REST: Final = "/{path}"
"""What Starlette calls that part of a path which is the mounted app's to read."""


class Endpoint(NamedTuple):
    """What answers at a path; or an app that reads the rest of the path itself."""

    template: str
    """Prefixes and mounts included. Types are left out: `{id}`, not `{id:int}`. What is
    mounted and has no routes that are known is one endpoint: `/static/{path}`."""

    methods: frozenset[str] = frozenset()
    """Of the route; none where that has none, as a websocket's, or is a mount."""

    def below(self, outer: str) -> "Endpoint":
        """Return it as part of an app that is mounted at `outer`, a template."""
        return self._replace(template=outer.removesuffix(REST) + self.template)


def template_of(exchange: Exchange, scope: Scope) -> str | None:
    """Return the template of the route, when the request is over.

    Returns:
        None where there was no route: for a 404, and in apps of no framework.

    """
    # A middleware may have had a copy served.
    routed = scope if exchange.routed is None else exchange.routed
    endpoint = _endpoint(exchange.path, routed)
    return None if endpoint is None else endpoint.template


def endpoint_of(scope: Scope) -> Endpoint | None:
    """Return how far frameworks have come in looking for the endpoint.

    Returns:
        None where none has looked yet, nor will in apps of no framework.

    """
    exchange = exchange_of(scope)
    path = str(scope["path"]) if exchange is None else exchange.path
    return _endpoint(path, scope)


def methods_of(route: object) -> frozenset[str]:
    """Return the methods of a route or handler, of whichever framework."""
    methods = getattr(route, "methods", None) or getattr(route, "http_methods", None)
    return frozenset(str(getattr(method, "value", method)) for method in methods or ())


def in_litestar(template: str | None, handler: Any) -> Endpoint | None:
    """Return the endpoint that Litestar has found, from what it says of it."""
    if template:
        return Endpoint(template, methods_of(handler))
    # It is mounted, or at the root.
    paths = sorted(handler.paths)
    at_root = paths[0].rstrip("/") + REST if paths else None
    return None if at_root is None else Endpoint(at_root, methods_of(handler))


def _endpoint(path: str, scope: Scope) -> Endpoint | None:
    outer, inner = _starlette(path, scope), _litestar(scope)
    if isinstance(scope.get("app"), Starlette):  # the innermost says so, last
        outer, inner = inner, outer
    if outer is None or inner is None:
        return outer if inner is None else inner
    return inner.below(outer.template)


def _litestar(scope: Scope) -> Endpoint | None:
    template, handler = scope.get("path_template"), scope.get("route_handler")
    if not template and handler is None:
        return None
    return in_litestar(template, handler)


def _starlette(path: str, scope: Scope) -> Endpoint | None:
    if "endpoint" not in scope:
        return None
    leaf = _leaf(scope)
    is_mounted = "app_root_path" in scope
    if leaf is not None and not is_mounted:
        return Endpoint(str(leaf.path_format), methods_of(leaf))
    if leaf is None or scope.get("path_params"):
        # FastAPI does not tell of routes that are not its own, and who is mounted under
        # a path with parameters has replaced the route that says so.
        found = _searched(path, scope)
        if found is not None or leaf is None:
            return found
    mounts = str(scope["root_path"]).removeprefix(str(scope["app_root_path"]))
    if _is_mount(leaf):
        return Endpoint(mounts + REST)
    return Endpoint(mounts + str(leaf.path_format), methods_of(leaf))


def _searched(path: str, scope: Scope) -> Endpoint | None:
    root = scope.get("app_root_path", scope.get("root_path", ""))
    routes = getattr(scope.get("router"), "routes", ())
    path, target = path.removeprefix(str(root)), scope["endpoint"]
    found = _search(routes, path, target, scope.get("method"))
    return _search(routes, path, target) if found is None else found  # for a 405


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


def _search(
    routes: Iterable[Any], path: str, target: Any, method: str | None = None
) -> Endpoint | None:
    """Return the route in `routes` that leads to `target`, by `method` if given one."""
    for route in _flat(routes):
        found = route.path_regex.match(path)
        if found is None:
            continue
        endpoint = Endpoint(str(route.path_format), methods_of(route))
        has_method = (
            method is None or not endpoint.methods or method in endpoint.methods
        )
        if _target(route) is target and has_method:
            return endpoint
        if _is_mount(route):
            below = _search(route.routes or (), f"/{found['path']}", target, method)
            if below is not None:
                return below.below(endpoint.template)
    return None


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        if hasattr(route, "effective_route_contexts"):  # FastAPI's included routers
            for context in route.effective_route_contexts():
                yield context.starlette_route or context
        elif hasattr(route, "path_regex"):
            yield route
