"""A limiter under every fault of a real Redis. asyncio only."""

import pytest

from server_kit.ratelimit.events import RedisBack, RedisDown
from tests.server.faults import FAULTS
from tests.server.outages import LIMIT, Seen, live_through

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])

CROWD = 200

# Seconds, on a machine that does other things as well; `make faults` tells exactly.
SOON = 0.5
"""To answer, where 0.05 are allowed, and a client of redis-py waits for 5."""
BACK = 3.0


@on_asyncio
@pytest.mark.case("S4", "S6", "S8", "R36")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_costs_its_crowd_no_time_and_is_over_when_it_is_over(
    fault: str,
) -> None:
    with FAULTS[fault]() as site:
        outcome = await live_through(site, crowd=CROWD)
    for seen in outcome.seen:
        assert_decided_by_policy(seen)
        assert max(seen.spans) < SOON
        assert max(seen.later) < SOON
        assert seen.sockets < CROWD / 10
        assert seen.back_after < BACK
        assert [type(event) for event in seen.events] == [RedisDown, RedisBack]
    gone, back = outcome.lines[:3], outcome.lines[3:]
    assert all(it.startswith("Redis is down, rate limits with it: ") for it in gone)
    assert back == ["Redis is back, rate limits with it"] * 3


def assert_decided_by_policy(seen: Seen) -> None:
    decisions = seen.decisions
    assert {it.outage for it in decisions} == {seen.policy}
    admitted = {"open": CROWD, "closed": 0, "local": LIMIT}[seen.policy]
    assert sum(it.allowed for it in decisions) == admitted
    assert all(it.limit == LIMIT and 0 <= it.remaining <= LIMIT for it in decisions)
    assert all(it.allowed or it.retry_after > 0 for it in decisions)
