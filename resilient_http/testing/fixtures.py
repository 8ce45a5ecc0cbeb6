"""Fixtures for pytest, which no other module here needs.

To have them, in the `conftest.py` at the root of your tests::

    pytest_plugins = ["resilient_http.testing.fixtures"]

"""

from collections.abc import Iterator

import pytest

from resilient_http.testing import ManualClock, ScriptedServer


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return a clock that moves when somebody waits; set `autojump` to change that."""
    return ManualClock()


@pytest.fixture
def scripted_server(manual_clock: ManualClock) -> Iterator[ScriptedServer]:
    """Yield a server that answers 200 until it is given another `script`.

    In the end every body that it handed out must have been closed.
    """
    server = ScriptedServer(200, clock=manual_clock)
    yield server
    server.assert_closed()
