"""What both ends share about the call at hand.

`server_kit` sets these for the request it serves; `resilient_http` reads them when the
code that serves it calls another service.
"""

from contextvars import ContextVar
from typing import Final

request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The id of the request being served; None outside one."""
