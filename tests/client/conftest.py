"""Every test of the client runs in both colours."""

import pytest

from tests.client.world import COLOURS, Colour


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> Colour:
    found: Colour = request.param
    return found
