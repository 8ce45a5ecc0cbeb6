"""The family under test: httpx, or its fork with `FAMILY=httpx2` in the environment.

To type checkers it is always httpx: the fork has the same API.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING or os.environ.get("FAMILY", "httpx") == "httpx":
    import httpx

    from resilient_http import (
        AsyncClient,
        AsyncResilientTransport,
        Client,
        ResilientTransport,
        wrap,
    )
    from resilient_http.testing import ScriptedBody, ScriptedServer
else:
    import httpx2 as httpx

    from resilient_http.httpx2 import (
        AsyncClient,
        AsyncResilientTransport,
        Client,
        ResilientTransport,
        wrap,
    )
    from resilient_http.testing.httpx2 import ScriptedBody, ScriptedServer

__all__ = [
    "AsyncClient",
    "AsyncResilientTransport",
    "Client",
    "ResilientTransport",
    "ScriptedBody",
    "ScriptedServer",
    "httpx",
    "wrap",
]
