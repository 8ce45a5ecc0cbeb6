"""The usage examples of the brief run as they are written, import paths apart."""

import ast
import inspect
from collections import Counter
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
import trio.testing

from resilient_http.problems import CircuitBreakerOpenException

USAGE = """
from example_service.infra.resilience import (
    CircuitBreaker,
    RetryConfig,
    with_retry,
    combine_circuit_breaker_and_retry
)

# Create circuit breaker
breaker = CircuitBreaker(
    name="auth_service",
    failure_threshold=5,
    recovery_timeout=60,
    expected_exception=httpx.HTTPError
)

# Use as decorator
@breaker
async def call_auth_service():
    return await httpx.get("https://auth.example.com/verify")

# Use as context manager
async with breaker:
    result = await call_auth_service()

# Retry with exponential backoff
@with_retry(max_attempts=5, base_delay=2.0)
async def fetch_data():
    response = await httpx.get("https://api.example.com/data")
    response.raise_for_status()
    return response.json()

# Combine circuit breaker and retry
@combine_circuit_breaker_and_retry(breaker, RetryConfig(max_attempts=3))
async def call_api():
    return await httpx.get("https://api.example.com/data")

# Get circuit breaker stats
stats = breaker.get_stats()
# {
#   "name": "auth_service",
#   "state": "closed",
#   "failure_count": 0,
#   "success_count": 15,
#   "failure_threshold": 5,
#   "recovery_timeout": 60
# }
"""

TESTING = """
from example_service.infra.resilience import CircuitBreaker

breaker = CircuitBreaker("test", failure_threshold=3, recovery_timeout=10)

@breaker
async def failing_call():
    raise httpx.HTTPError("Service unavailable")

# First 3 calls: actual failures
# 4th call: CircuitBreakerOpenException (fails fast)
# After 10 seconds: HALF_OPEN (allows test request)
"""


class Web:
    """What the examples call `httpx`: its errors, and an async `get` that is local."""

    HTTPError = httpx.HTTPError

    def __init__(self) -> None:
        self.calls = Counter[str]()
        self.failing = 0

    async def get(self, url: str) -> httpx.Response:
        await anyio.lowlevel.checkpoint()
        self.calls[url] += 1
        if self.failing > 0:
            self.failing -= 1
            raise httpx.ConnectError("scripted")
        request = httpx.Request("GET", url)
        return httpx.Response(200, json={"from": url}, request=request)


AUTH, DATA = "https://auth.example.com/verify", "https://api.example.com/data"


async def run(example: str, web: Web) -> SimpleNamespace:
    """Run an example as a module whose top level may await; return its names."""
    source = example.replace("example_service.infra.resilience", "resilient_http")
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, "<brief>", "exec", flags=flags, dont_inherit=True)
    names: dict[str, Any] = {"httpx": web, "__name__": "brief"}
    done = eval(code, names)
    if inspect.isawaitable(done):
        await done
    return SimpleNamespace(**names)


async def test_the_usage_example_runs_as_written() -> None:
    web = Web()
    brief = await run(USAGE, web)
    assert brief.result.json() == {"from": AUTH}
    assert (await brief.call_api()).json() == {"from": DATA}
    assert await brief.fetch_data() == {"from": DATA}
    assert web.calls == {AUTH: 1, DATA: 2}


async def test_its_stats_are_those_of_the_example() -> None:
    brief = await run(USAGE, Web())
    before = brief.stats["success_count"]
    for _ in range(15 - before):
        await brief.call_auth_service()
    assert brief.breaker.get_stats() == {
        "name": "auth_service",
        "state": "closed",
        "failure_count": 0,
        "success_count": 15,
        "failure_threshold": 5,
        "recovery_timeout": 60,
    }


async def test_its_breaker_opens_on_the_expected_exception_alone() -> None:
    web = Web()
    brief = await run(USAGE, web)
    with pytest.raises(RuntimeError, match="not an HTTP error"):
        async with brief.breaker:
            raise RuntimeError("not an HTTP error")
    web.failing = 5
    for _ in range(5):
        with pytest.raises(httpx.ConnectError):
            await brief.call_auth_service()
    with pytest.raises(CircuitBreakerOpenException):
        await brief.call_auth_service()
    with pytest.raises(CircuitBreakerOpenException):
        await brief.call_api()
    assert web.calls[DATA] == 0


def virtual_time(main: Any) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})


def test_its_retries_wait_and_go_on() -> None:
    async def main() -> None:
        web = Web()
        brief = await run(USAGE, web)
        web.failing = 4
        assert await brief.fetch_data() == {"from": DATA}
        assert web.calls[DATA] == 5
        web.failing = 2
        assert (await brief.call_api()).status_code == 200
        assert brief.breaker.get_stats()["failure_count"] == 0

    virtual_time(main)


def test_its_retries_end_with_the_last_error() -> None:
    async def main() -> None:
        web = Web()
        brief = await run(USAGE, web)
        web.failing = 100
        with pytest.raises(httpx.ConnectError):
            await brief.fetch_data()
        assert web.calls[DATA] == 5
        with pytest.raises(httpx.ConnectError):
            await brief.call_api()
        assert web.calls[DATA] == 5 + 3

    virtual_time(main)


async def test_the_testing_example_does_as_its_comments_say() -> None:
    brief = await run(TESTING, Web())
    now = 1_000.0
    # As written it is given no clock, and ten real seconds are too long for a test.
    brief.breaker._clock = lambda: now  # noqa: SLF001 - see above
    for _ in range(3):
        with pytest.raises(httpx.HTTPError, match="Service unavailable"):
            await brief.failing_call()
    with pytest.raises(CircuitBreakerOpenException) as refused:
        await brief.failing_call()
    assert refused.value.retry_after == 10
    now += 10
    async with brief.breaker:
        assert brief.breaker.state == "half_open"
    assert brief.breaker.get_stats()["success_count"] == 1
