"""A limiter under every fault of a real Redis. asyncio only."""

import asyncio
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from redis.asyncio import BlockingConnectionPool, Redis

from server_kit.ratelimit.events import RedisBack, RedisDown
from server_kit.ratelimit.limiter import RateLimiter
from server_kit.ratelimit.quota import Quota
from server_kit.ratelimit.stores.in_redis import PROBE_EVERY
from tests.server.accounts import ALGORITHMS
from tests.server.faults import (
    FAULTS,
    FAULTS_OF_CLUSTERS,
    HARMLESS,
    HARMLESS_IN_CLUSTERS,
    Site,
)
from tests.server.outages import LIMIT, Seen, live_through, timed, until_redis_decides
from tests.server.relay import Relay, relay
from tests.server.topologies import (
    Cluster,
    at_cluster,
    at_sentinels,
    close,
    slot_of,
    tell,
    watched,
)
from tests.server.valkey import Valkey, valkey

ROOT = Path(__file__).parents[2]
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])

CROWD = 200

# Seconds, on a machine that does other things as well; `make faults` tells exactly.
SOON = 0.5
"""To answer, where 0.05 are allowed, and a client of redis-py waits for 5."""
SAYS = {
    "BUSY": "BUSY ",
    "OOM": "OOM ",
    "READONLY": "READONLY ",
    "LOADING": "LOADING ",
}
"""What the log says, where the server had something to say."""

UNASKED = 0.03
"""To answer at best, without having waited for Redis: that would take 0.05."""
BACK = 3.0
"""To ask Redis again, of which 0.5 are the last look that got no answer."""
PATIENT = 20.0
"""For what is not to be late here, as no fault is the point."""
HOUR = 3_600.0


@on_asyncio
@pytest.mark.case("S4", "S6", "S8", "R36")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_costs_its_crowd_no_time_and_is_over_when_it_is_over(
    fault: str,
) -> None:
    with FAULTS[fault]() as site:
        lines = await assert_that_all_is_well(site)
    assert all(gives_the_reason(line, SAYS.get(fault, "Error")) for line in lines)


@on_asyncio
@pytest.mark.case("S8", "R36")
@pytest.mark.parametrize("fault", FAULTS_OF_CLUSTERS)
async def test_a_slot_that_is_elsewhere_is_a_fault_like_any_other(
    three: Cluster, fault: str
) -> None:
    with FAULTS_OF_CLUSTERS[fault](three) as site:
        lines = await assert_that_all_is_well(site)
    assert all(gives_the_reason(line, f"{fault} ") for line in lines)


def gives_the_reason(line: str, reason: str) -> bool:
    return reason in line or "no answer in" in line  # on a machine that is busy


async def assert_that_all_is_well(site: Site) -> list[str]:
    """Assert all that holds under any fault; return the lines of its beginning."""
    outcome = await live_through(site, crowd=CROWD)
    for seen in outcome.seen:
        assert_decided_by_policy(seen)
        assert max(seen.spans) < SOON
        assert max(seen.later) < SOON
        assert min(seen.later) < UNASKED
        assert seen.sockets < CROWD / 10
        assert seen.back_after < BACK
        assert [type(event) for event in seen.events] == [RedisDown, RedisBack]
    gone, back = outcome.lines[:3], outcome.lines[3:]
    assert all(it.startswith("Redis is down, rate limits with it: ") for it in gone)
    assert back == ["Redis is back, rate limits with it"] * 3
    return gone


def assert_decided_by_policy(seen: Seen) -> None:
    decisions = seen.decisions
    assert {it.outage for it in decisions} == {seen.policy}
    admitted = {"open": CROWD, "closed": 0, "local": LIMIT}[seen.policy]
    assert sum(it.allowed for it in decisions) == admitted
    assert all(it.limit == LIMIT and 0 <= it.remaining <= LIMIT for it in decisions)
    assert all(it.allowed or it.retry_after > 0 for it in decisions)


@on_asyncio
@pytest.mark.case("S1", "S8")
@pytest.mark.parametrize("name", [*HARMLESS, *HARMLESS_IN_CLUSTERS])
async def test_what_is_no_fault_is_noticed_by_nobody(three: Cluster, name: str) -> None:
    in_cluster = HARMLESS_IN_CLUSTERS.get(name)
    place = HARMLESS[name]() if in_cluster is None else in_cluster(three)
    with place as site:
        outcome = await live_through(site, crowd=CROWD, timeout=PATIENT)
    for seen in outcome.seen:
        assert {it.outage for it in seen.decisions} == {None}
        assert sum(it.allowed for it in seen.decisions) == LIMIT
        assert seen.events == []
    assert outcome.lines == []


# Whose client it is makes no difference.

MakeClient: TypeAlias = Callable[[str], Redis]
CLIENTS: dict[str, MakeClient] = {
    "as it comes": Redis.from_url,
    "text": lambda url: Redis.from_url(url, decode_responses=True),
    "one connection": lambda url: Redis.from_url(url, single_connection_client=True),
    "health checks": lambda url: Redis.from_url(url, health_check_interval=1),
    "a pool of one": lambda url: Redis.from_pool(
        BlockingConnectionPool.from_url(url, max_connections=1)
    ),
}


@on_asyncio
@pytest.mark.case("S3", "R36")
@pytest.mark.parametrize("fault", ["refused", "black hole"])
@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_users_client_is_given_no_more_time(kind: str, fault: str) -> None:
    with FAULTS[fault]() as site:
        async with CLIENTS[kind](site.url) as client:
            await assert_in_time(site, client)
            assert await client.ping()


async def assert_in_time(site: Site, client: object) -> None:
    outcome = await live_through(site, crowd=20, policies=["open"], client=client)
    (seen,) = outcome.seen
    assert {it.outage for it in seen.decisions} == {"open"}
    assert max(seen.spans) < SOON
    assert min(seen.later) < UNASKED
    assert seen.back_after < BACK
    assert [type(event) for event in seen.events] == [RedisDown, RedisBack]


@on_asyncio
@pytest.mark.case("S3", "R36")
async def test_a_users_client_of_a_cluster_is_given_no_more_time(
    three: Cluster,
) -> None:
    owner = three.owner(slot_of("ratelimit"))
    client = at_cluster(three)
    await assert_in_time(Site(three.url, owner.pause, owner.resume), client)
    await close(client)


@on_asyncio
@pytest.mark.case("S3", "R36")
@pytest.mark.parametrize("silent", ["primary", "primary and Sentinel"])
async def test_a_users_client_of_sentinels_is_given_no_more_time(silent: str) -> None:
    with watched(1) as there:
        frozen: list[Valkey] = [there.pair.primary]
        if silent != "primary":
            frozen += there.sentinels
        client = at_sentinels(there)

        def begin() -> None:
            for server in frozen:
                server.pause()

        def end() -> None:
            for server in frozen:
                server.resume()

        await assert_in_time(Site("", begin, end), client)
        await close(client)


@on_asyncio
async def test_a_pool_with_nothing_left_is_not_waited_for() -> None:
    with valkey() as server:
        pool = BlockingConnectionPool.from_url(server.url, max_connections=1)
        async with Redis.from_pool(pool) as client:
            await client.ping()
            holds = asyncio.ensure_future(client.blpop(["nothing"], timeout=1))
            await asyncio.sleep(0)
            limiter = RateLimiter(client)
            decision, span = await timed(limiter, "k", LIMIT)
            assert decision.outage == "open"
            assert span < SOON
            await holds
            await until_redis_decides(limiter)
            await limiter.aclose()


# What it costs meanwhile.


@on_asyncio
@pytest.mark.case("S3")
async def test_the_loop_goes_on_while_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as hole:
        limiter = RateLimiter(f"redis://127.0.0.1:{hole.getsockname()[1]}")
        over = asyncio.Event()
        stalling = asyncio.create_task(longest_stall(over))
        for _ in range(10):
            asked = (timed(limiter, "k", LIMIT) for _ in range(20))
            spans = [span for _, span in await asyncio.gather(*asked)]
            assert max(spans) < SOON
            await asyncio.sleep(0.03)
        over.set()
        assert await stalling < 0.02
        await limiter.aclose()


@pytest.mark.case("S3")
def test_the_first_request_waits_for_no_import(own: Valkey) -> None:
    command = [sys.executable, "-c", FIRST_REQUEST, own.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


FIRST_REQUEST = """
import asyncio, sys
from server_kit import RateLimiter

async def main():
    before = set(sys.modules)
    await limiter.check("k", limit=1, window=1)
    print(*(it for it in set(sys.modules) - before if "redis" in it))
    await limiter.aclose()

limiter = RateLimiter(sys.argv[1])
asyncio.run(main())
"""


async def longest_stall(over: asyncio.Event) -> float:
    """Return the most seconds that one round of the loop computed or was blocked.

    This task is always ready, so the loop never sleeps: a thread that does has been
    blocked. One that is only made to wait for a processor has done nothing wrong.
    """
    longest = 0.0
    while not over.is_set():
        before, wall, cpu = _blocked(), time.perf_counter(), time.thread_time()
        await asyncio.sleep(0)
        was_blocked = _blocked() > before
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        longest = max(longest, wall if was_blocked else cpu)
    return longest


def _blocked() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


@contextmanager
def nobody_behind() -> Iterator[tuple[Relay, Callable[[], None]]]:
    with valkey() as server, relay(server.port) as wire:
        yield wire, server.stop


@contextmanager
def nothing_back() -> Iterator[tuple[Relay, Callable[[], None]]]:
    with valkey() as server, relay(server.port) as wire:
        yield wire, lambda: setattr(wire, "way", "lose")


@on_asyncio
@pytest.mark.case("S4")
@pytest.mark.parametrize("place", [nobody_behind, nothing_back])
async def test_of_a_storm_one_looks_at_a_time(place: "Place") -> None:
    with place() as (wire, begin):
        limiter = RateLimiter(f"redis://127.0.0.1:{wire.port}")
        await until_redis_decides(limiter)
        await asyncio.to_thread(begin)
        before, began = wire.accepted, time.perf_counter()
        asked = 0
        while (elapsed := time.perf_counter() - began) < 4 * PROBE_EVERY:
            storm = (limiter.check("k", limit=9, window=HOUR) for _ in range(200))
            assert {it.outage for it in await asyncio.gather(*storm)} == {"open"}
            asked += 200
            await asyncio.sleep(0.01)
        looks = 1 + elapsed / PROBE_EVERY
        assert wire.accepted - before <= 3 * looks  # each may try again, at once
        assert asked > 20 * looks
        await limiter.aclose()


Place: TypeAlias = Callable[
    [], AbstractContextManager[tuple[Relay, Callable[[], None]]]
]


@on_asyncio
@pytest.mark.case("S6")
async def test_what_was_let_go_in_an_outage_is_not_sent_afterwards(own: Valkey) -> None:
    events: list[RedisDown | RedisBack] = []
    limiter = RateLimiter(own.url, listeners=[events.append])
    await until_redis_decides(limiter)
    own.stop()
    storm = (limiter.check("k", limit=1_000, window=HOUR) for _ in range(500))
    assert all(it.allowed for it in await asyncio.gather(*storm))
    own.start()
    await until_redis_decides(limiter)
    assert (await limiter.peek("k", limit=1_000, window=HOUR)).remaining == 1_000
    stats = own.ask("INFO", "commandstats").decode()
    calls = re.findall(r"cmdstat_eval(?:sha)?:calls=(\d+)", stats)
    assert sum(map(int, calls)) <= 5  # the last look, and the two since
    assert [type(event) for event in events] == [RedisDown, RedisBack]
    await limiter.aclose()


@pytest.fixture
def own() -> Iterator[Valkey]:
    """A server of a single test, which may do to it what it likes."""
    with valkey() as server:
        yield server


# What is no fault.


@on_asyncio
@pytest.mark.case("S1", "S2")
async def test_flushed_scripts_are_noticed_by_nobody(own: Valkey) -> None:
    async with Redis.from_url(own.url) as client:
        for place in (own.url, client):
            limiter = RateLimiter(place, timeout=PATIENT, prefix=type(place).__name__)
            for number in range(1, 4):
                own.ask("SCRIPT", "FLUSH")
                both = [Quota("a", 999, HOUR), Quota("b", 999, HOUR)]
                batch = (limiter.decide(both) for _ in range(100))
                told = await asyncio.gather(*batch)
                found = [it for many in told for it in many if it is not None]
                assert len(found) == 200
                assert {it.outage for it in found} == {None}
                assert min(it.remaining for it in found) == 999 - 100 * number
            await limiter.aclose()


@on_asyncio
async def test_however_many_quotas_a_crowd_asks_about_it_is_no_fault(
    own: Valkey,
) -> None:
    limiter = RateLimiter(own.url, timeout=PATIENT)
    many = [Quota(f"{number}", 99, HOUR) for number in range(300)]
    told = await asyncio.gather(*(limiter.decide(many) for _ in range(40)))
    found = [it for decisions in told for it in decisions if it is not None]
    assert {it.outage for it in found} == {None}
    assert {it.remaining for it in found} == {*range(59, 99)}
    await limiter.aclose()


@on_asyncio
@pytest.mark.case("S1")
async def test_a_restart_between_two_requests_is_noticed_by_nobody(own: Valkey) -> None:
    events: list[RedisDown | RedisBack] = []
    limiter = RateLimiter(own.url, timeout=PATIENT, listeners=[events.append])
    for _ in range(3):
        decision = await limiter.check("k", limit=9, window=HOUR)
        assert (decision.outage, decision.remaining) == (None, 8)
        await asyncio.to_thread(own.stop)  # the loop hears of it
        await asyncio.to_thread(own.start)
    assert events == []
    await limiter.aclose()


@on_asyncio
@pytest.mark.case("S13")
async def test_another_algorithm_has_keys_of_its_own(own: Valkey) -> None:
    for _ in range(2):
        for algorithm in ALGORITHMS:
            limiter = RateLimiter(own.url, algorithm=algorithm, timeout=PATIENT)
            for limit in (9, 10):
                decision = await limiter.check("k", limit=limit, window=HOUR)
                assert (decision.outage, decision.allowed) == (None, True)
            await limiter.aclose()
    assert len(tell(own, "KEYS", "*")) == 4


@on_asyncio
@pytest.mark.case("S21")
async def test_whose_quota_it_is_is_not_told_to_redis(
    own: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = ["alice@example.com", "sk-live-0123456789"]
    events: list[RedisDown | RedisBack] = []
    limiter = RateLimiter(own.url, on_outage="local", listeners=[events.append])
    with own.send("MONITOR") as monitor:
        await until_redis_decides(limiter)
        for secret in secrets:
            await limiter.check(secret, limit=5, window=HOUR)
            held = await limiter.reserve(secret, limit=5, window=HOUR, cost=1)
            await held.settle(0)
            await limiter.refund(secret, limit=5, window=HOUR, cost=1)
            await limiter.reset(secret, limit=5, window=HOUR)
        own.ask("ECHO", "the end")
        heard = b""
        while b"the end" not in heard:
            heard += monitor.recv(65_536)
    own.stop()
    await limiter.check(secrets[0], limit=5, window=HOUR)
    said = f"{heard.decode()} {caplog.text} {events}"
    assert "EVALSHA" in said
    assert "RedisDown" in said
    for secret in secrets:
        assert secret not in said
    await limiter.aclose()


# Several loops, several processes.


@pytest.mark.case("S30")
@pytest.mark.parametrize("by", ["URL", "client"])
def test_a_limiter_made_at_import_serves_every_loop_and_every_fork(
    own: Valkey, by: str
) -> None:
    script = [sys.executable, "-m", "tests.server.limiter_forks", own.url, by]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    remaining = sorted(map(int, done.stdout.split()))
    assert remaining == list(range(1_000 - len(remaining), 1_000))
    assert len(remaining) == 60


@pytest.mark.case("S5", "R36")
def test_workers_without_redis_admit_what_the_quota_allows_together(
    own: Valkey,
) -> None:
    with ExitStack() as running:
        workers = [running.enter_context(worker(own.url)) for _ in range(4)]
        assert answers(workers, "meet 4") == ["met"] * 4
        assert answers(workers, "check 1 100") == ["1"] * 4
        own.stop()
        assert answers(workers, "check 100 100") == ["25"] * 4


Worker: TypeAlias = "subprocess.Popen[str]"


def answers(workers: list[Worker], line: str) -> list[str]:
    """Tell all workers the same at once, and return what they say."""
    for told in workers:
        assert told.stdin is not None
        told.stdin.write(f"{line}\n")
        told.stdin.flush()
    return [told.stdout.readline().strip() for told in workers if told.stdout]


@contextmanager
def worker(url: str) -> Iterator[Worker]:
    """Run a process with a limiter; see `limiter_worker`."""
    command = [sys.executable, "-m", "tests.server.limiter_worker", url]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@on_asyncio
async def test_a_listener_that_fails_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(event: RedisDown | RedisBack) -> None:
        raise LookupError(str(event))

    with valkey() as server:
        limiter = RateLimiter(server.url, timeout=PATIENT, listeners=[fail])
        await limiter.check("k", limit=9, window=HOUR)  # connected
        server.stop()
        crowd = [limiter.check("k", limit=9, window=HOUR) for _ in range(50)]
        async with asyncio.timeout(PATIENT):
            told = await asyncio.gather(*crowd)
        assert {it.outage for it in told} == {"open"}
        server.start()
        await until_redis_decides(limiter)
        await limiter.aclose()
    failures = [it for it in caplog.records if it.exc_info is not None]
    assert len(failures) == 2
