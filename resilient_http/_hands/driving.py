"""Doing what a hop wants done until it wants no more.

A request goes one way through it::

    httpx client -> acarry_out -> Hop: what now?  -> inner transport
                 <- response   <- Hop: enough?    <- answer or error
"""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from resilient_http._core.steps import Discard, Ended, Queue, Send, Wait
from resilient_http._hands.pool import aclose, mend
from resilient_http._hands.queueing import await_slot, wait_for_slot
from resilient_http._hands.racing import arace, race
from resilient_http._hands.reading import AsyncBody, Body, aread, read
from resilient_http._hands.sync_backend import bounded
from resilient_http._hands.timers import timer_in
from resilient_http.context import is_sending
from resilient_http.hop import Hop
from resilient_http.response import Response, adiscard, discard
from resilient_http.sending import Sending, nothing

AsyncSend = Callable[[Any], Awaitable[Any]]
SyncSend = Callable[[Any], Any]


async def acarry_out(hop: Hop, send: AsyncSend) -> Response:
    """Do what `hop` wants done; return the answer or raise what it ended with."""
    with hop:
        while (command := hop.command) is not None:
            if isinstance(command, Send):
                if command.hedge_after is None:
                    hop.advance(await asend(hop.sending(), send))
                else:
                    await arace(hop, command.hedge_after, send, asend)
                continue
            if isinstance(command, Wait):
                await hop.call.settings.state.clock.asleep(command.delay)
            elif isinstance(command, Queue):
                await await_slot(hop, command.ticket)
            elif isinstance(command, Discard):
                await adiscard(hop.call.family, hop.answer)
            hop.advance(hop.woke())
    response = hop.result()
    if hop.is_unread:
        body = hop.call.family.stream(AsyncBody)
        response.stream = body(hop, hop.out[0], response.stream)
    return response


def carry_out(hop: Hop, send: SyncSend) -> Response:
    """Do what `hop` wants done; return the answer or raise what it ended with."""
    with hop:
        while (command := hop.command) is not None:
            if isinstance(command, Send):
                if command.hedge_after is None:
                    hop.advance(send_once(hop.sending(), send))
                else:
                    race(hop, command.hedge_after, send, send_once)
                continue
            if isinstance(command, Wait):
                hop.call.settings.state.clock.sleep(command.delay)
            elif isinstance(command, Queue):
                wait_for_slot(hop, command.ticket)
            elif isinstance(command, Discard):
                discard(hop.answer)
            hop.advance(hop.woke())
    response = hop.result()
    if hop.is_unread:
        body = hop.call.family.stream(Body)
        response.stream = body(hop, hop.out[0], response.stream)
    return response


async def asend(sending: Sending, send: AsyncSend) -> Ended:
    """Send a request once, with all that belongs to it; say how that ended."""
    token = is_sending.set(True)
    try:
        with timer_in(sending.call.loop, sending.left) as time:
            sending.rearm = time.rearm
            try:
                answer = await send(sending.request)
            except BaseException as error:
                for transport in sending.call.sender.transports():
                    await mend(sending.call.family, transport, error)
                raise
            try:
                response = sending.head(answer)
                if sending.call.streamed or not response.has_content:
                    await aread(sending, response)
            except BaseException as error:
                try:
                    await mend(sending.call.family, answer, error)
                finally:  # asyncio may cancel that, too, which no shield holds off
                    with anyio.CancelScope(shield=True):
                        await aclose(sending.call.family, answer)
                raise
    except sending.call.expected as error:
        return sending.failed(error, stalled=time.stalled)
    finally:
        is_sending.reset(token)
        sending.rearm = nothing  # or each would keep the other
    if time.expired:
        return sending.gave_up(stalled=time.stalled)
    return sending.replied(response)


def send_once(sending: Sending, send: SyncSend) -> Ended:
    """Send a request once, with all that belongs to it; say how that ended."""
    token = is_sending.set(True)
    try:
        with bounded(sending):
            answer = send(sending.request)
            try:
                response = sending.head(answer)
                if sending.call.streamed or not response.has_content:
                    read(sending, response)
            except BaseException:
                answer.close()
                raise
    except sending.call.expected as error:
        return sending.failed(error)
    finally:
        is_sending.reset(token)
    return sending.replied(response)
