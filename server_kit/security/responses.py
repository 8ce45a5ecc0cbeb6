"""A response's start, and what the request tells of it, to its security headers."""

from typing import Final

from server_kit.asgi import RawHeaders, Scope, values_of
from server_kit.security.nonce import KEY as NONCE
from server_kit.security.nonce import Nonce
from server_kit.security.profile import SecurityHeaders

STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})
"""Messages that carry the headers of a response."""

# Where FastAPI and Litestar define the handlers of their documentation.
_DOCUMENTING: Final = ("fastapi.applications", "litestar._openapi", "litestar.openapi")


def secured(  # noqa: PLR0913 - what the headers depend on, each by its name
    headers: RawHeaders,
    status: int,
    security: SecurityHeaders,
    scope: Scope,
    *,
    path: str,
    debug: bool,
) -> RawHeaders:
    """Return the headers of a response, secured.

    Args:
        headers: Of an HTTP response, or of the refusal of a WebSocket.
        status: Likewise.
        security: What to add and to take off.
        scope: The request, as it is now that it has been routed.
        path: Its path relative to the app, from before: routing may shorten it.
        debug: Whether to leave out Strict-Transport-Security.

    """
    there = security.for_path(path)
    plan = there.plan(
        path,
        status,
        is_tls=not debug and _is_tls(there, scope),
        is_docs=_is_documenting(scope) and _is_page(headers),
    )
    asked: Nonce | None = scope.get(NONCE)
    word = None if asked is None else asked.send()
    return plan.complete(headers, word)


def _is_tls(security: SecurityHeaders, scope: Scope) -> bool:
    if scope.get("scheme") in ("https", "wss") or security.https == "always":
        return True
    if security.https == "scheme":
        return False
    # What each proxy was reached by, the first of them first.
    said = values_of(scope.get("headers") or (), b"x-forwarded-proto")
    return b",".join(said).split(b",")[0].strip().lower() == b"https"


def _is_documenting(scope: Scope) -> bool:
    """Tell whether a framework's own handler of documentation answers."""
    # Starlette's and Litestar's; both, where one is mounted in the other.
    if _documents(getattr(scope.get("route_handler"), "fn", None)):
        return True
    return _documents(scope.get("endpoint"))


def _documents(handler: object) -> bool:
    return str(getattr(handler, "__module__", "")).startswith(_DOCUMENTING)


def _is_page(headers: list[tuple[bytes, bytes]]) -> bool:
    kinds = values_of(headers, b"content-type")
    return any(kind.lower().startswith(b"text/html") for kind in kinds)
