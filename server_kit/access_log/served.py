"""What became of a request: one frozen value, for listeners and the access log."""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias

CLIENT_LEFT: Final = 499
"""What stands for a status where nobody was there to get one, as nginx has it."""

Ended: TypeAlias = Literal["complete", "client left", "aborted"]
"""How a response ended: it was sent; its client was gone before; it broke off."""


class RequestServed(NamedTuple):
    """A request, and the answer to it. Times are in seconds.

    Method and path are as the client wrote them: anything may stand there.
    """

    method: str
    path: str
    """Without the query."""

    route: str | None
    """Its template, such as `/items/{id}`; None if there was none."""

    status: int
    """499 if the client left before there was one."""

    ended: Ended
    duration: float
    """From the first look at the request to the last byte of the answer."""

    first_byte: float | None
    """From the first look at the request to the first of the answer's body."""

    queued: float
    """How long it waited for its turn, see `Shedding`."""

    receiving: float
    """How long the app waited for the request's body."""

    sending: float
    """How long the app waited for the server to take the response: a slow client."""

    handling: float
    """What is left of `duration`: the work."""

    request_bytes: int
    """How much of its body the app has read, as sent."""

    response_bytes: int
    """The body as sent, less what the server itself reads from a file."""

    request_id: str
    trace_id: str | None
    """From the caller's `traceparent`."""

    problem_type: str | None
    """The `type` of the problem that it was answered with."""

    attempt: int | None
    """Which try of its call this is, from 1, if the caller said so."""

    client: str | None
    """The address, as the server knows it: a proxy's, unless `TrustedProxies` are told
    of, or the server itself looks on."""


Listener: TypeAlias = Callable[[RequestServed], object]
"""Called with each request when its answer is out. It must not block. What it raises is
logged and changes nothing."""
