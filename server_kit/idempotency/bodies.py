"""A request's body: read once to be digested, and once more by the app."""

from typing import Final

from resilient_http.problems import AppException, for_status
from server_kit.asgi import Message, Receive, Scope, values_of

_TOO_LARGE: Final = 413
_MOST_DIGITS: Final = 15


class GoneError(Exception):
    """The client left before its request was here."""


class Body:
    """The messages of a request, and its bytes."""

    __slots__ = ("_messages", "_receive", "content")

    def __init__(self, receive: Receive, messages: list[Message]) -> None:
        self.content = b"".join(message.get("body", b"") for message in messages)
        self._messages = messages
        self._receive = receive

    async def receive(self) -> Message:
        """Give the app message after message as they came, then what comes."""
        return self._messages.pop(0) if self._messages else await self._receive()


async def read(scope: Scope, receive: Receive, most: int) -> Body:
    """Read all of a request's body.

    Raises:
        AppException: 413, it is longer than `most` bytes.
        GoneError: It broke off.

    """
    if _announced(scope) > most:
        raise _too_large(most)
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise GoneError
        size += len(message.get("body", b""))
        if size > most:
            raise _too_large(most)
        messages.append(message)
        if not message.get("more_body", False):
            return Body(receive, messages)


def _announced(scope: Scope) -> int:
    lengths = values_of(scope["headers"], b"content-length")
    is_number = len(lengths) == 1 and len(lengths[0]) <= _MOST_DIGITS
    return int(lengths[0]) if is_number and lengths[0].isdigit() else 0


def _too_large(most: int) -> AppException:
    detail = f"A request with an Idempotency-Key may have {most} bytes"
    return for_status(_TOO_LARGE, detail)
