"""A piece of text over and over: nothing takes more than its share of time.

A byte that says who reads it, and three lines: what comes first, the piece, and what
comes last.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, get_args

from fuzz.targets.masking import WORDS as _OF_MASKING
from fuzz.targets.proxies import WORDS as _OF_PROXIES
from fuzz.wire import NOON, Numbers
from resilient_http._core import announced, retry_after
from resilient_http.problems import MEDIA_TYPE, Contract
from server_kit.access_log.masking import Masker
from server_kit.idempotency.rules import MalformedKeyError, key_in
from server_kit.proxies import Header, TrustedProxies

WORDS: Final = (*_OF_MASKING, *_OF_PROXIES)
_LENGTH: Final = 40_000
_MOST: Final = 3.0
"""Seconds of this process's own. What is read once takes a hundredth of that."""

_MASKER: Final = Masker()
_CONTRACT: Final = Contract()


def run(data: bytes) -> None:
    """Let one of those that read text have it, and watch the time."""
    read = _READERS[Numbers(data).draw(1) % len(_READERS)]
    first, piece, last = (*data[1:].split(b"\n", 2), b"", b"")[:3]
    whole = first + piece * ((_LENGTH - len(first)) // max(1, len(piece))) + last
    text = whole.decode("latin-1")
    began = time.process_time()
    read(text)
    took = time.process_time() - began
    assert took < _MOST, f"{read} took {took:.1f} s"


def _client(text: str) -> None:
    for header in get_args(Header):
        lines = [(header.encode(), text.encode("latin-1"))]
        scope = {"type": "http", "headers": lines, "client": ("10.0.0.9", 4711)}
        TrustedProxies(hops=10**6, header=header).client_of(scope)


def _key(text: str) -> None:
    with suppress(MalformedKeyError):
        key_in([text.encode("latin-1")], longest=_LENGTH, lenient=True)


def _waits(text: str) -> None:
    retry_after.parse([text], date=text, wall=NOON)


def _limits(text: str) -> None:
    for name in ("ratelimit", "x-ratelimit-remaining"):
        said = {name: text, "ratelimit-policy": text, "x-ratelimit-reset": text}
        announced.parse(said, status=429, wall=NOON)


def _problem(text: str) -> None:
    kind = {"content-type": MEDIA_TYPE}
    _CONTRACT.parse(409, kind, text.encode("latin-1"), "http://shop/")


_READERS: Final[tuple[Callable[[str], object], ...]] = (
    *(_MASKER.document, _MASKER.pairs, _MASKER.url, _MASKER.words),
    *(_client, _key, _waits, _limits, _problem),
)
