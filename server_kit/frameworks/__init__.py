"""Make the frameworks found inside an app hand over the exceptions they catch.

Frameworks answer exceptions themselves, deep inside, so that none reaches the kit. Each
app found gets our handlers where it had its framework's own; those that a user has
registered stay. What is changed acts only on requests that come through a kit.
"""

import inspect
import sys
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final

from starlette.applications import Starlette

from server_kit.frameworks import starlette
from server_kit.openapi.implied import Documented

# What apps and middlewares call that which they wrap, FastAPI's included routers too.
_LINKS: Final = ("app", "_app", "application", "wrapped", "original_router")


def adopt(app: object, documented: Documented) -> None:
    """Adopt every framework's app in `app`: itself, and what it wraps and mounts."""
    for found, _ in _walk(app, documented):
        if isinstance(found, Starlette):
            starlette.adopt(found)
        elif _is_of("litestar", "Litestar", found):
            from server_kit.frameworks import litestar  # noqa: PLC0415 - may be missing

            litestar.adopt(found)
    document(app, documented)


def document(app: object, documented: Documented) -> None:
    """Have the OpenAPI document of every app in `app` tell of problems."""
    for found, known in _walk(app, documented):
        if _is_of("fastapi", "FastAPI", found):
            from server_kit.frameworks import fastapi  # noqa: PLC0415 - may be missing

            fastapi.document(found, known)
        elif _is_of("litestar", "Litestar", found):
            from server_kit.frameworks import (  # noqa: PLC0415 - may be missing
                litestar_openapi,
            )

            litestar_openapi.document(found, known)


def nearest(app: object, served: object) -> Documented:
    """Return what the kit nearest to `served`, somewhere in `app`, knows."""
    nobody = Documented(None, lambda _: ())
    return next(
        (known for found, known in _walk(app, nobody) if found is served), nobody
    )


def _walk(app: object, documented: Documented) -> Iterator[tuple[Any, Documented]]:
    """Yield each app in `app`, with what the kit nearest to it knows."""
    seen: dict[int, object] = {}
    waiting = [(app, documented)]
    while waiting:
        found, known = waiting.pop()
        if id(found) in seen:
            continue
        seen[id(found)] = found  # kept, so that no other object takes its id
        own = _attribute(found, "_documented")
        if isinstance(own, Documented):
            known = own.within(known)
        yield found, known
        waiting += [(inner, known) for inner in _inside(found)]


def _is_of(framework: str, name: str, app: object) -> bool:
    module = sys.modules.get(framework)
    cls = getattr(module, name, None)  # None too while it is being imported
    return cls is not None and isinstance(app, cls)


def _inside(app: object) -> Iterator[object]:
    """Yield what `app` may hand requests to."""
    if isinstance(app, MethodType):
        yield app.__self__
    elif isinstance(app, partial):
        yield from (app.func, *app.args, *app.keywords.values())
    elif isinstance(app, FunctionType):
        yield from (cell for cell in _cells(app) if callable(cell))
    else:
        yield from (_attribute(app, name) for name in _LINKS)
        for route in routes_of(app):
            yield from _behind(route)


def routes_of(app: object) -> list[Any]:
    """Return the routes of an app or router of Starlette's kind; none of others'."""
    routes = _attribute(app, "routes")
    return routes if isinstance(routes, list) else []


def routers(app: object) -> Iterator[Any]:
    """Yield the nearest routers that `app` hands requests to, itself included.

    Not those behind their routes.
    """
    seen: dict[int, object] = {}
    waiting = [app]
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen[id(found)] = found  # kept, so that no other object takes its id
        if routes_of(found):
            yield found
        else:
            waiting += _inside(found)


def _behind(route: object) -> Iterator[object]:
    yield _attribute(route, "original_router")
    target = _attribute(route, "app")
    if not isinstance(target, FunctionType):  # else an endpoint, and no app
        yield target
    handler = _attribute(route, "route_handler")  # Litestar's, of a mounted app
    yield _attribute(handler, "fn")


def _cells(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _attribute(app: object, name: str) -> object:
    # Statically first: an app that makes up attributes on demand would never end.
    if inspect.getattr_static(app, name, None) is None:
        return None
    return getattr(app, name, None)
