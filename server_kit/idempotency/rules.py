"""What a key is, which requests are the same, and what of an answer is kept.

Nothing in here waits, sends or knows the time. The draft is not a standard yet
(draft-ietf-httpapi-idempotency-key-header-07): what it may still change is in here.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Any, Final, Literal

import http_sf

from resilient_http.problems import AppException, UpstreamException
from server_kit.asgi import RawHeaders

OnFailure = Literal["record", "release"]

_BARE: Final = re.compile(rb"[!#-+\--~]+")  # visible, less what structures a field
_LEAST_FAILURE: Final = 500
# RFC 9110, section 7.6.1: of one connection. The cookie, the date and the id of the
# request are of one exchange.
_OF_ONCE: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"set-cookie", b"date", b"x-request-id"),
    }
)


class MalformedKeyError(ValueError):
    """The header does not hold a key; the message says why, and repeats none of it."""


class Standing(Enum):
    """What a store says to a claim that was made for a key, other than an answer."""

    CLAIMED = "claimed"
    """Nobody has the key: it is the caller's, for the length of a lease."""

    RUNNING = "running"
    """A request like this one is being served."""

    DIFFERS = "differs"
    """The key was used for a request that was not like this one."""

    SPENT = "spent"
    """A request like this one was served, and its answer was not kept."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One request's claim to a key."""

    name: str
    """A digest of whose key it is, and of the key: neither can be read from it."""

    fingerprint: str
    """A digest of what was asked."""

    token: str
    """Of this claim and no other. Who comes with another changes nothing."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it is kept, and given again."""

    status: int
    headers: RawHeaders
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of the body and the headers."""
        return len(self.body) + sum(
            len(name) + len(value) for name, value in self.headers
        )

    def pack(self) -> bytes:
        """Return it as one piece of bytes; see `unpack`."""
        headers = [[part.decode("latin-1") for part in pair] for pair in self.headers]
        return json.dumps([self.status, headers]).encode() + b"\n" + self.body


def unpack(packed: bytes) -> Kept:
    """Return what `Kept.pack` has packed.

    Raises:
        ValueError: It has not packed that.

    """
    head, _, body = packed.partition(b"\n")
    try:
        status, pairs = json.loads(head)
        headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs
        ]
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError("that is no answer that was kept") from error
    if type(status) is not int:
        raise ValueError("an answer that was kept has a status")
    return Kept(status, headers, body)


def key_in(fields: Sequence[bytes], *, longest: int, lenient: bool) -> str:
    """Return the key that a request's `Idempotency-Key` fields hold.

    It is a string of RFC 9651, section 3.3.3: quoted, ASCII, and its parameters are
    ignored.

    Args:
        fields: The values of the field, at least one, as they came.
        longest: Characters that a key may have.
        lenient: Whether a word without quotes is a key too, the same as with them.

    Raises:
        MalformedKeyError: There are several, or it is none, or too long.

    """
    if len(fields) > 1:
        raise MalformedKeyError("there is more than one")
    field = fields[0]
    if lenient and _BARE.fullmatch(field):
        key = field.decode("ascii")
    else:
        key = _string(field)
    if not 0 < len(key) <= longest:
        raise MalformedKeyError(f"it must have 1 to {longest} characters")
    return key


def _string(field: bytes) -> str:
    try:
        parsed: Any = http_sf.parse(field, tltype="item")
    except ValueError as error:
        raise MalformedKeyError("it is not a string in double quotes") from error
    key, _ = parsed
    if type(key) is not str:  # a token is a subclass of str
        raise MalformedKeyError("it is not a string in double quotes")
    return key


def digest(*parts: bytes) -> str:
    """Return a digest of `parts`, which no other sequence of parts has."""
    total = sha256()
    for part in parts:
        total.update(b"%d:" % len(part))
        total.update(part)
    return total.hexdigest()


def kept_headers(headers: RawHeaders) -> RawHeaders:
    """Return those of an answer that are as true for whoever asks again.

    Args:
        headers: Names in any case.

    """
    once = set(_OF_ONCE)
    for name, value in headers:
        if name.lower() == b"connection":
            once |= {part.strip().lower() for part in value.split(b",")}
    return [(name, value) for name, value in headers if name.lower() not in once]


def is_refusal(
    status: int, unrecorded: frozenset[int], problem: type[AppException] | None
) -> bool:
    """Tell whether an answer was given before anything was done.

    Args:
        status: Of the answer.
        unrecorded: Statuses that say so.
        problem: Of which type the answer is, if it was made by the kit. What its type
            says counts for more than its status.

    """
    if problem is not None and problem.work_not_started:
        return True
    # A handler that failed in calling another service has begun, whatever the status.
    is_upstream = problem is not None and issubclass(problem, UpstreamException)
    return status in unrecorded and not is_upstream


def is_failure(status: int) -> bool:
    """Tell whether a handler that answers so may have left its work half done."""
    return status >= _LEAST_FAILURE
