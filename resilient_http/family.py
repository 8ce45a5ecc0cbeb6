"""httpx and its fork httpx2: one API, and not a class in common.

What is written once here is written against plain objects of either; where a class has
to be of the family, it is made when it is first asked for.
"""

from typing import Any, Final

import httpcore
import httpx

Kinds = tuple[type[Exception], ...]


class Family:
    """One of the two: the module users import, and the one its transports use.

    Args:
        http: `httpx`, or what has its names.
        core: `httpcore`, or what has its names.

    """

    def __init__(self, http: Any, core: Any) -> None:
        self.http = http
        self.core = core
        self.passing: Kinds = (
            http.TimeoutException,
            http.NetworkError,
            http.RemoteProtocolError,
        )
        """What may not happen next time."""
        self.own_faults: Kinds = (
            http.LocalProtocolError,
            http.UnsupportedProtocol,
            http.PoolTimeout,
        )
        """What happened on this side and says nothing of the server."""
        self.nothing_sent: Kinds = (
            http.ConnectError,
            http.ConnectTimeout,
            http.UnsupportedProtocol,
            http.PoolTimeout,
        )
        """What happens before the first byte of the request leaves."""
        self.expected: Kinds = (http.TransportError,)
        """What a transport may raise in place of an answer."""
        self.bytes: Any = http.ByteStream
        """What a body is that was there from the start."""
        self.bodies = (http.AsyncByteStream, http.SyncByteStream)
        """What a body is, of either colour."""
        self._streams: dict[type, Any] = {}

    def stream(self, cls: type) -> Any:
        """Return `cls` as a body of this family, of either colour."""
        found = self._streams.get(cls)
        if found is None:
            bases = (cls, self.http.AsyncByteStream, self.http.SyncByteStream)
            found = self._streams[cls] = type(cls.__name__, bases, {})
        return found


HTTPX: Final = Family(httpx, httpcore)
