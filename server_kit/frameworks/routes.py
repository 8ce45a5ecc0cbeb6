"""Where a request leads, among routes of Starlette's kind."""

from collections.abc import Iterator
from typing import Any

from starlette.routing import BaseRoute


def flat(routes: list[Any]) -> Iterator[Any]:
    """Yield `routes`, those of FastAPI's included routers in their places."""
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is not None:
            for context in contexts():
                yield context.starlette_route or context
        elif isinstance(route, BaseRoute):  # Litestar has routes of another kind
            yield route
