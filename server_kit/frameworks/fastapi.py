"""FastAPI: problems in its OpenAPI document, by what it knows of its routes."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.security.base import SecurityBase

from resilient_http.problems import (
    AppException,
    RateLimitException,
    UnauthorizedException,
    for_status,
)
from server_kit.frameworks.routes import flat
from server_kit.openapi.document import Document, Operation, describe
from server_kit.openapi.implied import Documented, by_input
from server_kit.openapi.raises import Declared, declared_by
from server_kit.problems import BUILT_INS
from server_kit.ratelimit.dependencies import RateLimitDependency
from server_kit.ratelimit.middleware import EXEMPT, RateLimitMiddleware


def document(app: FastAPI, documented: Documented) -> None:
    """Have `app.openapi()` tell of problems, however often it is made anew."""
    current: Any = app.openapi
    if isinstance(current, _Described):
        current.documented = documented.within(current.documented)
    else:
        described: Any = _Described(app, documented)
        app.openapi = described  # type: ignore[method-assign]  # as FastAPI's docs do


class _Described:
    """The `openapi` of an app, whose result is described once."""

    def __init__(self, app: FastAPI, documented: Documented) -> None:
        self.documented = documented
        self._app = app
        self._made = app.openapi
        self._described: Document | None = None

    def __call__(self) -> Document:
        made = self._made()
        # FastAPI returns the same one until a route is added.
        if made is not self._described:
            contract = self.documented.contract or BUILT_INS
            describe(made, contract, operations(self._app, self.documented))
            self._described = made
        return made


def operations(
    app: FastAPI, documented: Documented
) -> dict[tuple[str, str], Operation]:
    """Return what is known of every operation of `app`."""
    found = {}
    for route in flat(app.routes):
        dependant = getattr(route, "dependant", None)
        for method in getattr(route, "methods", None) or ():
            if dependant is not None:
                key = (route.path_format, method.lower())
                found[key] = operation(app, route, documented, method.lower())
    return found


def operation(
    app: FastAPI, route: Any, documented: Documented, method: str
) -> Operation:
    """Return what is known of one route, for one of its methods."""
    ours = {
        str(status): response
        for status, response in route.responses.items()
        if isinstance(response, Declared)
    }
    theirs = {str(status) for status in route.responses} - ours.keys()
    dependants = [*_all(route.dependant)]
    declared = [problem for found in ours.values() for problem in found.problems]
    for dependant in dependants:  # the first is the endpoint
        declared += declared_by(dependant.call)
    implied = [*documented.everywhere(method), *_limits(app, route)]
    for dependant in dependants:
        implied += _by_call(dependant.call)
    is_checked = _checks(app)
    if is_checked:
        takes = any(map(_has_parameters, dependants))
        has_body = route.body_field is not None
        implied += by_input(has_parameters=takes, has_body=has_body)
    default = {"422"} - theirs if is_checked else set[str]()
    return Operation(
        tuple(dict.fromkeys(declared)),
        tuple(dict.fromkeys(implied)),
        frozenset(ours.keys() | default),
    )


def _all(dependant: Any) -> Iterator[Any]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _all(inner)


def _has_parameters(dependant: Any) -> bool:
    names = ("path_params", "query_params", "header_params", "cookie_params")
    return any(getattr(dependant, name) for name in names)


def _by_call(call: object) -> Iterator[type[AppException]]:
    if isinstance(call, RateLimitDependency):
        yield RateLimitException
    elif isinstance(call, SecurityBase) and getattr(call, "auto_error", False):
        refusal = getattr(call, "make_not_authenticated_error", None)
        status = 401 if refusal is None else refusal().status_code
        found = type(for_status(status))
        yield UnauthorizedException if found is AppException else found


def _limits(app: FastAPI, route: Any) -> Iterator[type[AppException]]:
    for middleware in app.user_middleware:
        exempt: Any = middleware.kwargs.get("exempt_paths", EXEMPT)
        is_limit: bool = middleware.cls is RateLimitMiddleware  # type: ignore[comparison-overlap]  # typed as a factory
        is_shadow = middleware.kwargs.get("shadow", False)
        if is_limit and not is_shadow and route.path_format not in exempt:
            yield RateLimitException


def _checks(app: FastAPI) -> bool:
    """Whether invalid requests are answered by us, and not by a handler of a user's."""
    handler = app.exception_handlers.get(RequestValidationError)
    module = getattr(handler, "__module__", "")
    return module.startswith(("fastapi.", "server_kit."))
