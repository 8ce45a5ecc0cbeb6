"""A whole request to a wrapped app, with all that reads its headers.

`METHOD path?query`, headers, an empty line, and the body.
"""

import asyncio
import logging
import re
from typing import Any, Final

from fuzz.wire import headers
from resilient_http import context
from server_kit import AccessLog, Idempotency, TrustedProxies, wrap
from server_kit.asgi import Message, Receive, Scope, Send

WORDS: Final = (
    *(b"POST / ", b"traceparent: ", b"x-request-id: ", b"idempotency-key: ", b"\n\n"),
    *(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"x-forwarded-for: "),
    *(b"content-type: ", b"application/json", b"application/x-www-form-urlencoded"),
    *(b"x-request-timeout-ms: ", b"content-length: ", b"authorization: ", b"cookie: "),
    *(b"content-encoding: ", b"retry-attempt: ", b"?a=b&", b"%22", b'{"a": "b"}'),
)
_SECRET: Final = "S3CR3T"  # noqa: S105 - to be found
_HIDDEN: Final = (
    *((b"authorization", b"Bearer S3CR3T"), (b"cookie", b"session=S3CR3T")),
    *((b"x-api-key", b"S3CR3T"), (b"referer", b"https://a:S3CR3T@b/?token=S3CR3T")),
)
_TRACE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_ID: Final = re.compile(r"[!-~]{1,128}")
_logger: Final = logging.getLogger("server_kit.access")


class _Lines(logging.Handler):
    """What the access log says, all of it."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.said += repr(vars(record))


def run(data: bytes) -> None:
    """Serve it once, and look at what came out and what was written."""
    head, _, body = data.replace(_SECRET.encode(), b"").partition(b"\n\n")
    first, _, rest = head.partition(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method.decode("latin-1").upper(),
        "path": path.decode(errors="replace"),
        "query_string": query + b"&password=S3CR3T",
        "headers": [*headers(rest), *_HIDDEN],
        "client": ("10.0.0.9", 4711),
    }
    lines, level = _Lines(), _logger.level
    _logger.addHandler(lines)
    _logger.setLevel(logging.INFO)
    try:
        sent = asyncio.run(_serve(scope, body))
    finally:
        _logger.setLevel(level)
        _logger.removeHandler(lines)
    kinds = [message["type"] for message in sent]
    assert kinds.count("http.response.start") == 1
    assert kinds[0] == "http.response.start"
    assert sent[0]["status"] != 500  # noqa: PLR2004 - a crash
    assert not sent[-1].get("more_body")
    assert _SECRET not in lines.said
    for _, value in sent[0]["headers"]:
        assert not {*value} & {*b"\r\n\0"}


async def _serve(scope: Scope, body: bytes) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    wrapped: Any = wrap(
        _answer,
        access_log=AccessLog(bodies=200, headers=True, query=True),
        idempotency=Idempotency(lenient=True),
        trusted_proxies=TrustedProxies(hops=1),
    )
    await wrapped(scope, receive, send)
    return sent


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    trace, request_id = context.traceparent.get(), context.request_id.get()
    assert trace is None or _TRACE.fullmatch(trace)
    assert request_id is not None
    assert _ID.fullmatch(request_id)
    given = [value for name, value in scope["headers"] if name == b"traceparent"]
    assert trace is None or [trace.encode()] == given
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
