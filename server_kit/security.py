"""Security headers on every response, and headers that tell too much taken off.

The defaults suit a service that answers JSON, and FastAPI's own documentation pages.
What a handler sets itself always wins.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from server_kit.asgi import (
    ASGIApp,
    Message,
    RawHeaders,
    Receive,
    Scope,
    Send,
    add_missing,
    headers_of,
    local_path,
)

_HEADERS: Final = (
    "strict_transport_security",
    "content_security_policy",
    "x_frame_options",
    "x_content_type_options",
    "x_xss_protection",
    "referrer_policy",
    "permissions_policy",
    "x_permitted_cross_domain_policies",
)
"""Fields of `SecurityHeaders` whose names are those of headers, in order of sending."""

_CONTENT: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
# What the pages FastAPI serves load: Swagger UI and ReDoc from jsDelivr, ReDoc's fonts,
# its logo and its worker, FastAPI's icon.
_DOCS_CONTENT: Final = (
    "default-src 'self'; "
    "script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net "
    "https://fonts.googleapis.com; "
    "img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    "font-src 'self' data: https://fonts.gstatic.com; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_PERMISSIONS: Final = "geolocation=(), microphone=(), camera=()"
_DISCLOSING: Final = frozenset(
    {
        *("server", "powered-by", "x-powered-by", "x-server-powered-by"),
        *("x-powered-cms", "x-cms", "x-framework", "x-generator", "x-generated-by"),
        *("x-aspnet-version", "x-aspnetmvc-version", "x-php-version", "x-runtime"),
        "x-sourcefiles",
    }
)
# RFC 9110, section 5.5: no control characters but the tab, no space at either end.
_VALUE: Final = re.compile(
    r"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?"
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def _check_value(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string or None, got {value!r}")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{name} cannot be the value of a header, got {value!r}")


def _check_names(name: str, values: Iterable[object], allowed: re.Pattern[str]) -> None:
    if not isinstance(values, frozenset):
        raise TypeError(f"{name} must be a frozenset, got {values!r}")
    for value in values:
        if not isinstance(value, str) or not allowed.fullmatch(value):
            raise ValueError(f"{name} must match {allowed.pattern}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityHeaders:
    """What to add to every response, and what to take off.

    A field named like a header is that header's value; None leaves the header out.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A value cannot be sent as a header.

    """

    strict_transport_security: str | None = "max-age=31536000; includeSubDomains"
    """Not sent in debug. Sent over plain HTTP too, where browsers ignore it: TLS often
    ends at a proxy that this app knows nothing of."""

    content_security_policy: str | None = _CONTENT
    """Where a page of ours may load from; see `docs_content_security_policy`."""

    x_frame_options: str | None = "DENY"
    """Who may put our pages in a frame, for browsers without `frame-ancestors`."""

    x_content_type_options: str | None = "nosniff"
    """Whether browsers may guess another content type than ours."""

    x_xss_protection: str | None = "1; mode=block"
    """For browsers that still had a filter of their own."""

    referrer_policy: str | None = "strict-origin-when-cross-origin"
    """How much of our addresses other sites get to see."""

    permissions_policy: str | None = _PERMISSIONS
    """Which features of the browser our pages may use."""

    x_permitted_cross_domain_policies: str | None = "none"
    """Whether Flash and Acrobat may read from us."""

    docs_content_security_policy: str | None = _DOCS_CONTENT
    """The `content_security_policy` of `docs_paths`: lets Swagger UI and ReDoc load."""

    docs_paths: frozenset[str] = frozenset({"/docs", "/redoc"})
    """Where the documentation is, relative to the app: `docs_url`, `redoc_url`."""

    remove: frozenset[str] = _DISCLOSING
    """Headers to take off, in any case: they name software and versions. A name that
    is also one of the fields above drops the handler's value in favour of ours."""

    _added: dict[tuple[bool, bool], RawHeaders] = field(
        init=False, repr=False, compare=False
    )
    _removed: frozenset[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in (*_HEADERS, "docs_content_security_policy"):
            _check_value(name, getattr(self, name))
        _check_names("docs_paths", self.docs_paths, re.compile("/.+"))
        _check_names("remove", self.remove, _TOKEN)
        added = {
            (docs, debug): self._build(docs=docs, debug=debug)
            for docs in (False, True)
            for debug in (False, True)
        }
        removed = frozenset(name.lower().encode() for name in self.remove)
        object.__setattr__(self, "_added", added)
        object.__setattr__(self, "_removed", removed)

    def apply(self, headers: RawHeaders, *, path: str, debug: bool) -> RawHeaders:
        """Return `headers` less what discloses, and with ours where they have none.

        All others stay byte for byte, in order.

        Args:
            headers: Those of the response, in any case.
            path: The path of the request, relative to the app.
            debug: Whether to leave out Strict-Transport-Security.

        """
        kept = [pair for pair in headers if pair[0].lower() not in self._removed]
        return add_missing(kept, self._added[path in self.docs_paths, debug])

    def _build(self, *, docs: bool, debug: bool) -> RawHeaders:
        values = {name: getattr(self, name) for name in _HEADERS}
        if docs:
            values["content_security_policy"] = self.docs_content_security_policy
        if debug:
            values["strict_transport_security"] = None
        return [
            (name.replace("_", "-").encode(), value.encode("latin-1"))
            for name, value in values.items()
            if value is not None
        ]


DEFAULT: Final = SecurityHeaders()
"""What responses get where nothing else was asked for."""


class SecurityHeadersMiddleware:
    """Give every HTTP response of `app` its security headers.

    For apps that are not wrapped: `server_kit.wrap` does the same from outside, where
    it reaches the responses of other middlewares and of crashes as well.
    """

    def __init__(
        self,
        app: ASGIApp,
        security: SecurityHeaders = DEFAULT,
        *,
        debug: bool = False,
    ) -> None:
        self._app = app
        self._security = security
        self._debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = local_path(scope)

        async def secure(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = self._security.apply(
                    headers_of(message), path=path, debug=self._debug
                )
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, secure)
