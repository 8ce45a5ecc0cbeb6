"""How much time the caller of a request has: what they said, and what we allow.

Headers that tell it, each relative, so that no two clocks need agree:

- `X-Request-Timeout-Ms: 1500`, what resilient_http sends: whole milliseconds.
- `grpc-timeout: 1500m`: 1 to 8 digits and a unit, H, M, S, m, u or n (gRPC over HTTP/2,
  "Requests").
- `x-envoy-expected-rq-timeout-ms: 1500`, what an Envoy in between sends.

What is none of that, or stands there twice, was not said: whoever wrote it cannot have
meant to have their request refused. Of several that are right the least holds.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from server_kit.checks import check_flag, check_seconds, wrong

# Fifteen digits are 31,000 years: what is longer was not meant.
_MILLISECONDS: Final = re.compile(rb"[0-9]{1,15}")
_GRPC: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {b"H": 3600, b"M": 60, b"S": 1, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_GRPC_TIMEOUT: Final = b"grpc-timeout"
HEADERS: Final = frozenset(
    {b"x-request-timeout-ms", _GRPC_TIMEOUT, b"x-envoy-expected-rq-timeout-ms"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long the requests of an app may take.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of its range.

    """

    maximum: float | None = None
    """Seconds that any request may take, from its headers to its answer.

    Callers may ask for less, and never get more. Callers who ask for nothing have this
    much until their response begins. None: as much as they ask for, and without end if
    they do not ask, as without this kit.
    """

    least_useful: float = 0.001
    """Seconds. Who has less than this when they arrive has nothing to gain."""

    cancel_on_disconnect: bool = False
    """Whether the handler is cancelled when its caller goes away before the answer.

    False: it is finished, as without this kit. What it writes is then written in full.
    """

    def __post_init__(self) -> None:
        check_seconds(self, "maximum", above=0, optional=True)
        check_seconds(self, "least_useful")
        check_flag(self, "cancel_on_disconnect")
        if self.maximum is not None and self.maximum < self.least_useful:
            raise ValueError(wrong(self, "maximum", "at least least_useful"))

    def bound(self, asked: float | None) -> float | None:
        """Return the seconds for a request; None for no bound."""
        if asked is None or self.maximum is None:
            return self.maximum if asked is None else asked
        return min(asked, self.maximum)


def asked_for(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Return the seconds that a caller says they have; None if they do not say."""
    found = [(name, value) for name, value in headers if name in HEADERS]
    if not found:
        return None
    names = [name for name, _ in found]
    said = [_seconds(*pair) for pair in found if names.count(pair[0]) == 1]
    return min((seconds for seconds in said if seconds is not None), default=None)


def _seconds(name: bytes, value: bytes) -> float | None:
    if name == _GRPC_TIMEOUT:
        parts = _GRPC.fullmatch(value)
        return None if parts is None else int(parts[1]) * _UNITS[parts[2]]
    return int(value) / 1000 if _MILLISECONDS.fullmatch(value) else None
