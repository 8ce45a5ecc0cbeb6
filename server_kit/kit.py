"""`wrap`: the outermost app, around any other. Pure ASGI.

A request goes one way through it::

    server -> _Kit      -> stages -> app    an Exchange in the scope, ids around
    server <- Responder <----------- app    headers completed; what nobody has
                                            answered, answered

The stages may answer in the app's place, by raising a problem: health, deadlines,
shedding, idempotency, in that order. A websocket goes through `SocketResponder`, and
whoever wants to know what became of a request has a `Watch` before all of it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar, cast, get_args

from resilient_http import context
from resilient_http.problems import Contract
from server_kit import request_id
from server_kit.access_log import AccessLog, Listener, Watch, observer_of
from server_kit.asgi import ASGIApp, Receive, Scope, Send, values_of
from server_kit.deadlines import Deadlines, DeadlineStage
from server_kit.exchange import KEY, Exchange, Instance, exchange_of
from server_kit.frameworks import adopt, document
from server_kit.health import Health, HealthStage
from server_kit.idempotency import Idempotency
from server_kit.idempotency import Stage as IdempotencyStage
from server_kit.openapi.implied import Documented, by_settings
from server_kit.problems import BUILT_INS
from server_kit.proxies import TrustedProxies, trust
from server_kit.ratelimit import RateLimiter
from server_kit.responder import Responder
from server_kit.security import DEFAULT, SecurityHeaders, nonce
from server_kit.security.servers import warn_of_disclosure
from server_kit.shedding import Shedding, SheddingStage
from server_kit.translation import NO_EXCEPTIONS, Table, checked_table
from server_kit.websocket import SocketResponder

# Any callable to type checkers: frameworks type their scopes and messages each in its
# own way.
_App = TypeVar("_App", bound=Callable[..., Any])

_DEADLINES: Final = Deadlines()


def wrap(  # noqa: PLR0913 - what a kit may be told, each by its name
    app: _App,
    *,
    contract: Contract | None = None,
    exceptions: Table = NO_EXCEPTIONS,
    instance: Instance = "path",
    debug: bool = False,
    security: SecurityHeaders | None = DEFAULT,
    limiter: RateLimiter | None = None,
    trusted_proxies: TrustedProxies | None = None,
    deadlines: Deadlines | None = _DEADLINES,
    shedding: Shedding | None = None,
    idempotency: Idempotency | None = None,
    health: Health | None = None,
    access_log: AccessLog | None = None,
    listeners: Iterable[Listener] = (),
) -> _App:
    """Return an ASGI app around `app` whose every error leaves as a problem document.

    To be outermost::

        app = server_kit.wrap(FastAPI(), contract=SHOP)

    Attributes are passed on to `app`, both ways, so that `@app.get(...)` goes on
    working; to type checkers the result is `app` itself.

    FastAPI, Starlette and Litestar apps found in `app`, mounted ones too, get handlers
    and middlewares of ours when the first event arrives. Those answer what comes
    through a wrapped app and nothing else. Handlers registered before then are kept,
    and win over ours.

    A wrapped app may be mounted in another: each answers by its own settings, and the
    outer one adds what is not there yet.

    Args:
        app: Any ASGI application.
        contract: How its problems are written. None: as in the wrapped app around it,
            or else with the built-in ones alone.
        exceptions: What other libraries' exceptions stand for: a problem class that
            can be raised without arguments, or a function of the exception that
            returns a problem, or None for a crash. The nearest class in the
            exception's MRO decides; a problem is never looked up.
        instance: What problems have as their `instance`: "path", that of the request;
            or "urn", one of its own for each occurrence (RFC 9457, section 3.1.5).
        debug: Whether a 500 tells what went wrong, traceback included, and
            Strict-Transport-Security is left out. Not for production.
        security: Which security headers to add; None adds none.
        limiter: Whom the rate limit dependencies ask. None: that of the wrapped app
            around it, or else one in memory.
        trusted_proxies: Whom to believe about who the client is, for rate limits,
            idempotency and the access log. None: nobody. The outermost wrapped app that
            has any decides.
        deadlines: How long requests may take; None leaves that to them. The outermost
            wrapped app that has any decides.
        shedding: When requests are refused for want of room; None refuses none.
        idempotency: How `Idempotency-Key` is honoured. None: it is not looked at.
        health: Which routes tell of the state of the app, where it has none of that
            name itself; None adds none.
        access_log: What to write about each request. None: nothing. Of wrapped apps
            inside each other, the outermost one writes.
        listeners: Called with a `RequestServed` for each request, as the access log is.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `instance` is neither.

    """
    if isinstance(app, type) or not callable(app):
        raise TypeError(f"app must be an ASGI application, got {app!r}")
    settings = _Settings(
        contract=contract,
        exceptions=checked_table(exceptions),
        instance=instance,
        debug=debug,
        security=security,
        limiter=limiter,
        trusted_proxies=trusted_proxies,
        deadlines=deadlines,
        shedding=shedding,
        idempotency=idempotency,
        health=health,
        access_log=access_log,
        listeners=tuple(listeners),
    )
    return cast("_App", _Kit(app, settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The arguments of `wrap`."""

    contract: Contract | None
    exceptions: Table
    instance: Instance
    debug: bool
    security: SecurityHeaders | None
    limiter: RateLimiter | None
    trusted_proxies: TrustedProxies | None
    deadlines: Deadlines | None
    shedding: Shedding | None
    idempotency: Idempotency | None
    health: Health | None
    access_log: AccessLog | None
    listeners: tuple[Listener, ...]

    def __post_init__(self) -> None:
        _check("contract", self.contract, Contract | None)
        if self.instance not in get_args(Instance):
            raise ValueError(f"instance must be path or urn, got {self.instance!r}")
        _check("debug", self.debug, bool)
        _check("security", self.security, SecurityHeaders | None)
        _check("limiter", self.limiter, RateLimiter | None)
        _check("trusted_proxies", self.trusted_proxies, TrustedProxies | None)
        _check("deadlines", self.deadlines, Deadlines | None)
        _check("shedding", self.shedding, Shedding | None)
        _check("idempotency", self.idempotency, Idempotency | None)
        _check("health", self.health, Health | None)
        _check("access_log", self.access_log, AccessLog | None)
        for listener in self.listeners:
            if not callable(listener):
                raise TypeError(f"listeners must be callables, got {listener!r}")


def _check(name: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        expected = getattr(kind, "__name__", kind)
        raise TypeError(f"{name} must be {expected}, got {value!r}")


def _stages(app: ASGIApp, settings: _Settings) -> ASGIApp:
    """Return `app` within what may refuse a request, or cut it short."""
    health = settings.health
    if settings.idempotency is not None:
        app = IdempotencyStage(app, settings.idempotency)
    if settings.shedding is not None:
        app = shedding = SheddingStage(app, settings.shedding)
        if health is not None:
            details = {"shedding": shedding.snapshot, **health.details}
            health = replace(health, details=details)
    if settings.deadlines is not None:
        app = DeadlineStage(app, settings.deadlines)
    return app if health is None else HealthStage(app, health)


# W3C Trace Context, section 3.2: version, trace id, parent id, flags, and what later
# versions may add.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{0,128})?"
)


class _Kit:
    """A wrapped app. See `wrap`."""

    __slots__ = (
        *("_app", "_documented", "_is_adopted", "_observer", "_settings", "_stages"),
    )

    def __init__(self, app: ASGIApp, settings: _Settings) -> None:
        self._app = app
        self._settings = settings
        self._documented = Documented(settings.contract, partial(by_settings, settings))
        self._observer = observer_of(settings.access_log, settings.listeners)
        self._stages = _stages(app, settings)
        self._is_adopted = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not self._is_adopted:
            adopt(self._app, self._documented)
            warn_of_disclosure(send, self._settings.security)
            self._is_adopted = True
        if scope["type"] in ("http", "websocket"):
            await self._serve(scope, receive, send)
        else:
            await self._stages(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        outer = exchange_of(scope)
        scope[KEY] = exchange = self._exchange(scope, outer)
        trust(scope, self._settings.trusted_proxies)
        is_socket = scope["type"] == "websocket"
        watch = None
        if self._observer is not None and outer is None and not is_socket:
            watch = Watch(self._observer, exchange, scope, receive, send)
            receive, send = watch.receive, watch.send
        kind = SocketResponder if is_socket else Responder
        responder = kind(self._stages, exchange, self._settings.security, scope, send)
        request_token = context.request_id.set(exchange.request_id)
        trace_token = context.traceparent.set(_traceparent(scope))
        # Whoever calls us from within its own process does its own retries.
        sending_token = context.is_sending.set(False)
        nonce_token = nonce.begin(scope, is_secured=self._settings.security is not None)
        try:
            await responder.serve(receive)
        finally:
            if watch is not None:
                watch.over()
            nonce.end(nonce_token)
            context.is_sending.reset(sending_token)
            context.traceparent.reset(trace_token)
            context.request_id.reset(request_token)
            if outer is not None:
                scope[KEY] = outer

    def _exchange(self, scope: Scope, outer: Exchange | None) -> Exchange:
        given = self._settings
        if outer is None:
            return Exchange(
                contract=BUILT_INS if given.contract is None else given.contract,
                limiter=given.limiter,
                request_id=request_id.choose(scope.get("headers") or ()),
                path=str(scope.get("path", "")),
                debug=given.debug,
                exceptions=given.exceptions,
                instance=given.instance,
            )
        return Exchange(
            contract=outer.contract if given.contract is None else given.contract,
            limiter=outer.limiter if given.limiter is None else given.limiter,
            request_id=outer.request_id,
            path=outer.path,
            debug=given.debug,
            exceptions=given.exceptions,
            instance=given.instance,
            decisions=outer.decisions,
            outer=outer,
        )

    def __getattr__(self, name: str) -> Any:
        if name in _Kit.__slots__:  # not set yet, while it is being copied
            raise AttributeError(name)
        if name == "openapi":  # it may be asked for before there is a request
            document(self._app, self._documented)
        return getattr(self._app, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _Kit.__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(self._app, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._app, name)

    def __repr__(self) -> str:
        return f"wrap({self._app!r})"


def _traceparent(scope: Scope) -> str | None:
    """Return the caller's trace context, if it is one; it is handed on as it came."""
    given = values_of(scope.get("headers") or (), b"traceparent")
    if len(given) != 1 or not _TRACEPARENT.fullmatch(given[0]):
        return None
    return given[0].decode("ascii")
