"""Refusing what cannot be served in time, while it costs next to nothing."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn, TypeAlias

import anyio

from resilient_http.problems import OverloadedException
from server_kit.asgi import (
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    ends_body,
    local_path,
)
from server_kit.checks import (
    check_callable,
    check_count,
    check_path,
    check_seconds,
    wrong,
)
from server_kit.deadlines.cutting import clock, now
from server_kit.exchange import Exchange, exchange_of
from server_kit.shedding.adaptive import AdaptiveLimit
from server_kit.shedding.admission import (
    Admission,
    AdmissionSnapshot,
    Permit,
    Priority,
    Refusal,
    Ticket,
)

Criticality: TypeAlias = Literal["critical", "normal", "sheddable"]
"""What is refused last, what is refused first, and all in between."""

PRIORITIES: Final = {one.name.lower(): one for one in Priority}
NEVER_SHED: Final = frozenset({"/health", "/healthz", "/livez", "/readyz", "/metrics"})
"""Paths of those that look after a service, unless told otherwise."""

_SLACK: Final = 0.5  # of the target: what requests may wait inside, past the queue
_SPREAD: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shedding:
    """When requests are refused with a 503, so that others are served.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of its range.

    """

    target: float = 0.25
    """Seconds that a request may wait for its turn. If it would wait longer, it is
    refused."""

    limit: int = 40
    """Requests in flight to begin with. It adapts to what the app can bear."""

    least_limit: int = 1
    """What the limit never falls below."""

    most_limit: int = 4_000
    """What it never grows beyond. All three alike: it does not adapt."""

    retry_after: float = 1.0
    """Seconds. Who is refused is told to wait for this to three times this, at random,
    so that they do not all come back at once."""

    priorities: Mapping[str, Criticality] = field(default_factory=dict)
    """By beginning of the path, relative to the app; the longest that fits decides.
    "/orders" fits /orders and /orders/5. What fits none is "normal"."""

    header: str = "x-criticality"
    """In which header a trusted caller says how critical a request is."""

    trusted: Callable[[Scope], object] | None = None
    """Tells from a request's scope whether its `header` is believed. None: never."""

    exempt_paths: frozenset[str] = NEVER_SHED
    """Paths, relative to the app, that are neither counted nor refused."""

    def __post_init__(self) -> None:
        check_seconds(self, "target", above=0)
        for name in ("limit", "least_limit", "most_limit"):
            check_count(self, name)
        if not self.least_limit <= self.limit <= self.most_limit:
            raise ValueError(wrong(self, "limit", "from least_limit to most_limit"))
        check_seconds(self, "retry_after", above=0)
        self._check_priorities()
        if not self.header.isascii():
            raise ValueError(wrong(self, "header", "the name of a header"))
        check_callable(self, "trusted")
        if isinstance(self.exempt_paths, str):
            raise TypeError(wrong(self, "exempt_paths", "a collection of paths"))
        object.__setattr__(self, "exempt_paths", frozenset(self.exempt_paths))
        for path in self.exempt_paths:
            check_path(self, "exempt_paths", path)

    def _check_priorities(self) -> None:
        if not isinstance(self.priorities, Mapping):
            raise TypeError(wrong(self, "priorities", "a mapping of paths"))
        for path, said in self.priorities.items():
            check_path(self, "priorities", path)
            if said not in PRIORITIES:
                known = ", ".join(PRIORITIES)
                raise ValueError(wrong(self, "priorities", f"any of {known}"))


class SheddingStage:
    """Let as many requests through as can be served in time.

    Args:
        app: What serves them.
        settings: When that is.
        uniform: Draws from between two numbers.

    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Shedding,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._app = app
        self._settings = settings
        self._uniform = uniform
        limit = AdaptiveLimit(
            settings.limit,
            settings.least_limit,
            settings.most_limit,
            settings.target * _SLACK,
        )
        self._admission = Admission(limit, settings.target)
        self._header = settings.header.lower().encode()
        by_length = sorted(settings.priorities, key=len, reverse=True)
        self._routes = [
            (path.rstrip("/"), PRIORITIES[settings.priorities[path]])
            for path in by_length
        ]

    def snapshot(self) -> AdmissionSnapshot:
        """Return how many there are, and how many there may be."""
        return self._admission.snapshot()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        exchange = exchange_of(scope)
        if (
            scope["type"] != "http"
            or exchange is None
            or self._is_exempt(scope, exchange)
        ):
            await self._app(scope, receive, send)
            return
        exchange.is_admitted = True
        visit = _Visit(self._admission, send, clock())
        visit.permit = await self._admit(scope, exchange, visit.now())
        try:
            await self._app(scope, receive, visit.send)
        finally:
            visit.end()

    def _is_exempt(self, scope: Scope, exchange: Exchange) -> bool:
        around = exchange.outer
        while around is not None:
            if around.is_admitted:  # by a wrapped app around this one
                return True
            around = around.outer
        exempt = self._settings.exempt_paths
        return exchange.is_health or (bool(exempt) and local_path(scope) in exempt)

    async def _admit(self, scope: Scope, exchange: Exchange, arrived: float) -> Permit:
        left = math.inf if exchange.ends is None else exchange.ends - arrived
        event = _Wake()
        priority = self._priority(scope)
        answer = self._admission.admit(arrived, priority, event.set, left)
        if isinstance(answer, Ticket):
            exchange.queues(is_waiting=True)
            await self._wait(answer, event)
            exchange.queues(is_waiting=False)
            exchange.has_queued(now() - arrived)
            answer = answer.permit or Refusal()
        if isinstance(answer, Refusal):
            self._refuse()
        return answer

    async def _wait(self, ticket: Ticket, event: "_Wake") -> None:
        was_cut = True
        try:
            with anyio.move_on_after(self._settings.target):
                await event.wait()
            was_cut = False
        finally:
            if was_cut or ticket.permit is None:
                self._admission.leave(ticket, now(), in_vain=not was_cut)

    def _refuse(self) -> NoReturn:
        least = self._settings.retry_after
        wait = self._uniform(least, least * _SPREAD)
        raise OverloadedException("Too much is being served", retry_after=wait)

    def _priority(self, scope: Scope) -> Priority:
        trusted = self._settings.trusted
        if trusted is not None:
            for name, value in scope.get("headers") or ():
                if name == self._header and trusted(scope):
                    said = PRIORITIES.get(value.decode("latin-1").strip().lower())
                    if said is not None:
                        return said
        if not self._routes:
            return Priority.NORMAL
        path = local_path(scope)
        fitting = (rank for start, rank in self._routes if _fits(path, start))
        return next(fitting, Priority.NORMAL)


def _fits(path: str, start: str) -> bool:
    return path.startswith(start) and path[len(start) : len(start) + 1] in ("", "/")


class _Wake:
    """An event that is made when somebody waits: most requests do not."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def set(self) -> None:
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        self._event = anyio.Event()
        await self._event.wait()


class _Visit:
    """One request in flight, and the place it has until its response is over."""

    __slots__ = ("_admission", "_has_ended", "_send", "now", "permit")
    permit: Permit

    def __init__(
        self, admission: Admission, send: Send, now: Callable[[], float]
    ) -> None:
        self._admission = admission
        self._send = send
        self.now = now
        self._has_ended = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._admission.answered(self.permit, self.now())
        await self._send(message)
        if ends_body(message):
            self.end()

    def end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._admission.release(self.permit, self.now())
