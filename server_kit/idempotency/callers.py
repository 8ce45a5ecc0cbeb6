"""Whose key it is, where nobody has said how to tell."""

from server_kit.asgi import Scope, values_of
from server_kit.idempotency.rules import digest
from server_kit.ratelimit.keys import client_key

_CREDENTIALS = (b"authorization", b"x-api-key")


def caller_of(scope: Scope) -> str:
    """Return a name for who sent a request.

    A digest of the credential, if it has one: who renews a token in between is somebody
    else. The address of the client otherwise: cookies hold more than who it is. Who has
    sessions, or short-lived tokens, should name the user: `Idempotency.caller`.
    """
    for name in _CREDENTIALS:
        given = values_of(scope["headers"], name)
        if given:
            return f"credential:{digest(name, *given)}"
    return client_key(scope)
