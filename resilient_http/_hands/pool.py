"""What a call leaves behind in its pool when it is cut short, and how it is put right.

A pool is two lists: requests, and the connections they hold. Cut a request at the wrong
moment, and httpcore drops it while its connection still counts as in use. Nobody will
ever free that one: the pool is one place smaller for good. Over HTTP/2, what one call
leaves half done harms all that share its connection.

Nothing here runs unless a send, a read or a close has failed, and nothing here waits
for the network. httpcore keeps no note of what was cut, but the traceback of the error
does. Versions and transports that are not known are left as they are.

Sync pools need none of it: their books are kept without a wait in between, and nothing
cuts a thread short but `KeyboardInterrupt`.
"""
# ruff: noqa: SLF001 - what has to be put right is private

from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NoReturn

import anyio

from resilient_http.family import Family

_KNOWN: Final = {"httpcore": "1.0.", "httpcore2": "2."}
"""The versions whose private names these are."""
_DEEPEST: Final = 8
"""Transports within transports, or bodies within bodies, that are looked into."""
_WRAPPED: Final = ("handle_async_request", "handle_request", "__aiter__")
"""One of which whatever leads to a pool has."""
_LONGEST_CLOSE: Final = 0.1
"""Seconds that closing may hold up a cancellation. A socket takes none."""
_CANCEL: Final = 8  # RFC 9113 section 7
_FRAGILE: Final = {
    "_send_connection_init": ("self", ""),
    "_write_outgoing_data": ("data_to_send", ""),
    "handle_async_request": ("local_settings_max_streams", "stream_id"),
}
"""Where an HTTP/2 connection does not survive a cut: in such a function, from when the
first of these local names is bound, to more than nothing, until the second is."""


async def aclose(family: Family, closing: Any) -> None:
    """Close a response or a body, and put its pool right if that fails."""
    try:
        await closing.aclose()
    except BaseException as error:
        await mend(family, closing, error)
        raise


async def mend(family: Family, failed: object, error: BaseException) -> None:
    """Put right the pools behind a transport, a response or a body that has failed.

    To be awaited where `error` is caught, before anything else is: until then others
    may come across what was left behind.
    """
    lost: list[Any] = []
    with suppress(AttributeError):  # a version with other names than those we know
        for owner in owners(family, failed):
            traces = list(_traces(error))
            for trace in traces:
                lost += _half_open(trace) + _retire_torn(family, trace)
                lost += _left_open(trace)
            lost += _sweep(owner._pool, changed=_forget_cut(owner, traces))
    await _close(lost)


def is_known(core: Any) -> bool:
    """Whether `core` is a version whose private names we know."""
    known: bool = core.__version__.startswith(_KNOWN.get(core.__name__, "?"))
    return known


def frames_of(error: BaseException) -> list[FrameType]:
    """Return the frames that `error` came through, outermost first."""
    frames, step = [], error.__traceback__
    while step is not None:
        frames.append(step.tb_frame)
        step = step.tb_next
    return frames


def owners(family: Family, outer: object, deepest: int = _DEEPEST) -> Iterator[Any]:
    """Yield what has a pool that we know: `outer`, or whatever it wraps."""
    core = family.core
    if not is_known(core):
        return
    attributes = getattr(outer, "__dict__", {})
    pools = core.AsyncConnectionPool, core.ConnectionPool
    if isinstance(attributes.get("_pool"), pools):
        yield outer
    elif deepest:
        for inner in attributes.values():
            if any(hasattr(type(inner), name) for name in _WRAPPED):
                yield from owners(family, inner, deepest - 1)


def _traces(error: BaseException | None) -> Iterator[list[FrameType]]:
    """Yield the frames, outermost first, of `error` and of what led to it."""
    while error is not None:
        yield frames_of(error)
        error = error.__context__


def _sweep(pool: Any, *, changed: bool) -> list[Any]:
    """Take out the connections that are lost, and give their places to who waits.

    Args:
        pool: What to look through.
        changed: Whether there may be a free place even if none is lost.

    Returns:
        What is to be closed.

    """
    _relist(pool)
    held = {id(request.connection) for request in pool._requests}
    lost = [
        connection
        for connection in pool._connections
        if id(connection) not in held and _is_lost(connection)
    ]
    for connection in lost:
        pool._connections.remove(connection)
    for connection in pool._connections:
        _reset_unread(connection)
    if lost or changed:
        lost += pool._assign_requests_to_connections()
    return lost


def _is_lost(connection: Any) -> bool:
    """Whether a connection that nobody holds is in nobody's reach either."""
    if connection.is_closed():
        return False  # which the pool notices itself
    return not (connection.is_idle() and connection.is_available())


def _relist(pool: Any) -> None:
    # Several requests may wait for one connection. The first that is cut marks it as
    # failed, which throws it out, to serve the others unseen and stay open for ever.
    for request in pool._requests:
        connection = request.connection
        if getattr(connection, "_connect_failed", False):
            connection._connect_failed = False
            if connection not in pool._connections and not connection.is_closed():
                pool._connections.append(connection)


def _forget_cut(owner: Any, traces: list[list[FrameType]]) -> bool:
    """Take out the request of a body whose close was cut; return whether it was."""
    was_closing = any(
        frame.f_code.co_name == "aclose" and frame.f_locals.get("self") is owner
        for trace in traces
        for frame in trace
    )
    if not was_closing or owner._pool_request not in owner._pool._requests:
        return False
    owner._pool._requests.remove(owner._pool_request)
    return True


def _half_open(trace: list[FrameType]) -> list[Any]:
    """Return the sockets that were dropped in the middle of a TLS handshake."""
    upgraded = [
        frame.f_locals.get("self")
        for frame in trace
        if frame.f_code.co_name == "start_tls"
    ]
    return [stream for stream in upgraded if hasattr(stream, "get_extra_info")]


def _left_open(trace: list[FrameType]) -> list[Any]:
    """Return what had left its pool to be closed, and was not, as one was cut."""
    return [
        connection
        for frame in trace
        if frame.f_code.co_name == "_close_connections"
        for connection in frame.f_locals.get("closing", ())
        if not connection.is_closed()
    ]


def _retire_torn(family: Family, trace: list[FrameType]) -> list[Any]:
    """Send no more requests over HTTP/2 connections that are in an unknown state.

    Cut while it is set up, one miscounts its streams. Cut while it writes, it may lose
    frames, without which the server reads the headers of other requests wrongly.

    Returns:
        What is to be closed: who waits there for an answer may wait in vain.

    """
    closing = []
    for depth, frame in enumerate(trace):
        name = frame.f_code.co_name
        if name not in _FRAGILE:
            continue
        begun, ended = _FRAGILE[name]
        names = frame.f_locals
        two: Any = names.get("self")
        if not names.get(begun) or ended in names or not hasattr(two, "_h2_state"):
            continue
        if name == "_write_outgoing_data":
            if _was_written(trace[depth:]):
                continue
            closing.append(two._network_stream)
        two._connection_error = True
        if not two.is_available():  # or it would be chosen for ever
            two._send_connection_init = _elsewhere(family)
            two._send_request_headers = _elsewhere(family)
    return closing


def _was_written(trace: list[FrameType]) -> bool:
    """Whether a write was cut in the turn of the loop that anyio yields after it.

    With TLS that makes no difference: anyio takes the stream for broken.
    """
    names = {frame.f_code.co_name for frame in trace}
    return "cancel_shielded_checkpoint" in names and "_flush_write_bio" not in names


def _elsewhere(family: Family) -> Any:
    """Return what has the pool send a request of which nothing was sent elsewhere."""

    async def refuse(**_: object) -> NoReturn:
        raise family.core.ConnectionNotAvailable

    return refuse


def _reset_unread(connection: Any) -> None:
    """Call off the streams that nobody reads, along with the next frames sent."""
    while connection is not None and not hasattr(connection, "_h2_state"):
        connection = getattr(connection, "_connection", None)
    if connection is None or not connection.is_available():
        return
    state = connection._h2_state
    for number, stream in state.streams.items():
        if stream.open and number not in connection._events:
            state.reset_stream(number, _CANCEL)


async def _close(lost: list[Any]) -> None:
    if not lost:
        return
    first, *rest = lost
    try:
        # What fails to close has left the pool all the same.
        with anyio.move_on_after(_LONGEST_CLOSE, shield=True), suppress(Exception):
            await first.aclose()
    finally:
        await _close(rest)
