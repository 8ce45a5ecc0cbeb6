"""The access log: a line for each request, when its answer is out."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from server_kit.access_log.masking import Masker
from server_kit.access_log.served import Listener, RequestServed
from server_kit.access_log.watch import Observer, Report, Watch
from server_kit.asgi import headers_of

HEALTH_PATHS: Final = frozenset(
    {"/health", "/healthz", "/live", "/livez", "/ready", "/readyz"}
)
"""Where it is asked, every few seconds, whether the app is well."""

logger: Final = logging.getLogger("server_kit.access")

_IN_FRONT: Final = frozenset({"method", "path", "status", "duration"})
_UNREMARKABLE: Final = (None, "", "complete")
_FIRST_FAILURE: Final = 500
_EXPECTED: Final = frozenset({502, 503, 504})
"""Failures of others, and refusals: many at once when something is wrong elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    """What to write about each request; `wrap(app, access_log=AccessLog())`.

    Lines go to the logger `server_kit.access`, with a field for each thing that is
    known in `extra`.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A value is out of range.

    """

    slow: float | None = None
    """Seconds from which a request is a warning that says what it waited for; None: no
    request is slow."""

    bodies: int = 0
    """How many bytes of each request's and each response's body to write, masked. No
    more than that is ever held. At 0 none is."""

    headers: bool = False
    """Whether to write headers of request and response, masked."""

    query: bool = False
    """Whether to write the query, masked."""

    exclude: frozenset[str] = HEALTH_PATHS
    """Paths without a line, unless the answer is a 500 or above."""

    secret: frozenset[str] = frozenset()
    """Names of fields, parameters and headers to mask beside those that look secret,
    such as `password`, `token` and `api_key`. Case and punctuation do not count."""

    shown: frozenset[str] = frozenset()
    """Names that look secret and are none."""

    mask_emails: bool = True
    """Whether e-mail addresses are masked. Numbers of cards always are."""

    structlog: bool = False
    """Whether to write through structlog, by its own configuration."""

    def __post_init__(self) -> None:
        _check_seconds("slow", self.slow)
        if isinstance(self.bodies, bool) or not isinstance(self.bodies, int):
            raise TypeError(f"bodies must be a number of bytes, got {self.bodies!r}")
        if self.bodies < 0:
            raise ValueError(f"bodies must be at least 0, got {self.bodies!r}")
        for name in ("headers", "query", "mask_emails", "structlog"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {getattr(self, name)!r}")
        for name in ("exclude", "secret", "shown"):
            _check_names(name, getattr(self, name))
        if self.structlog and find_spec("structlog") is None:
            raise ValueError("structlog must be False: structlog is not installed")


def observer_of(
    settings: AccessLog | None, listeners: Iterable[Listener]
) -> Observer | None:
    """Return who is to be told of each request; None if nobody is."""
    reports: list[Report] = [_Ear(listener) for listener in listeners]
    if settings is not None:
        reports.append(Writer(settings))
    if not reports:
        return None
    return Observer(reports, bodies=0 if settings is None else settings.bodies)


def _check_seconds(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be seconds or None, got {value!r}")
    if not value >= 0:  # written so that it refuses NaN
        raise ValueError(f"{name} must be at least 0, got {value!r}")


def _check_names(name: str, values: object) -> None:
    if not isinstance(values, frozenset):
        raise TypeError(f"{name} must be a frozenset, got {values!r}")
    for value in values:
        if not isinstance(value, str) or not value:
            raise TypeError(f"{name} must hold words, got {value!r}")


def level_of(served: RequestServed, *, is_slow: bool = False) -> int:
    """Return how much a request matters to whoever runs the app."""
    if served.ended == "aborted":
        return logging.ERROR
    if served.status >= _FIRST_FAILURE and served.status not in _EXPECTED:
        return logging.ERROR
    if is_slow or served.status >= _FIRST_FAILURE:
        return logging.WARNING
    return logging.INFO


def printable(text: str) -> str:
    """Return `text` on one line: what could end it or steer a terminal is escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


class _Ear:
    """A listener, which is told no more than what is public."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __call__(self, served: RequestServed, watch: Watch) -> None:  # noqa: ARG002 - a report gets both
        self._listener(served)

    def __repr__(self) -> str:
        return repr(self._listener)


class Writer:
    """Writes the lines."""

    def __init__(self, settings: AccessLog) -> None:
        self._settings = settings
        self._masker = Masker(settings.secret, settings.shown, settings.mask_emails)
        self._has_extras = settings.query or settings.headers or settings.bodies > 0
        self._write = _to_structlog() if settings.structlog else _to_logging

    def __call__(self, served: RequestServed, watch: Watch) -> None:
        """Write the line of one request, if it gets one."""
        settings = self._settings
        if served.path in settings.exclude and served.status < _FIRST_FAILURE:
            return
        is_slow = settings.slow is not None and served.duration >= settings.slow
        level = level_of(served, is_slow=is_slow)
        if self._write is _to_logging and not logger.isEnabledFor(level):
            return
        fields = self._fields(served)
        if self._has_extras:
            fields |= self._extras(watch)
        if is_slow:
            fields |= _waits(served)
        self._write(level, fields)

    def _fields(self, served: RequestServed) -> dict[str, Any]:
        path = served.path
        if path != served.route:  # else there is nothing in it that a client chose
            path = printable(self._masker.words(path))
        return {
            "method": printable(served.method),
            "path": path,
            "route": served.route,
            "status": served.status,
            "ended": served.ended,
            "duration": round(served.duration, 6),
            "request_bytes": served.request_bytes,
            "response_bytes": served.response_bytes,
            "request_id": served.request_id,
            "trace_id": served.trace_id,
            "problem_type": served.problem_type,
            "attempt": served.attempt,
            "client": None if served.client is None else printable(served.client),
        }

    def _extras(self, watch: Watch) -> dict[str, Any]:
        """Return what was asked for beyond the usual, masked."""
        settings, masker = self._settings, self._masker
        extras: dict[str, Any] = {}
        if settings.query:
            query = bytes(watch.scope.get("query_string", b""))
            extras["query"] = printable(masker.pairs(query.decode("latin-1")))
        sides = (
            ("request", watch.request_body, headers_of(watch.scope)),
            ("response", watch.response_body, watch.response_headers),
        )
        for side, body, headers in sides:
            if settings.headers:
                extras[f"{side}_headers"] = _by_name(masker.headers(headers))
            if settings.bodies:
                extras[f"{side}_body"] = printable(body.shown(headers, masker))
        return extras


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in headers:
        before = f"{named[name]}, " if name in named else ""
        named[name] = before + printable(value)
    return named


def _waits(served: RequestServed) -> dict[str, float | None]:
    """Return what a slow request waited for."""
    first = served.first_byte
    return {
        "first_byte": None if first is None else round(first, 6),
        "queued": round(served.queued, 6),
        "receiving": round(served.receiving, 6),
        "handling": round(served.handling, 6),
        "sending": round(served.sending, 6),
    }


def message_of(fields: Mapping[str, Any]) -> str:
    """Return the line for readers: `GET /items/5 200 12.3ms route=/items/{id} ...`."""
    method, path, status = fields["method"], fields["path"], fields["status"]
    rest = [
        f"{name}={value}"
        for name, value in fields.items()
        if name not in _IN_FRONT and value not in _UNREMARKABLE
    ]
    front = f"{method} {path} {status} {fields['duration'] * 1000:.1f}ms"
    return " ".join([front, *rest])


def _to_logging(level: int, fields: Mapping[str, Any]) -> None:
    # Not logger.log(), which looks for the caller: a line of ours, and a third of what
    # writing costs.
    record = logger.makeRecord(
        *(logger.name, level, __file__, 0, message_of(fields), (), None), extra=fields
    )
    logger.handle(record)


def _to_structlog() -> Callable[[int, Mapping[str, Any]], None]:
    import structlog  # noqa: PLC0415 - it may be missing

    ours = structlog.get_logger("server_kit.access")
    write = {
        level: logging.getLevelName(level).lower()
        for level in (logging.INFO, logging.WARNING, logging.ERROR)
    }

    def to_structlog(level: int, fields: Mapping[str, Any]) -> None:
        event = "{method} {path} {status}".format(**fields)
        getattr(ours, write[level])(event, **fields)

    return to_structlog
