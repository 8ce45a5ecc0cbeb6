"""The scripted server and its bodies on httpx2; see `resilient_http.testing`.

The clock and the chance are the same for both families.
"""

import httpx2

from resilient_http.httpx2 import HTTPX2
from resilient_http.testing.script import Body, Server

__all__ = ["ScriptedBody", "ScriptedServer"]


class ScriptedBody(Body, httpx2.AsyncByteStream, httpx2.SyncByteStream):
    """A response body that may break off or take time.

    See `resilient_http.testing.ScriptedBody`.
    """


class ScriptedServer(
    Server[httpx2.Request, httpx2.Response],
    httpx2.AsyncBaseTransport,
    httpx2.BaseTransport,
):
    """A server that answers from a script, as a transport.

    See `resilient_http.testing.ScriptedServer`.
    """

    _family = HTTPX2
