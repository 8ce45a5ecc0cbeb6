"""Handing a request to its transport as the clients of both families do, for less.

Theirs makes a context manager to name the request in an error, and gathers what goes
into a log line that nearly nobody reads: 5 µs of each hop. Ours does without both. It
stands in for functions whose text is known, word for word, and while nobody reads that
log. What a later version, a subclass or a patch has in their place is called as ever.
"""
# ruff: noqa: SLF001 - what theirs does with a client, it does with private names

import hashlib
import inspect
import logging
import time
from collections.abc import Callable
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, Final, NamedTuple

_Bind = Callable[[Any, Any, float], Any]
"""Puts the body of a response into what times it."""


class _StandIn(NamedTuple):
    send: Callable[..., Any]
    log: logging.Logger
    """Where theirs tells of each request, and ours does not."""


def lean_send(theirs: Any) -> Any:
    """Return what does as `theirs` for less; `theirs` itself where it is not known.

    Args:
        theirs: The `_send_single_request` of a client, of either family and colour.

    """
    # Not isinstance: what wraps a method may pass for it, and is there for a reason.
    if type(theirs) is not MethodType:
        return theirs
    ours = _stand_in(theirs.__func__)
    if ours is None or ours.log.isEnabledFor(logging.INFO):
        return theirs
    return MethodType(ours.send, theirs.__self__)


@lru_cache(maxsize=64)
def _stand_in(theirs: Any) -> _StandIn | None:
    try:
        known = _KNOWN.get(_digest(theirs))
    except (AttributeError, KeyError, OSError, TypeError):  # or there is no text
        return None
    if known is None:
        return None
    make, bind = known
    return _StandIn(make(theirs, bind), theirs.__globals__["logger"])


def _digest(theirs: FunctionType) -> str:
    """Return what stands for the text of a function, and of what names its request."""
    naming = theirs.__globals__["request_context"].__wrapped__
    # Of their code: a function may say that it is another, which it wraps.
    texts = [inspect.getsource(it.__code__) for it in (theirs, naming)]
    return hashlib.blake2b("".join(texts).encode(), digest_size=16).hexdigest()


def _async(theirs: FunctionType, bind: _Bind) -> Callable[..., Any]:
    names, failure = theirs.__globals__, _failure_of(theirs)
    body, bound = names["AsyncByteStream"], names["BoundAsyncStream"]

    async def send(client: Any, request: Any) -> Any:
        if not isinstance(request.stream, body):
            return await theirs(client, request)  # which refuses it
        transport = client._transport_for_url(request.url)
        start = time.perf_counter()
        try:
            response = await transport.handle_async_request(request)
        except failure as error:
            error.request = request
            raise
        assert isinstance(response.stream, body)  # noqa: S101 - as theirs does
        response.stream = bind(bound, response, start)
        _take_in(client, request, response)
        return response

    return send


def _sync(theirs: FunctionType, bind: _Bind) -> Callable[..., Any]:
    names, failure = theirs.__globals__, _failure_of(theirs)
    body, bound = names["SyncByteStream"], names["BoundSyncStream"]

    def send(client: Any, request: Any) -> Any:
        if not isinstance(request.stream, body):
            return theirs(client, request)  # which refuses it
        transport = client._transport_for_url(request.url)
        start = time.perf_counter()
        try:
            response = transport.handle_request(request)
        except failure as error:
            error.request = request
            raise
        assert isinstance(response.stream, body)  # noqa: S101 - as theirs does
        response.stream = bind(bound, response, start)
        _take_in(client, request, response)
        return response

    return send


def _failure_of(theirs: FunctionType) -> Any:
    """Return the errors that have a request to name."""
    naming = theirs.__globals__["request_context"].__wrapped__
    return naming.__globals__["RequestError"]


def _take_in(client: Any, request: Any, response: Any) -> None:
    response.request = request
    client.cookies.extract_cookies(response)
    response.default_encoding = client._default_encoding


def _with_response(bound: Any, response: Any, start: float) -> Any:
    return bound(response.stream, response=response, start=start)


def _by_itself(bound: Any, response: Any, start: float) -> Any:
    return bound(response.stream, start=start)


_KNOWN: Final = {
    # httpx 0.28
    "de1a3d8b6ea3b5f0335608906150e3d1": (_async, _with_response),
    "3a81923eb140d18bf5279178c13019f9": (_sync, _with_response),
    # httpx2 2.4 to 2.16
    "00ba575a0d3e8738013b67b9972d55b6": (_async, _by_itself),
    "a200bbeb944741454ca974b4b4c1aa19": (_sync, _by_itself),
}
"""What stands in for which text, by its digest."""
