"""Keys in a real Valkey: what is there, and what happens when it is not."""

import asyncio
import gc
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, TypeAlias

import anyio
import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from server_kit import Idempotency
from server_kit.idempotency.rules import Claim, Kept, Standing
from server_kit.idempotency.stores import StoreUnavailableError
from server_kit.idempotency.stores.in_redis import RELEASE, RedisStore
from server_kit.redis import Call, RedisLink
from tests.server.apps import AnyApp, serve
from tests.server.faults import FAULTS
from tests.server.orders import KEY, Orders, is_replay, post, shop, shut_down
from tests.server.valkey import Valkey, valkey

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
PATIENT = 20.0  # seconds: where no fault is the point, a busy machine is none
ANSWER = Kept(201, [(b"a", b"\xff")], b"\x00\n\xff")
SECRET = "Bearer hunter2"


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One that is left as it was found."""
    with valkey() as running:
        yield running


@pytest.fixture
def own() -> Iterator[Valkey]:
    """One for a single test, which may do to it what it likes."""
    with valkey() as running:
        yield running


async def post_all(app: AnyApp, count: int) -> "list[Any]":
    answers: list[Any] = []

    async def send_one() -> None:
        answers.append(await post(app))

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(send_one)
    return answers


@on_asyncio
@pytest.mark.case("IK-6", "IK-16")
@pytest.mark.parametrize("decodes", [False, True])
async def test_a_client_that_is_handed_in_is_used_and_left_open(
    server: Valkey, decodes: bool
) -> None:
    orders = Orders(headers=[(b"x-own", b"\xff")])
    async with Redis.from_url(server.url, decode_responses=decodes) as client:
        await client.flushall()
        app = shop(orders, store=client, timeout=PATIENT)
        answers = await post_all(app, 100)
        assert {answer.status_code for answer in answers} <= {201, 409}
        last = await post(app)
        assert (last.text, is_replay(last)) == ("order 1", True)
        assert last.headers.raw.count((b"x-own", b"\xff")) == 1
        await shut_down(app)
        assert await client.ping()
    assert len(orders.placed) == 1


@on_asyncio
async def test_two_apps_at_one_redis_are_one(server: Valkey) -> None:
    server.ask("FLUSHALL")
    orders = [Orders(), Orders()]
    apps = [at(server, it, timeout=PATIENT) for it in orders]
    first, second = [await post(app) for app in apps]
    assert not is_replay(first)
    assert is_replay(second)
    assert [len(it.placed) for it in orders] == [1, 0]
    for app in apps:
        await shut_down(app)


def at(server: Valkey, orders: AnyApp, **given: Any) -> AnyApp:
    return shop(orders, store=server.url, **given)


@on_asyncio
@pytest.mark.case("IK-10")
async def test_neither_key_nor_credential_is_in_redis_and_all_ends(
    server: Valkey,
) -> None:
    server.ask("FLUSHALL")
    app = at(server, Orders(), timeout=PATIENT, keep_for=60, prefix="shop")
    await post(app, headers={"Authorization": SECRET})
    (name,) = re.findall(rb"shop:\{[0-9a-f]{64}\}", server.ask("KEYS", "*"))
    held = server.ask("HGETALL", name)
    assert b"order 1" in held
    for secret in (b"hunter2", KEY.strip('"').encode(), b"one of A1"):
        assert secret not in held
    assert 0 < int(server.ask("PTTL", name)[1:]) <= 60_000
    assert key_slot(name) == key_slot(name[6:-1])  # the braces hold it together
    await shut_down(app)


def store_at(server: Valkey, **given: Any) -> RedisStore:
    usual = {"timeout": PATIENT, "lease": 60.0, "keep_for": 600.0}
    return RedisStore(Idempotency(store=server.url, **{**usual, **given}))


@on_asyncio
@pytest.mark.case("S60", "IK-13")
async def test_a_crash_ends_with_the_lease_and_who_crashed_cannot_write(
    server: Valkey,
) -> None:
    server.ask("FLUSHALL")
    store = store_at(server)
    crashed, heir = Claim("a", "x", "1"), Claim("a", "x", "2")
    assert await store.claim(crashed) is Standing.CLAIMED
    assert await store.claim(heir) is Standing.RUNNING
    server.ask("PEXPIRE", store.key(crashed), "0")
    assert await store.claim(heir) is Standing.CLAIMED
    assert not await store.settle(crashed, ANSWER)
    assert not await store.release(crashed)
    assert await store.settle(heir, ANSWER)
    assert await store.claim(crashed) == ANSWER
    await store.aclose()


@on_asyncio
@pytest.mark.case("S31")
async def test_who_is_cancelled_leaves_no_reply_to_the_next(own: Valkey) -> None:
    store = store_at(own)
    await store.settle(Claim("a", "x", "1"), ANSWER)
    for _ in range(5):
        own.pause()
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(store.claim, Claim("a", "x", "2"))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        own.resume()
        assert await store.renew(Claim("b", "x", "3")) is False
        assert await store.claim(Claim("a", "x", "4")) == ANSWER
    await store.aclose()


@on_asyncio
@pytest.mark.parametrize("leaves", ["cancelled", "too late"])
async def test_what_was_claimed_for_nobody_is_given_back(
    own: Valkey, leaves: str
) -> None:
    store = store_at(own, timeout=PATIENT if leaves == "cancelled" else 0.08)
    # So that the script is there, and runs when the server goes on.
    await at_last(lambda: is_claimed(store, Claim("other", "x", "1")))
    own.pause()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(claimed_in_vain, store)
        await anyio.wait_all_tasks_blocked()
        if leaves == "cancelled":
            tasks.cancel_scope.cancel()
    own.resume()
    heir = Claim("a", "x", "2")
    await at_last(lambda: is_claimed(store, heir))
    await store.aclose()


async def claimed_in_vain(store: RedisStore) -> None:
    with suppress(StoreUnavailableError):
        await store.claim(Claim("a", "x", "1"))


@on_asyncio
async def test_asking_or_settling_twice_changes_nothing(server: Valkey) -> None:
    server.ask("FLUSHALL")
    store, claim = store_at(server), Claim("a", "x", "1")
    assert [await store.claim(claim) for _ in "12"] == [Standing.CLAIMED] * 2
    assert await store.settle(claim, ANSWER)
    assert await store.settle(claim, None)
    assert await store.claim(Claim("a", "x", "2")) == ANSWER
    await store.aclose()


@on_asyncio
@pytest.mark.case("R28", "S60")
async def test_a_handler_that_is_cancelled_leaves_its_failure(server: Valkey) -> None:
    server.ask("FLUSHALL")
    begun = anyio.Event()

    async def for_ever() -> None:
        begun.set()
        await anyio.sleep_forever()

    orders = Orders(before=for_ever)
    app = at(server, orders, timeout=PATIENT)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, app)
        await begun.wait()
        tasks.cancel_scope.cancel()
    await at_last(lambda: is_replayed(app))
    assert (await post(app)).status_code == 504
    await shut_down(app)


@contextmanager
def frozen(server: Valkey) -> Iterator[None]:
    server.pause()
    yield
    server.resume()


@contextmanager
def full(server: Valkey) -> Iterator[None]:
    server.ask("CONFIG", "SET", "maxmemory", "1")
    yield
    server.ask("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def read_only(server: Valkey) -> Iterator[None]:
    server.ask("REPLICAOF", "127.0.0.1", "1")
    yield
    server.ask("REPLICAOF", "NO", "ONE")


Fault: TypeAlias = Callable[[Valkey], AbstractContextManager[None]]


@on_asyncio
@pytest.mark.case("R36")
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_is_wrong_with_redis_nothing_is_begun(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    orders = Orders()
    with FAULTS[fault]() as site:
        app = shop(orders, store=site.url)
        await at_last(lambda: is_served(app))
        caplog.clear()
        site.begin()
        spans = []
        for number in range(5):
            began = time.perf_counter()
            answer = await post(app, key=f'"{number}"')
            spans.append(time.perf_counter() - began)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["type"] == "service-unavailable"
        assert min(spans) < 0.1
        assert len(orders.placed) == 1
        (line,) = caplog.messages
        assert line.startswith("Redis is down, idempotency keys with it: ")
        assert fault != "refused" or "ConnectionError" in line  # at once, and once
        site.end()
        await at_last(lambda: is_served(app, '"after"'))
        assert len(orders.placed) == 2
        assert caplog.messages[1:] == ["Redis is back, idempotency keys with it"]
        await shut_down(app)


async def at_last(holds: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(20):
        while not await holds():  # noqa: ASYNC110 - other processes have no events
            await anyio.sleep(0.01)


async def is_served(app: AnyApp, key: str = KEY) -> bool:
    return (await post(app, key=key)).status_code == 201


async def is_replayed(app: AnyApp) -> bool:
    return is_replay(await post(app))


async def is_claimed(store: RedisStore, claim: Claim) -> bool:
    try:
        return await store.claim(claim) is Standing.CLAIMED
    except StoreUnavailableError:
        return False


async def is_connected(store: RedisStore) -> bool:
    try:
        await store.renew(Claim("a", "x", "1"))
    except StoreUnavailableError:
        return False
    return True


@on_asyncio
@pytest.mark.case("R36")
async def test_where_nobody_answers_the_connection_nothing_is_begun() -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        with socket.socket() as first, socket.socket() as second:
            # What a full backlog does to the next: it hears nothing at all.
            for other in (first, second):
                other.setblocking(False)
                other.connect_ex(hole.getsockname())
            url = f"redis://127.0.0.1:{hole.getsockname()[1]}"
            orders = Orders()
            app = shop(orders, store=url)
            spans = []
            for _ in range(3):
                began = time.perf_counter()
                assert (await post(app)).status_code == 503
                spans.append(time.perf_counter() - began)
            assert min(spans) < 0.1
            assert orders.placed == []
            await shut_down(app)


@on_asyncio
@pytest.mark.case("R36")
async def test_while_redis_is_down_one_call_at_a_time_finds_out(own: Valkey) -> None:
    store = store_at(own, timeout=0.08)
    await at_last(lambda: is_connected(store))
    own.pause()
    with pytest.raises(StoreUnavailableError):
        await store.renew(Claim("a", "x", "1"))
    began = time.perf_counter()
    refused: list[float] = []

    async def ask() -> None:
        with pytest.raises(StoreUnavailableError):
            await store.renew(Claim("a", "x", "1"))
        refused.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
    connections = len(store._link._tasks)  # noqa: SLF001 - nothing is left of them
    assert connections == 0
    assert sum(span < refused[-1] / 2 for span in refused) == 49
    own.resume()
    await store.aclose()


@on_asyncio
async def test_what_a_caller_who_is_gone_does_not_hear_is_not_logged(
    own: Valkey,
) -> None:
    said: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context["message"]))
    store = store_at(own, timeout=0.08)
    await at_last(lambda: is_connected(store))
    own.pause()
    caller = loop.create_task(store.renew(Claim("a", "x", "1")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with suppress(asyncio.CancelledError):
        await caller
    tasks = store._link._tasks  # noqa: SLF001 - nobody else can tell
    while tasks:
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
    gc.collect()
    assert said == []
    own.resume()
    await store.aclose()


@on_asyncio
async def test_what_is_insisted_on_does_not_pile_up(own: Valkey) -> None:
    own.stop()
    link = RedisLink(own.url, timeout=0.08, what="keys")
    for _ in range(1_100):
        link.insist(60, Call(RELEASE, ["a"], ["1"]))
    assert len(link._tasks) == 1_000  # noqa: SLF001 - nobody else can tell
    await link.aclose()


@on_asyncio
@pytest.mark.parametrize("packed", [b"gibberish", b'[200, [["a", 1]]]\n', b"[[], []]"])
async def test_an_answer_of_another_version_is_not_given_and_not_made_again(
    server: Valkey, packed: bytes
) -> None:
    server.ask("FLUSHALL")
    store = store_at(server)
    claim = Claim("n", "x", "1")
    server.ask("HSET", store.key(claim), "fingerprint", "x", "answer", packed)
    assert await store.claim(claim) is Standing.SPENT
    await store.aclose()


@on_asyncio
@pytest.mark.case("R36")
async def test_flushed_scripts_are_loaded_anew(server: Valkey) -> None:
    store = store_at(server)
    server.ask("FLUSHALL")
    for number in range(2):
        server.ask("SCRIPT", "FLUSH")
        claim = Claim(f"{number}", "x", "1")
        assert await store.claim(claim) is Standing.CLAIMED
        assert await store.settle(claim, ANSWER)
        assert await store.claim(claim) == ANSWER
    await store.aclose()


@on_asyncio
@pytest.mark.parametrize("fault", [frozen, read_only])
async def test_an_answer_that_redis_could_not_take_is_kept_when_it_can(
    own: Valkey, fault: Fault
) -> None:
    with ExitStack() as trouble:

        async def fail() -> None:
            trouble.enter_context(fault(own))

        orders = Orders(before=fail)
        app = at(own, orders, lease=60.0)
        while (answer := await post(app)).status_code == 503:
            """The first connection may take its time."""
        assert answer.text == "order 1"
        assert answer.headers["idempotent-replayable"] == "false"
    await at_last(lambda: is_replayed(app))
    assert len(orders.placed) == 1
    await shut_down(app)


@on_asyncio
async def test_a_key_that_could_not_be_let_go_of_is_free_when_it_can(
    own: Valkey,
) -> None:
    orders = Orders(status=429)
    app = at(own, orders, lease=60.0)
    with ExitStack() as trouble:

        async def fail() -> None:
            trouble.enter_context(frozen(own))

        orders.before = fail
        while (await post(app)).status_code == 503:
            """The first connection may take its time."""
    orders.before, orders.status = None, 201
    await at_last(lambda: is_served(app))
    assert len(orders.placed) == 2
    await shut_down(app)


@on_asyncio
async def test_without_memory_for_an_answer_its_request_is_not_served_again(
    own: Valkey,
) -> None:
    with ExitStack() as trouble:

        async def fill() -> None:
            trouble.enter_context(full(own))

        orders = Orders(before=fill)
        app = at(own, orders, timeout=PATIENT)
        answer = await post(app)
        assert answer.text == "order 1"
        assert answer.headers["idempotent-replayable"] == "false"
    assert (await post(app)).status_code == 409
    (name,) = re.findall(rb"idempotency:\{\w+\}", own.ask("KEYS", "*"))
    assert int(own.ask("PTTL", name)[1:]) > 10_000  # for long, and not for a lease
    assert len(orders.placed) == 1
    await shut_down(app)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_redis_is_refused_in_plain_words() -> None:
    orders = Orders()
    app = shop(orders, store="redis://127.0.0.1:1")
    headers = [(b"idempotency-key", KEY.encode())]
    served = await serve(app, "/orders", method="POST", headers=headers)
    assert isinstance(served.error, RuntimeError)
    assert "idempotency keys in Redis need asyncio" in str(served.error)
    assert served.sent[0]["status"] == 500
    assert orders.placed == []
    await shut_down(app)
