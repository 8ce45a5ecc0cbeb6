"""Servers that put a `Server` header on what has left the app."""

import logging
from typing import Any, Final

from server_kit.asgi import Send, values_of
from server_kit.security.profile import SecurityHeaders

logger: Final = logging.getLogger("server_kit")


def warn_of_disclosure(send: Send, security: SecurityHeaders | None) -> None:
    """Log how to have uvicorn be silent, if it adds a header that is to be taken off.

    Args:
        send: That of the first connection: of the lifespan, or else of a request.
        security: What is to be taken off.

    """
    if security is not None and "server" in security.remove and _is_added(send):
        logger.warning(
            "uvicorn adds a Server header to every response, where no app can take it "
            "off; start it with --no-server-header, or server_header=False"
        )


def _is_added(send: Send) -> bool:
    # uvicorn's `send` is a method: of what knows its settings in the lifespan, and of
    # what knows the headers that it will add in a request.
    server: Any = getattr(send, "__self__", None)
    if not type(server).__module__.startswith("uvicorn."):
        return False
    config = getattr(server, "config", None)
    if getattr(config, "server_header", False):
        return True
    return bool(values_of(getattr(server, "default_headers", ()), b"server"))
