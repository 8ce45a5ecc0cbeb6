"""What an error of HTTP/2 says about the request that it ended.

A server promises that it has done nothing about a request, so that any may be sent
again, in two ways (RFC 9113, section 8.7): it resets the stream with REFUSED_STREAM, or
leaves it out of those that, by its GOAWAY, it may have processed. httpcore raises both
as an error around the event. It does not say which stream was ours, but the traceback
of the error does.

Most that a GOAWAY leaves out never comes here: httpcore itself sends it again, unless
nothing at all was processed, or a body was on its way when the GOAWAY came.
"""

from typing import Any, Final

from resilient_http._hands.pool import frames_of, is_known
from resilient_http.family import Family

_REFUSED_STREAM: Final = 7  # RFC 9113, section 7
_SENDS: Final = frozenset({"handle_request", "handle_async_request"})


def was_not_processed(error: Exception, family: Family) -> bool:
    """Whether the server has promised that it did nothing about the request.

    No for all that is not known for certain: other transports, other versions.

    Args:
        error: What the transport raised in place of an answer.
        family: Of the client.

    """
    # No further than what httpx itself was told: a transport that sends twice of its
    # own accord may fail for good after it was refused.
    cause, core = error.__cause__, family.core
    if not (isinstance(cause, core.RemoteProtocolError) and is_known(core)):
        return False
    two, stream = _stream_of(cause)
    if stream is None:
        return False
    left_out = any(_leaves_out(event, stream) for event in cause.args)
    return left_out or _is_unopened(two, cause)


def was_provoked(error: Exception, family: Family) -> bool:
    """Whether httpcore takes for our mistake what the server has sent.

    As it does with frames that follow a GOAWAY, and with any that break the rules.
    """
    cause = error.__cause__
    if not isinstance(cause, family.core.LocalProtocolError):
        return False
    return any(
        frame.f_code.co_name == "receive_data"
        for reason in cause.args
        if isinstance(reason, Exception)
        for frame in frames_of(reason)
    )


def _stream_of(error: BaseException) -> tuple[Any, int | None]:
    """Return the connection and the number of a stream that was not answered.

    An answer that breaks off is raised to whoever reads it, from another function. What
    has been answered was processed, whatever the server says of it later.
    """
    for frame in frames_of(error):
        two = frame.f_locals.get("self")
        if frame.f_code.co_name in _SENDS and hasattr(two, "_h2_state"):
            return two, frame.f_locals.get("stream_id")
    return None, None


def _leaves_out(event: object, stream: int) -> bool:
    last: int | None = getattr(event, "last_stream_id", None)
    if last is not None:
        return last < stream
    code: int | None = getattr(event, "error_code", None)
    return code == _REFUSED_STREAM


def _is_unopened(two: Any, error: BaseException) -> bool:
    """Whether the connection was closing before the headers went out."""
    reason = error.__context__
    return reason is not None and any(
        frame.f_code.co_name == "send_headers"
        and frame.f_locals.get("self") is two._h2_state  # noqa: SLF001 - no other way
        for frame in frames_of(reason)
    )
