"""Calls that have a fallback. What that may be, `resilient_http.fallback` says."""

import inspect
from typing import Any

from resilient_http import fallback
from resilient_http._hands.driving import AsyncSend, SyncSend, acarry_out, carry_out
from resilient_http.hop import Hop
from resilient_http.response import Response, adiscard, discard


async def arescue(hop: Hop, send: AsyncSend) -> Response:
    """Carry `hop` out; where it ends badly, answer with its fallback."""
    response: Response | None = None
    try:
        response = await acarry_out(hop, send)
        if not fallback.is_bad(response):
            return response
        error: Exception = response.error()
    except fallback.errors_of(hop.call) as raised:
        if fallback.is_own_mistake(hop.call, raised):
            raise
        error = raised
    given = _given(hop, error)
    if inspect.isawaitable(given):
        given = await given
    if given is None:
        return _as_it_was(response, error)
    hop.fell_back(error)
    if response is not None:
        await adiscard(hop.call.family, response)
    if isinstance(given, Hop):
        return await acarry_out(given, send)
    return fallback.substitute(hop, given)


def rescue(hop: Hop, send: SyncSend) -> Response:
    """Carry `hop` out; where it ends badly, answer with its fallback."""
    response: Response | None = None
    try:
        response = carry_out(hop, send)
        if not fallback.is_bad(response):
            return response
        error: Exception = response.error()
    except fallback.errors_of(hop.call) as raised:
        if fallback.is_own_mistake(hop.call, raised):
            raise
        error = raised
    given = _given(hop, error)
    if given is None:
        return _as_it_was(response, error)
    hop.fell_back(error)
    if response is not None:
        discard(response)
    if isinstance(given, Hop):
        return carry_out(given, send)
    return fallback.substitute(hop, given)


def _given(hop: Hop, error: Exception) -> Any:
    policy = hop.call.policy
    if isinstance(policy.fallback, str):
        request = fallback.moved(hop)
        return None if request is None else Hop(hop.call, request, hop.colour)
    return (
        policy.fallback(hop.request, error)
        if callable(policy.fallback)
        else (policy.fallback)
    )


def _as_it_was(response: Response | None, error: Exception) -> Response:
    if response is None:
        raise error
    return response
