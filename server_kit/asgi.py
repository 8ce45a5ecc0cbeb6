"""The types of the ASGI protocol, and what can be asked of raw header lists.

No framework is imported here: everything in the kit speaks plain ASGI.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
"""One connection, as the server describes it."""

Message: TypeAlias = MutableMapping[str, Any]
"""One event of a connection, either way."""

Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
"""Names and values in the order of the wire."""


def headers_of(event: Mapping[str, Any]) -> RawHeaders:
    """Return the headers of a scope or of a response's start, as a list of its own.

    ASGI lets `headers` be absent, and be any iterable of two-item iterables.
    """
    return [(name, value) for name, value in event.get("headers") or ()]


def values_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return every value of one header in order; `name` is in lower case."""
    return [value for key, value in headers if key.lower() == name]


_LAST: Final = frozenset(
    {"http.response.body", "http.response.pathsend", "http.response.zerocopysend"}
)


def ends_body(message: Message) -> bool:
    """Tell whether nothing but trailers, if any, comes after `message`."""
    return message["type"] in _LAST and not message.get("more_body", False)


def add_missing(headers: RawHeaders, defaults: RawHeaders) -> RawHeaders:
    """Return `headers`, then those of `defaults` whose names they do not hold.

    What is there already stays as it is, in its place; names of `defaults` are in
    lower case.
    """
    present = {name.lower() for name, _ in headers}
    return [*headers, *(pair for pair in defaults if pair[0] not in present)]


def has_body(scope: Scope) -> bool:
    """Tell whether the client may have sent a body (RFC 9112, section 6.3)."""
    names = (b"transfer-encoding", b"content-length")
    return any(
        name.lower() in names and value != b"0" for name, value in headers_of(scope)
    )


def ends_response(message: Message, *, trailers: bool) -> bool:
    """Tell whether nothing comes after `message` of a response.

    Args:
        message: Any event of the response.
        trailers: Whether its start announced trailers.

    """
    kind = message["type"]
    if kind == "http.response.trailers":
        return not message.get("more_trailers", False)
    if kind in ("http.response.body", "http.response.zerocopysend"):
        return not (trailers or message.get("more_body", False))
    return bool(kind == "http.response.pathsend" and not trailers)


def local_path(scope: Scope) -> str:
    """Return the path below the app's `root_path`, which servers put before `path`."""
    path: str = scope["path"]
    root: str | None = scope.get("root_path")
    if not root:
        return path
    below = path.removeprefix(root)
    # /api must not be taken off /apis, and a proxy may have taken it off already.
    return below if not below or below.startswith("/") else path
