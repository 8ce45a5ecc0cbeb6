"""Fixtures of the server kit's tests."""

from collections.abc import Iterator

import pytest

from tests.server.browser import CHROMIUM, Browser, opened
from tests.server.topologies import Cluster, cluster


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; Debian's package of that name will do")
    with opened() as found:
        yield found


@pytest.fixture(scope="session")
def three() -> Iterator[Cluster]:
    """A cluster of three primaries and a replica of the first.

    What is moved in it is moved back, and what is broken is mended.
    """
    with cluster() as running:
        yield running
