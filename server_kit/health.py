"""Telling those that look after a service whether it lives, and whether it is ready.

`/livez` says that the process answers, and nothing else: if it depended on a database,
an outage of that would have every instance restarted. `/readyz` asks what the service
cannot do without. The answers are `application/health+json`
(draft-inadarei-api-health-check-06).
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import anyio

from resilient_http.problems import AppException, encode
from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send, local_path
from server_kit.checks import check_path, check_seconds, wrong
from server_kit.exchange import exchange_of
from server_kit.problems import Answer, logger

Check: TypeAlias = Callable[[], object | Awaitable[object]]
"""Raises, or returns False, if what it looks at cannot be used."""

Detail: TypeAlias = Callable[[], object]
"""Returns what is to be shown, as plain data."""

_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Two routes about the state of an app. Is an ASGI app itself, to be mounted.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of its range.

    """

    checks: Mapping[str, Check] = field(default_factory=dict)
    """By name, what the app cannot serve without, sync or async. They run together."""

    details: Mapping[str, Detail] = field(default_factory=dict)
    """By name, what is shown with `ready` and decides nothing, such as
    `client.snapshot` with its breakers. Whoever can ask sees it."""

    timeout: float = 1.0
    """Seconds after which a check has failed."""

    live: str = "/livez"
    """Path, relative to the app, of the answer that is always 200."""

    ready: str = "/readyz"
    """Path, relative to the app, of the answer that is 503 while a check fails."""

    def __post_init__(self) -> None:
        for name in ("checks", "details"):
            value = getattr(self, name)
            if not isinstance(value, Mapping) or not all(map(callable, value.values())):
                raise TypeError(wrong(self, name, "a mapping of names to callables"))
        check_seconds(self, "timeout", above=0)
        for name in ("live", "ready"):
            check_path(self, name, getattr(self, name))

    def asks(self, scope: Scope) -> bool:
        """Tell whether a request is for one of the two."""
        is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        return is_read and local_path(scope) in (self.live, self.ready)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Serve one request; for other paths and methods there is a 404."""
        if scope["type"] != "http":
            raise RuntimeError(f"Health serves http, not {scope['type']}")
        if not self.asks(scope):
            await _answer(404, {"status": "fail"}).send(scope, send)
            return
        await (await self.answer(scope)).send(scope, send)

    async def answer(self, scope: Scope) -> Answer:
        """Return the answer to a request that `asks`."""
        if local_path(scope) == self.live:
            return _answer(200, {"status": "pass"})
        passed = await self._passed()
        is_ready = all(passed.values())
        said: dict[str, Any] = {"status": _status(is_ready)}
        said["checks"] = {name: [{"status": _status(passed[name])}] for name in passed}
        if self.details:
            shown = {name: _shown(name, show) for name, show in self.details.items()}
            said["details"] = shown
        return _answer(200 if is_ready else 503, said)

    async def _passed(self) -> dict[str, bool]:
        passed = dict.fromkeys(self.checks, False)
        async with anyio.create_task_group() as group:
            for name, check in self.checks.items():
                group.start_soon(self._run, name, check, passed)
        return passed

    async def _run(self, name: str, check: Check, passed: dict[str, bool]) -> None:
        with anyio.move_on_after(self.timeout):
            try:
                found = check()
                if inspect.isawaitable(found):
                    found = await found
            except Exception as error:  # noqa: BLE001 - whatever it raises, it failed
                # Not in the answer: it may name hosts, and who asks may be anybody.
                logger.warning("the check of %s failed: %r", name, error)
            else:
                passed[name] = found is not False


class HealthStage:
    """Answer for `app` where it has no such route itself.

    Args:
        app: Is asked first; its 404 is replaced.
        settings: What is answered.

    """

    def __init__(self, app: ASGIApp, settings: Health) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not self._settings.asks(scope):
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.is_health = True
        asked = dict(scope)  # frameworks change it
        own = _Own(send)
        try:
            await self._app(scope, receive, own.send)
        except AppException as error:
            if error.status != _NOT_FOUND:
                raise
            own.is_missing = True
        if own.is_missing:
            await (await self._settings.answer(asked)).send(asked, send)


class _Own:
    """The app's own answer, if it is one."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_missing = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_missing = message["status"] == _NOT_FOUND
        if not self.is_missing:
            await self._send(message)


def _status(is_good: bool) -> str:  # noqa: FBT001 - it is the value to name
    return "pass" if is_good else "fail"


def _shown(name: str, show: Detail) -> object:
    try:
        return show()
    except Exception:  # noqa: BLE001 - a detail decides nothing, and fails nothing
        logger.exception("the detail %s could not be shown", name)
        return None


def _answer(status: int, said: Mapping[str, object]) -> Answer:
    body = encode(said)
    headers = [
        (b"content-type", b"application/health+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return Answer(status, headers, body)
