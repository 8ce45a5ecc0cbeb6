"""How a websocket is told that it is not wanted.

While it is connecting: a problem, where the server offers `websocket.http.response`;
else a close, which servers answer with a bare 403. Once it is accepted: a close. That
is 1008 for what the client did wrong and 1011 for the rest, with the problem's title as
its reason.
"""

from typing import Final

from resilient_http.problems import AppException
from server_kit.asgi import Message, Scope, Send
from server_kit.problems import answer_to

# RFC 6455, section 7.4.1.
POLICY_VIOLATION: Final = 1008
INTERNAL_ERROR: Final = 1011
MAX_REASON: Final = 123
"""Bytes of a close's reason (RFC 6455, section 5.5: 125, of which two are the code)."""

DENIAL: Final = "websocket.http.response"
_FIRST_OF_SERVER: Final = 500


def denial_of(problem: AppException, scope: Scope) -> list[Message]:
    """Return what refuses the connection of `scope`, which is not accepted yet."""
    if DENIAL not in (scope.get("extensions") or {}):
        return [close_of(problem)]
    answer = answer_to(problem, scope)
    start = {"type": f"{DENIAL}.start", "status": answer.status}
    return [
        {**start, "headers": answer.headers},
        {"type": f"{DENIAL}.body", "body": answer.body},
    ]


def close_of(problem: AppException) -> Message:
    """Return what ends a connection."""
    is_ours = problem.status >= _FIRST_OF_SERVER
    code = INTERNAL_ERROR if is_ours else POLICY_VIOLATION
    reason = reason_of(problem.title)
    return {"type": "websocket.close", "code": code, "reason": reason}


def reason_of(title: object) -> str:
    """Return as much of a title as fits into a close, whole characters."""
    text = title if isinstance(title, str) else ""
    return text.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore")


async def deny(problem: AppException, scope: Scope, send: Send) -> None:
    """Refuse the connection of `scope`, which is not accepted yet."""
    for message in denial_of(problem, scope):
        await send(message)
