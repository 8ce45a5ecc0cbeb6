"""A whole answer to a client: headers, an empty line, and the body.

`:status` stands among the headers, as it would in HTTP/2.
"""

from random import Random
from typing import Final

import httpx

from fuzz.wire import headers
from resilient_http import Client, Policy, State
from resilient_http.problems import AppException
from resilient_http.testing import ManualClock

WORDS: Final = (
    *(b":status: ", b"429", b"503", b"content-type: ", b"application/problem+json"),
    *(b"content-encoding: ", b"gzip", b"deflate", b"retry-after: ", b"date: ", b"\n\n"),
    *(b"x-should-retry: ", b"location: ", b"set-cookie: ", b"ratelimit: ", b"308"),
    *(b'"default";r=0;t=30', b"x-ratelimit-remaining: 0\n", b"x-ratelimit-reset: 9"),
    *(b'{"type": "x"}', b"content-length: ", b"idempotent-replayed: ", b"age: "),
)
_STATUSES: Final = range(200, 600)
_FIRST_ERROR: Final = 400
_DEADLINE: Final = 100.0
_POLICY: Final = Policy(deadline=_DEADLINE)
_SENDS: Final = 3  # a call, by default


def run(data: bytes) -> None:
    """Make three calls that are all answered so."""
    head, _, body = data.partition(b"\n\n")
    fields = headers(head)
    said = [value for name, value in fields if name == b":status"]
    status = int(said[0]) if said and said[0].isdigit() and len(said[0]) < 4 else 429  # noqa: PLR2004 - digits
    if status not in _STATUSES:
        return
    fields = [pair for pair in fields if _is_fair(*pair)]
    sent = 0

    def answer(_request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        return httpx.Response(status, headers=fields, stream=httpx.ByteStream(body))

    clock = ManualClock()
    state = State(clock=clock, rng=Random(1))  # noqa: S311 - jitter
    with Client(
        transport=httpx.MockTransport(answer), policy=_POLICY, state=state
    ) as client:
        for _ in range(3):
            began, sent = clock.time, 0
            _call(client, status)
            assert sent <= _SENDS
            assert clock.time - began <= _DEADLINE


def _is_fair(name: bytes, value: bytes) -> bool:
    # httpx takes a cookie that is not ASCII, and cannot send it back.
    is_cookie = name == b"set-cookie" and not value.isascii()
    return bool(name) and not name.startswith(b":") and not is_cookie


def _call(client: Client, status: int) -> None:
    try:
        response = client.get("http://shop.example/orders")
    except (AppException, httpx.HTTPError):
        return  # refused, out of time, or a body that cannot be decoded
    assert response.status_code == status
    if status < _FIRST_ERROR:
        return
    error = _raised(response)
    assert error is not None
    assert error.status == status
    assert error.attempts
    assert repr(error)


def _raised(response: httpx.Response) -> AppException | None:
    try:
        response.raise_for_status()
    except AppException as error:
        return error
    return None
