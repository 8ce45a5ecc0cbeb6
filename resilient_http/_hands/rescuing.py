"""Calls that have a fallback. What that may be, `resilient_http.fallback` says."""

import inspect
from typing import Any

import anyio

from resilient_http import fallback
from resilient_http._hands.driving import AsyncSend, SyncSend, acarry_out, carry_out
from resilient_http.hop import Hop
from resilient_http.response import Response, adiscard, discard


async def arescue(hop: Hop, send: AsyncSend) -> Response:
    """Carry `hop` out; where it ends badly, answer with its fallback."""
    response, raised = None, None
    try:
        response = await acarry_out(hop, send)
    except fallback.errors_of(hop.call) as error:
        raised = error
    bad = fallback.what_is_bad(hop.call, response, raised)
    if bad is None:
        return _as_it_was(response, raised)
    try:
        given = _given(hop, bad)
        if inspect.isawaitable(given):
            given = await given
    except BaseException:
        if response is not None:
            with anyio.CancelScope(shield=True):
                await adiscard(hop.call.family, response)
        raise
    if given is None:
        return _as_it_was(response, raised)
    hop.fell_back(bad)
    if response is not None:
        await adiscard(hop.call.family, response)
    if isinstance(given, Hop):
        return await acarry_out(given, send)
    return fallback.substitute(hop, given)


def rescue(hop: Hop, send: SyncSend) -> Response:
    """Carry `hop` out; where it ends badly, answer with its fallback."""
    response, raised = None, None
    try:
        response = carry_out(hop, send)
    except fallback.errors_of(hop.call) as error:
        raised = error
    bad = fallback.what_is_bad(hop.call, response, raised)
    if bad is None:
        return _as_it_was(response, raised)
    try:
        given = _given(hop, bad)
    except BaseException:
        if response is not None:
            discard(response)
        raise
    if given is None:
        return _as_it_was(response, raised)
    hop.fell_back(bad)
    if response is not None:
        discard(response)
    if isinstance(given, Hop):
        return carry_out(given, send)
    return fallback.substitute(hop, given)


def _given(hop: Hop, error: Exception) -> Any:
    given = hop.call.policy.fallback
    if isinstance(given, str):
        request = fallback.moved(hop)
        return None if request is None else Hop(hop.call, request, hop.colour)
    return given(hop.request, error) if callable(given) else given


def _as_it_was(response: Response | None, raised: Exception | None) -> Response:
    if raised is not None:
        raise raised
    assert response is not None  # noqa: S101 - a call ends in one or the other
    return response
