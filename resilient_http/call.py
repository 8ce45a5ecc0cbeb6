"""A call under way: what was asked for, by when, and what has become of it."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final, Protocol
from uuid import uuid4

from resilient_http import errors
from resilient_http._core.attempt import Attempt
from resilient_http._core.limits import Limits
from resilient_http.context import is_sending, time_left
from resilient_http.settings import (
    Settings,
    deadline_of,
    is_said_idempotent,
)

_OUR_KEY: Final = "resilient_http.idempotency_key"

current: Final[ContextVar["Call"]] = ContextVar("current")
"""The call that what runs is part of: httpx makes the hops, and hands none of it on."""


class Sender(Protocol):
    """A client or a transport of ours."""

    is_closed: bool
    """Whether nothing may be sent any more."""

    def transports(self) -> Iterable[object]:
        """Return what it sends through."""


class Call:
    """What the caller asked for: one request, and the redirects it leads to.

    Args:
        settings: Of the client.
        request: The first request. Its extensions may hold a `policy` or a `deadline`
            of its own, or say that it is `idempotent`.
        streamed: Whether the caller reads the body, so that the defaults for time no
            longer apply to it.
        sender: The client or transport that makes it.

    """

    # Defaults of the class, and not set for each: there is one of these for each call.
    attempts: tuple[Attempt, ...] = ()
    sends = 0
    announced: frozenset[str] = frozenset()
    """The headers of ours that the request carries."""
    is_said_idempotent = False
    loop: Any = None
    """The asyncio loop it is made in; None where there is none."""

    def __init__(
        self,
        settings: Settings,
        request: Any,
        *,
        streamed: bool,
        sender: Sender,
    ) -> None:
        own, policy = None, settings.policy
        extensions = request.extensions
        if len(extensions) != 1 or "timeout" not in extensions:  # which is httpx's own
            own = deadline_of(request)
            self.is_said_idempotent = is_said_idempotent(request)
            policy = settings.policy_for(request)
        elif settings.routes is not None:
            policy = settings.policy_for(request)
        self.settings = settings
        self.family = settings.family
        self.policy = policy
        self.streamed = streamed
        self.sender = sender
        self.is_nested = is_sending.get()
        """Whether a call around this one does the retries."""
        self.retry = None if self.is_nested else policy.retry
        """When to try again; None for never."""
        if policy.idempotency_keys and request.method in ("POST", "PATCH"):
            _give_key(request)
        self.now: Callable[[], float] = settings.state.clock.now
        """Return the time on the clock of the state."""
        self.began = self.now()
        self.limits = Limits(
            self.began,
            deadline=policy.deadline if own is None else own,
            attempt=policy.attempt_timeout,
            longest_phase=settings.longest_phase_of(request),
            outer=time_left(),
        )

    @property
    def expected(self) -> tuple[type[Exception], ...]:
        """What a transport may raise in place of an answer."""
        retry, expected = self.policy.retry, self.family.expected
        chosen = None if retry is None else retry.retryable_exceptions
        return expected if chosen is None else (*expected, *chosen)

    def chosen_left(self) -> float:
        """Return what is left of the deadline that somebody chose, in seconds."""
        return self.limits.chosen - self.now()

    def left(self) -> float:
        """Return what is left of the call, in seconds."""
        return self.limits.call_at - self.now()

    def too_late(self, request: Any) -> Exception:
        """Return what ends a call whose time is over."""
        waited = self.now() - self.began
        return errors.deadline_exceeded(waited, request, self.attempts, self.family)


def _give_key(request: Any) -> None:
    """Give a request a key of its own, unless its sender has.

    One that was sent before still has ours: a new call is not a repeat of the old.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None or key == request.extensions.get(_OUR_KEY):
        # A structured-field string: draft-ietf-httpapi-idempotency-key-header.
        key = request.extensions[_OUR_KEY] = f'"{uuid4()}"'
        request.headers["Idempotency-Key"] = key
