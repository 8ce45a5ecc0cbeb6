"""How a route says which problems it may raise."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final, TypeVar

from resilient_http.problems import MEDIA_TYPE, AppException, UpstreamException

_MARK: Final = "__problems__"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_BAD_GATEWAY: Final = (
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class Raises(dict[int | str, dict[str, Any]]):
    """Problems that a route may raise; what `raises` returns.

    For FastAPI's `responses=`, and as a decorator of any handler or dependency.
    """

    def __init__(self, problems: Iterable[type[AppException]]) -> None:
        by_status: dict[int, list[type[AppException]]] = {}
        for problem in problems:
            _check(problem)
            for status in statuses_of(problem):
                by_status.setdefault(status, []).append(problem)
        super().__init__({s: Declared(found) for s, found in by_status.items()})
        self.problems = tuple(dict.fromkeys(problems))

    def __call__(self, function: _Function) -> _Function:
        """Note on `function` that it may raise these, and return it."""
        known = declared_by(function)
        setattr(function, _MARK, tuple(dict.fromkeys([*known, *self.problems])))
        return function


class Declared(dict[str, Any]):
    """One response in FastAPI's `responses`, which the kit fills in.

    Where there is no kit around it says that much: that a problem may be answered.
    """

    def __init__(self, problems: Iterable[type[AppException]]) -> None:
        self.problems = tuple(problems)
        schema = {"type": "object"}
        super().__init__(
            description=described(self.problems),
            content={MEDIA_TYPE: {"schema": schema}},
        )


def raises(*problems: type[AppException]) -> Raises:
    """Declare the problems that a route may raise, for its OpenAPI document.

        @app.post("/orders", responses=raises(OutOfStock, PaymentDeclined))

    In FastAPI it is the `responses` of a route, a router or an app. As a decorator it
    stands on handlers of any framework, and on dependencies::

        @get("/orders")
        @raises(OutOfStock)
        async def orders() -> list[Order]: ...

    What a route implies by itself need not be declared: rate limits, invalid
    parameters, missing credentials, crashes. See `server_kit.testing.declared_only`
    for a test of what it does not.

    Raises:
        TypeError: One is no problem class, or has no type.

    """
    return Raises(problems)


def declared_by(function: object) -> tuple[type[AppException], ...]:
    """Return the problems that a handler or a dependency was decorated with."""
    found = getattr(function, _MARK, ())
    return found if isinstance(found, tuple) else ()


def statuses_of(problem: type[AppException]) -> tuple[int, ...]:
    """Return the statuses that a problem is answered with."""
    if issubclass(problem, UpstreamException):
        return tuple(map(int, _BAD_GATEWAY))
    return (problem.status,)


def described(problems: Iterable[type[AppException]]) -> str:
    """Return a line about the response that carries one of `problems`."""
    return " or ".join(dict.fromkeys(problem.title for problem in problems))


def _check(problem: Any) -> None:
    if not (isinstance(problem, type) and issubclass(problem, AppException)):
        raise TypeError(f"raises() takes problem classes, got {problem!r}")
    if "type" not in vars(problem) or problem is AppException:
        raise TypeError(f"raises() takes problems with a type: {problem.__name__}")
