"""Litestar: problems in its OpenAPI document, by what it knows of its handlers."""

from collections.abc import Iterator
from typing import Any

from litestar import Litestar
from litestar._openapi.plugin import (
    OpenAPIPlugin,
)

from resilient_http.problems import AppException, for_status
from server_kit.openapi.document import Document, Operation, describe
from server_kit.openapi.implied import Documented, by_input
from server_kit.openapi.raises import declared_by
from server_kit.problems import BUILT_INS


def document(app: Litestar, documented: Documented) -> None:
    """Have the schema that `app` serves tell of problems."""
    plugin: Any = app.plugins.get(OpenAPIPlugin)
    if isinstance(plugin, _Described):
        type(plugin).documented = documented.within(plugin.documented)
    else:
        # The plugin has slots, so what we know of it is in a class of its own.
        own = {"__slots__": (), "documented": documented}
        plugin.__class__ = type("DescribedPlugin", (_Described,), own)


class _Described(OpenAPIPlugin):
    """Litestar's own plugin, whose schema is described once it is made."""

    __slots__ = ()
    documented: Documented

    def provide_openapi_schema(self) -> dict[str, Any]:
        is_new = not self._openapi_schema
        schema = super().provide_openapi_schema()
        if is_new:
            contract = self.documented.contract or BUILT_INS
            routes = self.included_routes.values()
            describe(schema, contract, _operations(routes, self.documented, schema))
        return schema


def _operations(
    routes: Any, documented: Documented, schema: Document
) -> dict[tuple[str, str], Operation]:
    found = {}
    for route in routes:
        path = route.path_format or "/"
        for method, (handler, _) in route.route_handler_map.items():
            written = schema["paths"].get(path, {}).get(method.lower(), {})
            known = _operation(handler, written, documented, method.lower())
            found[path, method.lower()] = known
    return found


def _operation(
    handler: Any, written: Document, documented: Documented, method: str
) -> Operation:
    raised = {str(error.status_code): error for error in handler.raises or ()}
    known = {status: _class_for(int(status)) for status in raised}
    implied = [
        *documented.everywhere(method),
        *by_input(
            has_parameters=bool(written.get("parameters")),
            has_body=bool(written.get("requestBody")),
        ),
        *(problem for problem in known.values() if problem is not None),
    ]
    theirs = {str(status) for status in handler.responses or ()}
    # It describes its own validation as a 400, which ours is not.
    ours = {"400", *(status for status, problem in known.items() if problem)}
    return Operation(
        declared_of(handler), tuple(dict.fromkeys(implied)), frozenset(ours - theirs)
    )


def declared_of(handler: Any) -> tuple[type[AppException], ...]:
    """Return what a handler, its dependencies and its guards say they may raise."""
    return tuple(dict.fromkeys(_declared_of(handler)))


def _declared_of(handler: Any) -> Iterator[type[AppException]]:
    yield from (*declared_by(handler), *declared_by(handler.fn))
    for provided in handler.resolve_dependencies().values():
        yield from declared_by(provided.dependency)
    for guard in handler.resolve_guards():
        yield from declared_by(getattr(guard, "func", guard))


def _class_for(status: int) -> type[AppException] | None:
    found = type(for_status(status))
    return None if found is AppException else found
