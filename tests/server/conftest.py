"""Fixtures of the server kit's tests."""

from collections.abc import Iterator

import pytest

from tests.server.browser import CHROMIUM, Browser, opened


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; Debian's package of that name will do")
    with opened() as found:
        yield found
