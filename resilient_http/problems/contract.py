"""The problems one API may answer with, as both of its ends know them."""

import json
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

from resilient_http._core import retry_after
from resilient_http.problems import builtin
from resilient_http.problems.exception import (
    AppException,
    contract_class,
    members_of,
    values_of,
)
from resilient_http.problems.members import STANDARD
from resilient_http.problems.models import ABOUT_BLANK, MEDIA_TYPE

MAX_DOCUMENT: Final = 64 * 1024
"""Bytes of an error body that are read; a longer one is judged by its status alone."""

BUILTINS: Final = tuple(
    found
    for found in vars(builtin).values()
    if isinstance(found, type)
    and issubclass(found, AppException)
    and found is not AppException
)
_BY_STATUS: Final[Mapping[int, type[AppException]]] = {
    found.status: found
    for found in (
        builtin.BadRequestException,
        builtin.UnauthorizedException,
        builtin.ForbiddenException,
        builtin.NotFoundException,
        builtin.ConflictException,
        builtin.ValidationException,
        builtin.RateLimitException,
        builtin.InternalServerException,
        builtin.BadGatewayException,
        builtin.ServiceUnavailableException,
        builtin.GatewayTimeoutException,
    )
}
_IANA: Final = "https://iana.org/assignments/http-problem-types#"
_REGISTERED: Final[Mapping[str, type[AppException]]] = {
    _IANA + "quota-exceeded": builtin.RateLimitException,
    _IANA + "abnormal-usage-detected": builtin.RateLimitException,
    _IANA + "temporary-reduced-capacity": builtin.OverloadedException,
}
"""The types of draft-ietf-httpapi-ratelimit-headers, which others answer with."""

# RFC 9110 renamed these; Python before 3.13 has the old words.
_PHRASES: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
_CARRIED: Final = frozenset({*STANDARD, "request_id", "retry_after"})
_Problem = TypeVar("_Problem", bound=AppException)


class Contract:
    """The problem classes of one API, and how they are told apart on the wire.

    With a `type_base`, types are absolute URIs: `type_base` followed by the class's
    slug. Without one the slug itself is the type, and two services may clash. The
    built-in problems are part of every contract, under their bare slugs.

    Args:
        classes: Subclasses of `AppException` that have a type.
        type_base: An absolute URI that ends in `/`, `#`, `:` or `=`; None for slugs.
        origins: Base URLs of services at whose other end this contract is known:
            request ids are sent there. `base_url` of the client is one already.

    Raises:
        TypeError: A class is not a problem class, or has no type.
        ValueError: Two classes have one type, a type is a relative path, or `type_base`
            or an origin is malformed.

    """

    def __init__(
        self,
        *classes: type[AppException],
        type_base: str | None = None,
        origins: Iterable[str] = (),
    ) -> None:
        self.type_base = _checked_base(type_base)
        self.origins = frozenset(origin_of(url) for url in origins)
        self._types = {found: found.type for found in BUILTINS}
        for found in classes:
            if found not in self._types:
                self._types[found] = self._resolved(found)
        self._classes: dict[str, type[AppException]] = {}
        for found, uri in self._types.items():
            if self._classes.setdefault(uri, found) is not found:
                rival = self._classes[uri].__name__
                raise ValueError(f"{found.__name__} and {rival} have one type: {uri!r}")

    def __repr__(self) -> str:
        own = [c.__name__ for c in self._types if c not in BUILTINS]
        return f"Contract({', '.join(own)}, type_base={self.type_base!r})"

    @property
    def types(self) -> Mapping[type[AppException], str]:
        """Every problem class, built-in ones too, and its type as on the wire."""
        return MappingProxyType(self._types)

    def type_of(self, error: AppException) -> str:
        """Return the type of `error` as it stands on the wire."""
        return self._types.get(contract_class(type(error)), error.type)

    def class_of(self, uri: str, url: str) -> type[AppException] | None:
        """Return the class for a type received from `url`; None if it is unknown.

        A relative type is resolved against `url` first (RFC 9457, section 3.1.1),
        except for the built-in slugs and, without a `type_base`, our own.
        """
        found = self._classes.get(uri)
        if found is None:
            uri = _joined(url, uri)
            found = self._classes.get(uri) or _REGISTERED.get(uri)
        return found

    def document(
        self,
        error: AppException,
        *,
        instance: str | None = None,
        request_id: str | None = None,
    ) -> dict[str, Any]:
        """Return the members to answer with; `encode` writes them.

        Args:
            error: The problem.
            instance: What identifies this occurrence, where `error` does not say.
            request_id: The id of the request, where `error` does not know it.

        """
        said = {
            "type": self.type_of(error),
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            "instance": instance if error.instance is None else error.instance,
            "request_id": request_id if error.request_id is None else error.request_id,
        }
        known = {name: value for name, value in said.items() if value is not None}
        known |= _written(error)
        if error.retry_after is not None:
            known["retry_after"] = int(retry_after.render(error.retry_after))
        # Ours last: an extra member shadows neither a standard nor a declared one.
        extra = {k: v for k, v in error.extra.items() if k not in known}
        return known | {k: v for k, v in extra.items() if k not in _CARRIED}

    def parse(
        self, status: int, headers: Mapping[Any, Any], body: bytes, url: str
    ) -> AppException:
        """Return the problem that an error response carries. Never a parser's error.

        A member that is missing or malformed holds its default, or None without one.

        Args:
            status: The response's own, which wins over the document's.
            headers: Any mapping, of any case.
            body: As decoded by `Content-Encoding`. What is no problem document, or
                longer than 64 KiB, counts as empty.
            url: Where it came from, to resolve a relative type against.

        """
        fields = _lower(headers)
        found = _document(fields.get("content-type", ""), body)
        uri = found.get("type")
        uri = uri if isinstance(uri, str) and uri else ABOUT_BLANK
        known = self.class_of(uri, url)
        cls = _BY_STATUS.get(status, AppException) if known is None else known
        error = cls.__new__(cls)
        vars(error)["_uri"] = uri
        if known is None:
            vars(error)["type"] = uri
        _fill(error, found)
        with_status(error, status, title=found.get("title"))
        stated = found.get("status")
        if type(stated) is int and stated != status:
            error.extra = {**error.extra, "status": stated}
        asked = _retry_after(fields)
        error.retry_after = asked if asked is not None else error.retry_after
        if error.request_id is None:
            error.request_id = fields.get("x-request-id")
        error.received = True
        return error

    def _resolved(self, found: type[AppException]) -> str:
        given: Any = found
        if not (isinstance(given, type) and issubclass(given, AppException)):
            raise TypeError(f"a contract is made of AppException classes: {given!r}")
        if "type" not in vars(found):
            raise TypeError(f"{found.__name__} has no type of its own")
        if urlsplit(found.type).scheme:
            return found.type
        if self.type_base is None:
            # RFC 9457, section 3.1.1: each page would resolve it to something else.
            if "/" in found.type[1:] and not found.type.startswith("/"):
                raise ValueError(
                    f"{found.__name__}.type must be a slug, a full path or a URI "
                    f"without a type_base, got {found.type!r}"
                )
            return found.type
        return self.type_base + found.type


def for_status(
    status: int,
    detail: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> AppException:
    """Return the problem for a bare status: its class, or one of type about:blank."""
    cls = _BY_STATUS.get(status, AppException)
    error = cls(detail, headers=headers, extra={} if extra is None else extra)
    return error if cls is not AppException else with_status(error, status)


def with_status(error: _Problem, status: int, *, title: object = None) -> _Problem:
    """Give `error` a status other than its class's, and return it.

    A problem that has no type of its own takes the registered phrase as its title.
    """
    said = vars(error)
    if status != error.status:
        said["status"] = status
    if isinstance(title, str) and title:
        said["title"] = title
    elif type(error) is AppException:
        said["title"] = _phrase(status)
    return error


def wire_type(error: AppException) -> str:
    """Return the type of a received problem as it stood on the wire."""
    uri = vars(error).get("_uri", error.type)
    return str(uri)


def is_typed(error: AppException) -> bool:
    """Whether a received problem came with a type that its contract knows."""
    return "type" not in vars(error)


def _phrase(status: int) -> str:
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"


def _written(error: AppException) -> dict[str, Any]:
    values = values_of(error)
    members = members_of(type(error))
    return {name: member.write(values[name]) for name, member in members.items()}


def _fill(error: AppException, found: Mapping[str, Any]) -> None:
    members = members_of(type(error))
    for name in ("detail", "instance", "request_id"):
        value = found.get(name)
        setattr(error, name, value if isinstance(value, str) else None)
    error.retry_after = _seconds(found.get("retry_after"))
    for name, member in members.items():
        vars(error)[name] = member.read_or_default(found)
    known = _CARRIED | members.keys()
    error.extra = {k: v for k, v in found.items() if k not in known}
    error.args = () if error.detail is None else (error.detail,)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer may be too long for a float; a wait that long is as good as unsaid.
    in_range = 0 <= value <= retry_after.LONGEST
    return float(value) if in_range else None


def _lower(headers: Mapping[Any, Any]) -> dict[str, str]:
    return {_plain(name).lower(): _plain(value) for name, value in headers.items()}


def _plain(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _retry_after(fields: Mapping[str, str]) -> float | None:
    if "retry-after" not in fields:
        return None
    return retry_after.parse(
        [fields["retry-after"]], date=fields.get("date"), wall=time.time()
    )


def _document(content_type: str, body: bytes) -> dict[str, Any]:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE or len(body) > MAX_DOCUMENT:
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return {}
    return found if isinstance(found, dict) else {}


def _joined(url: str, reference: str) -> str:
    try:
        return urljoin(url, reference)
    except ValueError:  # a bracket that opens no IPv6 address
        return reference


def _checked_base(base: str | None) -> str | None:
    if base is None:
        return None
    if not urlsplit(base).scheme or not base.endswith(("/", "#", ":", "=")):
        raise ValueError(
            f"type_base must be an absolute URI that ends in / # : or =, got {base!r}"
        )
    return base


def origin_of(url: Any) -> str:
    """Return scheme, host and port of `url`, the port always written out.

    Raises:
        ValueError: It is not an http(s) URL with a host.

    """
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"origins must be http(s) URLs such as http://shop, got {url!r}"
        )
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{parts.hostname}:{port}"
