"""What a service says about idempotency keys, in one value."""

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from starlette.requests import Request

from server_kit.idempotency.rules import OnFailure
from server_kit.redis import check_redis

Scoping = Literal["caller", "route"]

_METHOD: Final = re.compile("[A-Z]+")
_PREFIX: Final = re.compile("[!-z|~]+")  # visible ASCII, and no braces
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*:[!#$%&'()*+,\-./:;=?@\[\]_~0-9A-Za-z]+")
_STATUSES: Final = range(200, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """How `Idempotency-Key` is honoured; for `wrap(app, idempotency=Idempotency())`.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of its range.

    """

    store: Any = None
    """Where claims and answers are: None for the memory of this process, a Redis URL,
    or a `redis.asyncio` client, which is the caller's to close. Several processes that
    serve the same callers need Redis. Redis is for asyncio alone."""

    methods: frozenset[str] = frozenset({"POST", "PATCH"})
    """Methods whose keys are honoured. The key of another is not even looked at."""

    required: bool | Collection[str] = False
    """Paths, relative to the app, whose `methods` are refused without a key: "/orders",
    or "/orders/{sku}/items" with a name for any one segment. True: all paths."""

    caller: Callable[[Request], str] | None = None
    """Tells whose key it is, from what a request says before any middleware has run.
    No caller can meet the keys of another. None: the credential in `Authorization` or
    `X-API-Key`; without one, the address of the client (see `callers`)."""

    scope: Scoping = "caller"
    """What a key is unique to. "caller": it names one request of its caller, and is
    refused with another path or method. "route": each path and method has keys of its
    own."""

    lenient: bool = False
    """Whether a key without double quotes is taken. The draft says that it is not."""

    max_key_length: int = 255
    """Characters that a key may have, at least 1."""

    keep_for: float = 86_400.0
    """Seconds that an answer is kept. A repeat after that is a new request."""

    lease: float = 10.0
    """Seconds after which a claim is free again whose holder is not heard of. While a
    handler runs its claim is renewed, so this bounds crashes and not handlers."""

    wait: float = 0.0
    """Seconds that a repeat waits for the first to be answered, before it is told
    that that is in progress. 0: it is told at once."""

    on_failure: OnFailure = "record"
    """What becomes of the key where the app answers 5xx, raises, or is cancelled.
    "record": a repeat gets the same failure, since half of the work may be done.
    "release": a repeat runs the handler again, for handlers that undo what they
    did."""

    unrecorded: frozenset[int] = frozenset({401, 429, 503})
    """Statuses that say that nothing was done: a repeat runs the handler."""

    max_request_bytes: int = 1_048_576
    """Longest body of a request with a key. It is held in memory; a longer one is
    refused with 413."""

    max_response_bytes: int = 1_048_576
    """Longest body of an answer that is kept. Longer ones, and streams, are sent with
    `Idempotent-Replayable: false`, and a repeat is refused with 409."""

    max_entries: int = 10_000
    """Keys in the memory of this process. Answers make room for others, the oldest
    first; claims do not, and where there is no room a new request is refused."""

    max_bytes: int = 67_108_864
    """Bytes of answers in the memory of this process, at least `max_response_bytes`."""

    timeout: float = 0.08
    """Seconds for one exchange with Redis. When they are over, the request is refused
    with 503."""

    prefix: str = "idempotency"
    """What the keys in Redis begin with: visible ASCII without braces."""

    docs_url: str | None = None
    """Where callers can read about keys: refusals link there."""

    _required: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_kinds()
        for name in ("keep_for", "lease", "timeout"):
            _check_seconds(self, name)
        _check_seconds(self, "wait", is_zero_fine=True)
        for name in ("max_key_length", "max_entries", "max_bytes"):
            _check_count(self, name, 1)
        for name in ("max_request_bytes", "max_response_bytes"):
            _check_count(self, name, 0)
        if self.max_bytes < self.max_response_bytes:
            raise ValueError(_wrong(self, "max_bytes", "at least max_response_bytes"))
        object.__setattr__(self, "_required", _pattern(self))

    def requires(self, path: str) -> bool:
        """Tell whether requests to `path`, relative to the app, need a key."""
        return self._required is not None and self._required.fullmatch(path) is not None

    def _check_kinds(self) -> None:
        _check_set(self, "methods", "methods in upper case", _is_method)
        _check_set(self, "unrecorded", "statuses of 200 to 999", _is_status)
        _check_choice(self, "scope", Scoping)
        _check_choice(self, "on_failure", OnFailure)
        if not isinstance(self.lenient, bool):
            raise TypeError(_wrong(self, "lenient", "True or False"))
        if self.caller is not None and not callable(self.caller):
            raise TypeError(_wrong(self, "caller", "callable or None"))
        if self.store is not None:
            check_redis("Idempotency.store", self.store)
        _check_text(self, "prefix", "visible ASCII without braces", _PREFIX)
        if self.docs_url is not None:
            _check_text(self, "docs_url", "an absolute URL or None", _URL)


def _wrong(config: Idempotency, name: str, must_be: str) -> str:
    return f"Idempotency.{name} must be {must_be}, got {getattr(config, name)!r}"


def _check_seconds(
    config: Idempotency, name: str, *, is_zero_fine: bool = False
) -> None:
    value = getattr(config, name)
    message = _wrong(config, name, f"finite and {'0 or' if is_zero_fine else ''} more")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(message)
    is_positive = value >= 0 if is_zero_fine else value > 0
    if not (is_positive and value < math.inf):
        raise ValueError(message)


def _check_count(config: Idempotency, name: str, least: int) -> None:
    value = getattr(config, name)
    message = _wrong(config, name, f"an int of at least {least}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(message)
    if value < least:
        raise ValueError(message)


def _check_set(
    config: Idempotency, name: str, what: str, is_fine: Callable[[object], bool]
) -> None:
    value = getattr(config, name)
    if not isinstance(value, frozenset):
        raise TypeError(_wrong(config, name, f"a frozenset of {what}"))
    if not all(map(is_fine, value)):
        raise ValueError(_wrong(config, name, f"a frozenset of {what}"))


def _check_text(
    config: Idempotency, name: str, what: str, allowed: re.Pattern[str]
) -> None:
    value = getattr(config, name)
    if not isinstance(value, str):
        raise TypeError(_wrong(config, name, what))
    if not allowed.fullmatch(value):
        raise ValueError(_wrong(config, name, what))


def _check_choice(config: Idempotency, name: str, choices: Any) -> None:
    known = get_args(choices)
    if getattr(config, name) not in known:
        raise ValueError(_wrong(config, name, " or ".join(map(repr, known))))


def _is_method(value: object) -> bool:
    return isinstance(value, str) and _METHOD.fullmatch(value) is not None


def _is_status(value: object) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return is_int and value in _STATUSES


def _pattern(config: Idempotency) -> re.Pattern[str] | None:
    """Return what the paths that need a key match; None if there are none."""
    paths = config.required
    if isinstance(paths, bool):
        return re.compile(".*", re.DOTALL) if paths else None
    message = _wrong(config, "required", "True, False or paths that begin with /")
    if isinstance(paths, str) or not isinstance(paths, Collection):
        raise TypeError(message)
    if not all(str(path).startswith("/") for path in paths):
        raise ValueError(message)
    return re.compile("|".join(map(_path_pattern, paths))) if paths else None


def _path_pattern(path: str) -> str:
    literal = re.split(r"\{[^{}/]*\}", path)
    return "[^/]+".join(map(re.escape, literal))
