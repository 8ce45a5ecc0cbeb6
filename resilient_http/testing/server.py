"""The scripted server and its bodies on httpx."""

import httpx

from resilient_http.family import HTTPX
from resilient_http.testing.script import Body, Server


class ScriptedBody(Body, httpx.AsyncByteStream, httpx.SyncByteStream):
    """A response body that may break off or take time: `httpx.Response(stream=...)`.

    Each time that it is read it starts anew. `closed` counts how often it was closed.

    Args:
        parts: Bytes to yield, exceptions to raise, either `After` a time on the clock
            of the server, or functions that return bytes.

    """


class ScriptedServer(
    Server[httpx.Request, httpx.Response], httpx.AsyncBaseTransport, httpx.BaseTransport
):
    """A server that answers from a script, as a transport for clients of either colour.

    It notes `requests`, their `bodies` and how many `sends` there were, and may be
    shared by threads and event loops.

    Args:
        script: What each send gets, one after the other; the last step repeats. A
            status; a response; an `AppException`, answered as `server_kit` writes it;
            any other exception, to be raised in place of an answer; one of these
            `After` a time; or a function of the request that returns one of them.
        seconds: What each send takes on the clock.
        content: The body of an answer that the script has as a bare status.
        clock: Where that time passes; None for a new one, found as `clock`.
        contract: How problems are written; None for bare slugs as types.

    Raises:
        TypeError: A step is something else.
        ValueError: There is no step.

    """

    _family = HTTPX
