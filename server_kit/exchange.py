"""What the kit knows of one request, where everything that serves it can find it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from resilient_http.problems import AppException, Contract
from server_kit.asgi import Scope
from server_kit.translation import Table

if TYPE_CHECKING:  # it answers through `problems`, which needs this module
    from server_kit.ratelimit.limiter import RateLimiter
    from server_kit.ratelimit.quota import Charge

Instance: TypeAlias = Literal["path", "urn"]
KEY: Final = "server_kit"
"""Where in the ASGI scope it stands."""


class Told(NamedTuple):
    """A problem that was answered.

    Not the exception: that holds the frames it was raised in, and they the request.
    """

    kind: type[AppException]
    """The contract's class."""

    type: str
    """What its document says it is."""

    status: int


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its response, under one `wrap`.

    Where a wrapped app is mounted in another, each has an exchange of its own; they
    share the request's id and the decisions about it.
    """

    contract: Contract
    """How the app's problems are written."""

    limiter: "RateLimiter | None"
    """Whom the rate limit dependencies ask; None leaves them to their own."""

    request_id: str
    """The caller's, if it can be repeated; ours otherwise."""

    path: str
    """As it was requested: frameworks shorten the one in the scope."""

    debug: bool
    """Whether a 500 may tell what went wrong."""

    exceptions: Table = field(default_factory=dict)
    """Which problems other libraries' exceptions stand for."""

    instance: Instance = "path"
    """What an occurrence is told by: the path of the request, or a URN of its own."""

    decisions: "list[Charge]" = field(default_factory=list)
    """What limiters said about the request, for the response's rate limit fields."""

    outer: "Exchange | None" = None
    """That of the wrapped app around this one."""

    ends: float | None = None
    """When the request is out of time, by the clock of the loop.

    Infinity: never. None: no `Deadlines` has looked at it.
    """

    is_waiting: bool = False
    """Whether it was last seen in our queue, its work not begun."""

    is_admitted: bool = False
    """Whether `Shedding` has counted it; no other counts it again."""

    is_health: bool = False
    """Whether it asks after the health of the app, and is of no interest otherwise."""

    crash: Exception | None = None
    """What was answered with a 500, and has yet to reach the server."""

    raised: Exception | None = None
    """What ends a websocket, where a framework would tell it in its own words."""

    problem: Told | None = None
    """What was answered, if it was a problem."""

    routed: Scope | None = None
    """The scope in which the innermost framework tells of its route; None: in the
    server's own."""

    queued: float = 0.0
    """Seconds that the request waited for its turn."""

    idempotency: Literal["claimed", "replayed"] | None = None
    """What became of its idempotency key here; None if none was looked at."""

    def queues(self, *, is_waiting: bool) -> None:
        """Note, here and in all that is around, whether it is in our queue."""
        for exchange in self.with_all_around():
            exchange.is_waiting = is_waiting

    def has_queued(self, seconds: float) -> None:
        """Note, here and in all that is around, how long it was there."""
        for exchange in self.with_all_around():
            exchange.queued = seconds

    def crashed(self, error: Exception) -> None:
        """Note a crash, here and in all that is around."""
        for exchange in self.with_all_around():
            exchange.crash = error

    def answered(self, problem: Told | None) -> None:
        """Note which problem was answered, if any, here and in all that is around."""
        for exchange in self.with_all_around():
            exchange.problem = problem

    def routing(self, scope: Scope) -> None:
        """Note where a framework is about to tell of its route."""
        for exchange in self.with_all_around():
            exchange.routed = scope

    def with_all_around(self) -> "tuple[Exchange, ...]":
        """Return it, and the exchanges of the wrapped apps that this one is inside."""
        if self.outer is None:
            return (self,)
        return (self, *self.outer.with_all_around())


def exchange_of(scope: Scope) -> Exchange | None:
    """Return the exchange that `scope` belongs to; None outside a wrapped app."""
    found = scope.get(KEY)
    return found if isinstance(found, Exchange) else None
