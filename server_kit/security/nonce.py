"""Nonces: words that allow the inline scripts of one response, and of no other.

A response has one from the moment that its handler asks. Whoever serves the request
puts a `Nonce` around it, and has the word written into the policy.
"""

import secrets
from contextvars import ContextVar, Token
from typing import Final

from server_kit.asgi import Scope

KEY: Final = "server_kit.nonce"
"""Where in the ASGI scope it stands."""

_BYTES: Final = 18
"""144 bits; Content Security Policy Level 3, section 7.1, asks for 128."""


class Nonce:
    """The nonce of one response, if it comes to have one."""

    __slots__ = ("_is_sent", "_word")

    def __init__(self) -> None:
        self._word: str | None = None
        self._is_sent = False

    def ask(self) -> str:
        """Return the word, the same each time; see `csp_nonce`."""
        if self._word is None:
            if self._is_sent:
                raise RuntimeError(
                    "csp_nonce() was first called after the headers were sent"
                )
            self._word = secrets.token_urlsafe(_BYTES)
        return self._word

    def send(self) -> str | None:
        """Return the word that the headers need, now that they leave, if any does."""
        self._is_sent = True
        return self._word


_current: ContextVar[Nonce | None] = ContextVar("server_kit.nonce", default=None)


def begin(scope: Scope, *, is_secured: bool = True) -> "Token[Nonce | None]":
    """Begin a request, which gets a nonce if it has none; `end` takes the result.

    Args:
        scope: The request.
        is_secured: Whether its response gets security headers from who asks.

    """
    nonce = scope.get(KEY)
    if nonce is None and is_secured:
        scope[KEY] = nonce = Nonce()
    return _current.set(nonce)


def end(token: "Token[Nonce | None]") -> None:
    """Forget the nonce of a request."""
    _current.reset(token)


def csp_nonce() -> str:
    """Return the nonce of the response being made, for its scripts and styles.

    For handlers and templates: `<script nonce="{{ csp_nonce() }}">`. The response's
    Content-Security-Policy names it, unless the handler sets one itself. Inline
    scripts without it no longer run, on this page, whatever else the policy says.

    Raises:
        RuntimeError: No response with security headers is being made, or its headers
            have been sent without a nonce.

    """
    nonce = _current.get()
    if nonce is None:
        raise RuntimeError(
            "csp_nonce() was called where no response gets security headers"
        )
    return nonce.ask()
