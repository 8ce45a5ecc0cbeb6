"""What a server announces, `RateLimit` and the like, up to the client's pacer."""

from random import Random
from typing import Final

import http_sf

from fuzz.wire import NOON, headers, joined
from resilient_http._core.announced import LONGEST, parse
from resilient_http._core.pacer import MOST_RESET, Pacer

WORDS: Final = (
    *(b"ratelimit: ", b"ratelimit-policy: ", b"ratelimit-remaining: ", b"age: "),
    *(b"ratelimit-reset: ", b"x-ratelimit-remaining: ", b"x-ratelimit-reset: "),
    *(b'"default";r=50;t=30', b'"default";q=100;w=60', b";qu=", b'"requests"'),
    *(b"limit=100, remaining=50, reset=30", b";pk=:AAEC:", b"1700000000000"),
)
_NO_LIMITS: Final = ("\x7f", '"x";r=-1', "x;r=1", '"x"', '"x";r=1;t=?1', '"x";r=1.0')
_SPREAD: Final = 1.1


def run(data: bytes) -> None:
    """Read an answer, as one that was served and as one that was refused."""
    said = joined(headers(data))
    pacer, rng = Pacer(), Random(1)  # noqa: S311 - jitter
    for status in (200, 403, 429):
        told = parse(said, status=status, wall=NOON)
        if told is None:
            continue
        assert told.remaining >= 0
        assert told.reset >= 0
        if told.quota is not None:
            assert min(told.quota) > 0
        pacer.announce(told.remaining, told.reset, 0, told.quota)
        assert 0 <= pacer.wait(0) <= MOST_RESET
        assert 0 <= pacer.reserve(0, rng) <= MOST_RESET * _SPREAD
    field = said.get("ratelimit")
    if field is not None and parse(said, status=200, wall=NOON) is not None:
        assert len(field) <= LONGEST
        is_list = field.lstrip(" ").startswith('"')
        kind = "list" if is_list else "dictionary"
        http_sf.parse(field.encode("ascii"), tltype=kind)
        for more in _NO_LIMITS if is_list else _NO_LIMITS[:1]:
            broken = {**said, "ratelimit": f"{field}, {more}"}
            assert parse(broken, status=200, wall=NOON) is None
