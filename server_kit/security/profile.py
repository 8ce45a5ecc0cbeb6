"""`SecurityHeaders`: what a response is given, and what is taken off it.

Nothing here knows of requests: whoever applies a profile says what the response is.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from server_kit.security import values
from server_kit.security.plan import Plan, plan_of

Evidence: TypeAlias = Literal["scheme", "forwarded", "always"]
"""How an app knows of TLS."""

_HEADERS: Final = (
    "strict_transport_security",
    "content_security_policy",
    "x_frame_options",
    "x_content_type_options",
    "x_xss_protection",
    "referrer_policy",
    "permissions_policy",
    "x_permitted_cross_domain_policies",
    "cross_origin_opener_policy",
    "cross_origin_embedder_policy",
    "cross_origin_resource_policy",
    "x_dns_prefetch_control",
    "cache_control",
)
"""Fields of `SecurityHeaders` whose names are those of headers, in order of sending."""

_FIRST_ERROR: Final = 400
# RFC 9110, section 5.5: no control characters but the tab, no space at either end.
_VALUE: Final = re.compile(
    r"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?"
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_PATH: Final = re.compile("/.+")
_PATTERN: Final = re.compile(r"/[^*]*|(/[^*]*)?/\*")
# Its types are quoted strings: https://www.w3.org/TR/clear-site-data/#header
_CLEARED: Final = re.compile(r'"[^",]+"(, ?"[^",]+")*')


def _check_value(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string or None, got {value!r}")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{name} cannot be the value of a header, got {value!r}")


def _check_names(name: str, given: Iterable[object], allowed: re.Pattern[str]) -> None:
    if not isinstance(given, frozenset):
        raise TypeError(f"{name} must be a frozenset, got {given!r}")
    for value in given:
        if not isinstance(value, str) or not allowed.fullmatch(value):
            raise ValueError(f"{name} must match {allowed.pattern}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityHeaders:
    """What to add to every response, and what to take off.

    A field named like a header is that header's value; None leaves the header out.
    The defaults suit a service that answers JSON and the documentation pages of its
    framework. `owasp()` and `api()` are stricter; `at()` makes exceptions by path.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A value cannot be sent as a header.

    """

    strict_transport_security: str | None = "max-age=31536000; includeSubDomains"
    """Sent where the request came over TLS, see `https`, and never in debug."""

    content_security_policy: str | None = values.OWN_CONTENT
    """Where a page of ours may load from. Handlers that ask for a nonce, see
    `csp_nonce`, get it added to what scripts and styles are allowed."""

    x_frame_options: str | None = "DENY"
    """Who may put our pages in a frame, for browsers without `frame-ancestors`."""

    x_content_type_options: str | None = "nosniff"
    """Whether browsers may guess another content type than ours."""

    x_xss_protection: str | None = "1; mode=block"
    """For browsers that still had a filter of their own."""

    referrer_policy: str | None = "strict-origin-when-cross-origin"
    """How much of our addresses other sites get to see."""

    permissions_policy: str | None = "geolocation=(), microphone=(), camera=()"
    """Which features of the browser our pages may use."""

    x_permitted_cross_domain_policies: str | None = "none"
    """Whether Flash and Acrobat may read from us."""

    cross_origin_opener_policy: str | None = None
    """Whether windows of other sites keep a hold on ours. Not on documentation."""

    cross_origin_embedder_policy: str | None = None
    """Whether what our pages load must agree to it. Not on documentation."""

    cross_origin_resource_policy: str | None = None
    """Which sites may load from us without asking, images and scripts for example."""

    x_dns_prefetch_control: str | None = None
    """Whether browsers may look up the hosts of links before they are followed."""

    cache_control: str | None = None
    """For responses whose handler does not say; what it says always holds."""

    https: Evidence = "scheme"
    """How a request over TLS is known. "scheme": the server says so, uvicorn also where
    it trusts the proxy (`--forwarded-allow-ips`). "forwarded": X-Forwarded-Proto as
    well; browsers ignore the header on plain HTTP, so a lie harms nobody. "always":
    TLS ends at a proxy that does not tell."""

    override: bool = True
    """Whether a header that a handler has set wins over ours of the same name."""

    docs_content_security_policy: str | None = values.DOCS_CONTENT
    """The `content_security_policy` of documentation: lets Swagger UI, ReDoc, Scalar,
    RapiDoc and Elements load from where FastAPI and Litestar have them load."""

    docs_paths: frozenset[str] = frozenset()
    """Documentation that is served by handlers of your own, relative to the app. The
    pages of FastAPI and Litestar are known by themselves, wherever they are mounted."""

    logout_paths: frozenset[str] = frozenset()
    """Where `clear_site_data` is sent, relative to the app."""

    clear_site_data: str = values.CLEAR
    """What browsers forget on `logout_paths`, when the answer is no error."""

    remove: frozenset[str] = values.DISCLOSING
    """Headers to take off, in any case: they name software and versions. A name that
    is also one of the fields above drops the handler's value in favour of ours."""

    routes: tuple[tuple[str, "SecurityHeaders"], ...] = ()
    """Exceptions, see `at`: pattern and profile. The longest pattern wins."""

    _plans: dict[tuple[bool, bool, bool], Plan] = field(
        init=False, repr=False, compare=False
    )
    _exceptions: tuple[tuple[str, "SecurityHeaders"], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name in (*_HEADERS, "docs_content_security_policy", "clear_site_data"):
            _check_value(name, getattr(self, name))
        _check_names("docs_paths", self.docs_paths, _PATH)
        _check_names("logout_paths", self.logout_paths, _PATH)
        _check_names("remove", self.remove, _TOKEN)
        self._check_choices()
        plans = {kind: self._plan(*kind) for kind in product((False, True), repeat=3)}
        longest_first = sorted(self.routes, key=lambda route: -len(route[0]))
        object.__setattr__(self, "_plans", plans)
        object.__setattr__(self, "_exceptions", tuple(longest_first))

    def _check_choices(self) -> None:
        if self.https not in get_args(Evidence):
            known = ", ".join(map(repr, get_args(Evidence)))
            raise ValueError(f"https must be one of {known}, got {self.https!r}")
        if not isinstance(self.override, bool):
            raise TypeError(f"override must be a bool, got {self.override!r}")
        if not _CLEARED.fullmatch(self.clear_site_data or ""):
            said = f"got {self.clear_site_data!r}"
            raise ValueError(f"clear_site_data must be a list of quoted types, {said}")
        patterns = [pattern for pattern, _ in self.routes]
        for pattern in patterns:
            if not _PATTERN.fullmatch(pattern) or patterns.count(pattern) > 1:
                raise ValueError(
                    "routes must be paths, or prefixes that end in '/*', each once, "
                    f"got {pattern!r}"
                )

    @classmethod
    def owasp(cls, *, tracing: bool = False, **changes: Any) -> Self:
        """Return what the OWASP Secure Headers Project proposes.

        Args:
            tracing: Whether responses may carry the ids of their traces.
            changes: Fields to have otherwise.

        """
        removed = values.DISCLOSING | values.OBSOLETE
        given: dict[str, Any] = {
            "strict_transport_security": values.OWASP_HSTS,
            "content_security_policy": values.OWASP_CONTENT,
            "x_frame_options": "deny",
            "x_xss_protection": None,
            "referrer_policy": "no-referrer",
            "permissions_policy": values.OWASP_PERMISSIONS,
            "cross_origin_opener_policy": "same-origin",
            "cross_origin_embedder_policy": "require-corp",
            "cross_origin_resource_policy": "same-origin",
            "x_dns_prefetch_control": "off",
            "cache_control": "no-store, max-age=0",
            "remove": removed if tracing else removed | values.TRACING,
        }
        return cls(**(given | changes))

    @classmethod
    def api(cls, *, tracing: bool = False, **changes: Any) -> Self:
        """Return `owasp()` for services that answer JSON and nothing else.

        Nothing may be loaded, and what only pages heed is left out.
        """
        given: dict[str, Any] = {
            "content_security_policy": values.API_CONTENT,
            "permissions_policy": None,
            "cross_origin_opener_policy": None,
            "cross_origin_embedder_policy": None,
            "x_dns_prefetch_control": None,
        }
        return cls.owasp(tracing=tracing, **(given | changes))

    def at(self, pattern: str, **changes: Any) -> Self:
        """Return this profile, but for an exception.

        Args:
            pattern: A path relative to the app, or one that ends in `/*`, for itself
                and all that is below it.
            changes: Fields to have otherwise there. None leaves a header out.

        """
        there = replace(self, routes=(), **changes)
        return replace(self, routes=(*self.routes, (pattern, there)))

    def for_path(self, path: str) -> "SecurityHeaders":
        """Return the profile of one path, relative to the app: see `at`."""
        for pattern, there in self._exceptions:
            if _matches(pattern, path):
                return there
        return self

    def plan(
        self, path: str, status: int, *, is_tls: bool, is_docs: bool = False
    ) -> Plan:
        """Return what to do to the headers of one response, exceptions apart.

        Args:
            path: The path of the request, relative to the app.
            status: The response's.
            is_tls: Whether to ask for TLS from now on.
            is_docs: Whether the response is a page of documentation.

        """
        is_docs = is_docs or path in self.docs_paths
        clears = path in self.logout_paths and status < _FIRST_ERROR
        return self._plans[is_docs, is_tls, clears]

    def _plan(self, is_docs: bool, is_tls: bool, clears: bool) -> Plan:  # noqa: FBT001 - a key
        given = {name.replace("_", "-"): getattr(self, name) for name in _HEADERS}
        if is_docs:
            given["content-security-policy"] = self.docs_content_security_policy
            # To try a request out one may log in, in a window of another site; and
            # what the pages load comes from hosts that do not all agree to it.
            given["cross-origin-opener-policy"] = None
            given["cross-origin-embedder-policy"] = None
        if not is_tls:
            given["strict-transport-security"] = None
        if clears:
            given["clear-site-data"] = self.clear_site_data
        return plan_of(given, remove=self.remove, override=self.override)


def _matches(pattern: str, path: str) -> bool:
    if pattern.endswith("/*"):
        return f"{path}/".startswith(pattern[:-1])
    return path == pattern


DEFAULT: Final = SecurityHeaders()
"""What responses get where nothing else was asked for."""
