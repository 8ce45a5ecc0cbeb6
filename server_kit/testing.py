"""For tests: handlers raise nothing but what they have declared.

    with declared_only(app) as checked:
        client = TestClient(checked)
        client.post("/orders", json={...})

What a client can rely on is what the OpenAPI document says. This fails where the code
says more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from resilient_http.problems import AppException
from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send
from server_kit.exchange import exchange_of
from server_kit.frameworks.declared import Handler, handler_of

_METHOD_NOT_ALLOWED: Final = 405


class UndeclaredProblemError(AssertionError):
    """Handlers answered problems that they had not declared."""


@contextmanager
def declared_only(app: ASGIApp) -> Iterator[ASGIApp]:
    """Give an app that serves as `app` does, and fail in the end over what it let out.

    What a route implies by itself counts as declared, as it does in the document; so
    do the statuses among its own `responses`. What no route answers, a 404 or a 405,
    belongs to nobody. Handlers of raw ASGI apps cannot be told apart, and are not
    checked.

    Args:
        app: What `server_kit.wrap` returned, around anything else if need be.

    Raises:
        UndeclaredProblemError: At the end of the block. It names each route, once for
            each problem.

    """
    checked = _Checked(app)
    yield checked
    if checked.undeclared:
        raise UndeclaredProblemError("\n".join(sorted(checked.undeclared)))


class _Checked:
    """An app whose answers are compared with what its handlers declare."""

    def __init__(self, app: ASGIApp) -> None:
        self.undeclared: set[str] = set()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = {**scope}  # frameworks change it on the way
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            exchange = exchange_of(scope)
            problem = None if exchange is None else exchange.problem
            if problem is not None and status != _METHOD_NOT_ALLOWED:
                self._check(problem.kind, status, handler_of(self._app, asked, scope))

    def _check(
        self, answered: type[AppException], status: int, handler: Handler | None
    ) -> None:
        if handler is not None and not handler.may_answer(answered, status):
            said = f"{handler.name} answered {answered.__name__} ({status}), undeclared"
            self.undeclared.add(said)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)
