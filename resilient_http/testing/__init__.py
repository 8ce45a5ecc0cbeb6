"""Time, chance and a server for tests of what calls others: no socket, no sleep.

    clock = ManualClock()
    server = ScriptedServer(503, 200, clock=clock)
    client = Client(transport=server, state=State(clock=clock, rng=Fixed(1.0)))

For httpx2 the server is in `resilient_http.testing.httpx2`. Fixtures for pytest are in
`resilient_http.testing.fixtures`; nothing else here needs it.
"""

from resilient_http.testing.chance import Fixed
from resilient_http.testing.clock import ManualClock
from resilient_http.testing.script import After
from resilient_http.testing.server import ScriptedBody, ScriptedServer

__all__ = ["After", "Fixed", "ManualClock", "ScriptedBody", "ScriptedServer"]
