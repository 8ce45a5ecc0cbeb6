"""A Redis that wants a password, or is behind TLS. asyncio only."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from server_kit.ratelimit.limiter import RateLimiter
from tests.server.relay import relay
from tests.server.valkey import Valkey, valkey

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])
PATIENT = 20.0  # seconds: a busy machine is no fault
HOUR = 3_600.0
SECRET = "open-sesame"


@pytest.fixture(scope="module")
def locked() -> Iterator[Valkey]:
    """A server that lets in who knows its password, and `guest` to some keys."""
    with valkey() as server:
        rights = ("~{guests}:*", "+@all", ">" + SECRET)
        server.ask("ACL", "SETUSER", "guest", "on", *rights)
        server.ask("CONFIG", "SET", "requirepass", SECRET)
        yield server


@asynccontextmanager
async def limiter_at(url: str, **given: Any) -> Any:
    limiter = RateLimiter(url, timeout=PATIENT, **given)
    yield limiter
    await limiter.aclose()


async def spend(limiter: RateLimiter, key: str) -> list[tuple[str | None, int]]:
    """Return what a caller is told, and then a crowd."""
    first = await limiter.check(key, limit=100, window=HOUR)
    crowd = [limiter.check(key, limit=100, window=HOUR) for _ in range(40)]
    told = [first, *await asyncio.gather(*crowd)]
    return [(decision.outage, decision.remaining) for decision in told]


async def test_a_password_is_in_the_url(locked: Valkey) -> None:
    url = f"redis://:{SECRET}@127.0.0.1:{locked.port}"
    async with limiter_at(url) as limiter:
        assert await spend(limiter, "url") == [
            (None, left) for left in range(99, 58, -1)
        ]


async def test_a_user_needs_only_the_keys_of_the_prefix(locked: Valkey) -> None:
    url = f"redis://guest:{SECRET}@127.0.0.1:{locked.port}"
    async with limiter_at(url, prefix="guests") as limiter:
        assert {outage for outage, _ in await spend(limiter, "k")} == {None}
        held = await limiter.reserve("held", limit=10, window=HOUR, cost=3)
        await held.settle(2)
        assert (await limiter.peek("held", limit=10, window=HOUR)).remaining == 8


@pytest.mark.parametrize("credentials", ["", ":wrong-sesame@", "guest:wrong-sesame@"])
async def test_who_is_not_let_in_is_told_why_and_the_secret_is_not(
    locked: Valkey, credentials: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://{credentials}127.0.0.1:{locked.port}"
    async with limiter_at(url, on_outage="closed") as limiter:
        decision = await limiter.check("k", limit=100, window=HOUR)
        assert (decision.allowed, decision.outage) == (False, "closed")
    assert "AuthenticationError" in caplog.text
    assert "sesame" not in caplog.text


async def test_keys_that_a_user_may_not_touch_are_an_outage(
    locked: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://guest:{SECRET}@127.0.0.1:{locked.port}"
    async with limiter_at(url, prefix="others") as limiter:
        assert (await limiter.check("k", limit=100, window=HOUR)).outage == "open"
    assert "NOPERM" in caplog.text


async def test_tls_is_asked_for_by_the_scheme() -> None:
    authority = trustme.CA()
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(shown)
    with (
        valkey() as server,
        relay(server.port, tls=shown) as wire,
        authority.cert_pem.tempfile() as trusted,
    ):
        url = f"rediss://localhost:{wire.port}/0"
        async with limiter_at(f"{url}?ssl_ca_certs={trusted}") as limiter:
            assert {outage for outage, _ in await spend(limiter, "k")} == {None}
        async with limiter_at(url) as limiter:  # that trusts nobody it does not know
            assert {outage for outage, _ in await spend(limiter, "k")} == {"open"}
        async with limiter_at(server.url) as limiter:
            assert (await limiter.peek("k", limit=100, window=HOUR)).remaining == 59
