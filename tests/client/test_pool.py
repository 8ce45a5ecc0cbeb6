"""No place in a pool is lost, wherever a call is cut short."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSStream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamReset
from h2.exceptions import ProtocolError

from resilient_http import Policy, RetryConfig
from resilient_http._hands.pool import mend
from tests.family import AsyncClient, AsyncResilientTransport, httpx

ROUNDS: Final = int(os.environ.get("ROUNDS", "10"))
"""Pools of each kind that are tried, six calls in each. Say 80 for a longer look."""
FIRST: Final = int(os.environ.get("SEED", "0"))
"""What the first of them draws from, the next from the number after it."""
SEEDS: Final = range(FIRST, FIRST + ROUNDS)
AS_IT_COMES: Final = Policy(retry=None, breaker=None)
NEVER: Final = b"/never"
# What httpx wraps around a body is left to the collector when a body is closed halfway.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
GONE: Final = (anyio.BrokenResourceError, anyio.EndOfStream, OSError, ssl.SSLError)


async def ticks(count: int) -> None:
    for _ in range(count):
        await checkpoint()


@dataclass(frozen=True)
class Route:
    """A way to the server."""

    name: str
    tls: bool = False
    http2: bool = False
    proxy: bool = False

    def __str__(self) -> str:
        return self.name


PLAIN: Final = Route("plain")
TLS: Final = Route("tls", tls=True)
TUNNEL: Final = Route("tunnel", tls=True, proxy=True)
HTTP2: Final = Route("http2", http2=True)
HTTP2_TLS: Final = Route("http2-tls", http2=True, tls=True)
ROUTES: Final = [PLAIN, Route("proxy", proxy=True), TLS, TUNNEL, HTTP2, HTTP2_TLS]


class Certificate:
    """A key for 127.0.0.1, and what both ends do with it."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self._issued = authority.issue_cert("127.0.0.1")
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        self.http1 = self._server("http/1.1")
        self.http2 = self._server("h2")

    def _server(self, protocol: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._issued.configure_cert(context)
        context.set_alpn_protocols([protocol])
        return context


@pytest.fixture(scope="session")
def certificate() -> Certificate:
    return Certificate()


class Server:
    """Answers each request in its own time, which is counted in turns of the loop."""

    def __init__(
        self, route: Route, rng: Random, certificate: Certificate | None
    ) -> None:
        self.route = route
        self.rng = rng
        self.certificate = certificate
        self.url = ""
        self.open = 0
        self.resets = 0
        self.garbled: list[str] = []

    async def serve(self, stream: ByteStream) -> None:
        self.open += 1
        try:
            async with stream:
                if self.route.tls and not self.route.proxy:
                    stream = await self._wrapped(stream)
                await (self._two(stream) if self.route.http2 else self._one(stream))
        except GONE:
            pass
        finally:
            self.open -= 1

    async def _wrapped(self, stream: ByteStream) -> ByteStream:
        assert self.certificate is not None
        known = self.certificate
        context = known.http2 if self.route.http2 else known.http1
        return await TLSStream.wrap(
            stream, server_side=True, ssl_context=context, standard_compatible=False
        )

    async def _some_time(self) -> None:
        await ticks(self.rng.randrange(8))

    async def _one(self, stream: ByteStream) -> None:
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await stream.receive()
            await self._some_time()
            if head.startswith(b"CONNECT"):
                await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
                stream = await self._wrapped(stream)
                continue
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            for _ in range(2):
                await self._some_time()
                await stream.send(b"body")

    async def _two(self, stream: ByteStream) -> None:
        state = H2Connection(H2Configuration(client_side=False))
        state.initiate_connection()
        one_at_a_time = anyio.Lock()

        async def flush() -> None:
            async with one_at_a_time:
                await stream.send(state.data_to_send())

        async with anyio.create_task_group() as answers:
            with suppress(*GONE):
                while True:
                    await flush()
                    for event in self._seen(state, await stream.receive()):
                        if isinstance(event, RequestReceived):
                            answers.start_soon(self._answer, state, event, flush)
                        self.resets += isinstance(event, StreamReset)
            answers.cancel_scope.cancel()

    def _seen(self, state: H2Connection, data: bytes) -> list[Any]:
        try:
            return list(state.receive_data(data))
        except ProtocolError as error:
            self.garbled.append(str(error))
            raise anyio.EndOfStream from error

    async def _answer(
        self, state: H2Connection, asked: Any, flush: Callable[[], Awaitable[None]]
    ) -> None:
        number = asked.stream_id
        if (b":path", NEVER) in asked.headers:
            return
        steps: list[Callable[[], None]] = [
            lambda: state.send_headers(number, [(":status", "200")]),
            lambda: state.send_data(number, b"body"),
            lambda: state.send_data(number, b"body", end_stream=True),
        ]
        with suppress(ProtocolError, *GONE):
            for step in steps:
                await self._some_time()
                step()
                await flush()


@dataclass
class Site:
    """A server, and a pool of two connections to it."""

    server: Server
    transport: Any
    client: Any

    @property
    def pool(self) -> Any:
        return vars(self.transport)["_pool"]

    @property
    def connections(self) -> list[Any]:
        return connections_of(self.transport)

    @property
    def requests(self) -> list[Any]:
        found: list[Any] = vars(self.pool)["_requests"]
        return found

    async def get(self, path: str = "", **options: Any) -> None:
        response = await self.client.get(self.server.url + path, **options)
        assert response.content == b"bodybody"

    def stream(self, **options: Any) -> Any:
        return self.client.stream("GET", self.server.url, **options)


Wear = Callable[[Any], Any]
"""From a transport, a client that sends through it."""


def ours(transport: Any) -> Any:
    return AsyncClient(transport=transport, policy=AS_IT_COMES)


def theirs_over_ours(transport: Any) -> Any:
    inner = AsyncResilientTransport(transport, AS_IT_COMES)
    return httpx.AsyncClient(transport=inner)


def theirs(transport: Any) -> Any:
    return httpx.AsyncClient(transport=transport)


@asynccontextmanager
async def site(
    route: Route,
    rng: Random,
    certificate: Certificate | None = None,
    *,
    wear: Wear = ours,
    places: int = 2,
) -> AsyncIterator[Site]:
    server = Server(route, rng, certificate)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    server.url = f"http{'s' * route.tls}://127.0.0.1:{port}/"
    transport = httpx.AsyncHTTPTransport(
        verify=False if certificate is None else certificate.client,
        http1=not route.http2,
        http2=route.http2,
        limits=httpx.Limits(max_connections=places),
        proxy=f"http://127.0.0.1:{port}" if route.proxy else None,
    )
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        async with wear(transport) as client:
            yield Site(server, transport, client)
        await ticks(50)
        tasks.cancel_scope.cancel()


# What a call does, and what cuts it short.


async def whole(site: Site, **options: Any) -> None:
    await site.get(**options)


async def head(site: Site, **options: Any) -> None:
    async with site.stream(**options):
        pass


async def part(site: Site, **options: Any) -> None:
    async with (
        site.stream(**options) as response,
        aclosing(response.aiter_raw()) as chunks,
    ):
        await anext(chunks, None)


async def never(site: Site) -> None:
    await site.get("never")


Work = Callable[..., Coroutine[Any, Any, None]]


async def cut_once(site: Site, work: Work, rng: Random) -> None:
    await _cut(site, work, [rng.randrange(1, 60)])


async def cut_thrice(site: Site, work: Work, rng: Random) -> None:
    await _cut(site, work, [rng.randrange(1, 60), rng.randrange(4), rng.randrange(4)])


async def _cut(site: Site, work: Work, waits: list[int]) -> None:
    """Cancel as asyncio does, which no shield holds off; on trio, as trio does."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        await _cut_scope(site, work, waits[0])
        return
    task: Any = loop.create_task(work(site))
    for wait in waits:
        await ticks(wait)
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def cut_scope(site: Site, work: Work, rng: Random) -> None:
    await _cut_scope(site, work, rng.randrange(1, 60))


async def _cut_scope(site: Site, work: Work, wait: int) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, site)
        await ticks(wait)
        tasks.cancel_scope.cancel()


async def time_out(site: Site, work: Work, rng: Random) -> None:
    with anyio.move_on_after(rng.uniform(0, 0.006)):
        await work(site)


async def time_out_phase(site: Site, work: Work, rng: Random) -> None:
    with suppress(httpx.TimeoutException):
        await work(site, timeout=rng.uniform(0.0002, 0.006))


async def miss_deadline(site: Site, work: Work, rng: Random) -> None:
    with suppress(httpx.TimeoutException):
        await work(site, extensions={"deadline": rng.uniform(0.0002, 0.006)})


async def outrun(site: Site, work: Work, rng: Random) -> None:
    """Hedge: whoever is first calls the other off."""

    async def run() -> None:
        await work(site)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await ticks(rng.randrange(10))
        tasks.start_soon(run)


WAYS: Final = [
    cut_once,
    cut_thrice,
    cut_scope,
    time_out,
    time_out_phase,
    miss_deadline,
    outrun,
]


async def burst(site: Site, rng: Random) -> list[Exception]:
    """Cut six calls short; return what was raised where nobody asked for it."""
    stray: list[Exception] = []

    async def one() -> None:
        way, work = rng.choice(WAYS), rng.choice([whole, head, part])
        await ticks(rng.randrange(6))
        try:
            await way(site, work, rng)
        except* Exception as group:  # noqa: BLE001 - the test says what may come
            stray.extend(group.exceptions)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(one)
    return stray


async def is_whole(site: Site) -> bool:
    """Whether two calls at once get their connections, and give them back."""
    try:
        async with (
            site.stream(timeout=httpx.Timeout(2, pool=0.1)),
            site.stream(timeout=httpx.Timeout(2, pool=0.1)),
        ):
            pass
    except httpx.PoolTimeout:
        return False
    return await is_idle(site)


async def is_idle(site: Site) -> bool:
    """Whether nothing counts as in use."""
    await checkpoint()
    idle = all(connection.is_idle() for connection in site.connections)
    return idle and site.requests == []


@pytest.mark.case("C1")
@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_no_place_is_lost_however_calls_are_cut(
    route: Route, request: pytest.FixtureRequest
) -> None:
    certificate = request.getfixturevalue("certificate") if route.tls else None
    for seed in SEEDS:
        rng = Random(seed)
        wear = (ours, theirs_over_ours)[seed % 2]
        async with site(route, rng, certificate, wear=wear) as place:
            stray = await burst(place, rng)
            assert await is_whole(place), (seed, place.connections, place.requests)
        assert place.server.open == 0, seed
        # What is the end of a shared connection is the end of all that goes over it.
        may_be = httpx.TransportError if route.http2 else ()
        assert [error for error in stray if not isinstance(error, may_be)] == []


@pytest.mark.case("C1")
async def test_the_same_cuts_break_a_pool_of_plain_httpx(
    certificate: Certificate,
) -> None:
    # Or the tests beside this one would show nothing. Through a tunnel it takes a few.
    for seed in range(FIRST, FIRST + 200):
        rng = Random(seed)
        async with site(TUNNEL, rng, certificate, wear=theirs) as place:
            await burst(place, rng)
            if not await is_whole(place):
                return
    pytest.fail("none was broken")


@pytest.mark.case("C2")
async def test_what_is_outrun_leaves_nothing_half_open() -> None:
    for seed in SEEDS:
        rng = Random(seed)
        async with site(PLAIN, rng) as place:
            async with anyio.create_task_group() as tasks:
                for _ in range(6):
                    tasks.start_soon(outrun, place, whole, rng)
            assert await is_whole(place), (seed, place.connections, place.requests)


@pytest.mark.case("C1")
@pytest.mark.parametrize("work", ["whole", "part", "retried"])
async def test_there_is_no_moment_at_which_a_cut_loses_the_place(work: str) -> None:
    async def retried(site: Site) -> None:
        waits = RetryConfig(statuses=frozenset({200}), base_delay=60, max_delay=60)
        policy = Policy(retry=waits, breaker=None)
        await part(site, extensions={"policy": policy})

    works: dict[str, Work] = {"whole": whole, "part": part, "retried": retried}
    async with site(PLAIN, Random(1), places=1) as place:
        for moment in range(1, 80):
            await _cut(place, works[work], [moment, 1])
            await ticks(5)
            assert await is_idle(place), (moment, place.connections, place.requests)


@pytest.mark.case("C1")
async def test_there_is_no_moment_at_which_a_cut_harms_those_beside_it() -> None:
    for moment in range(1, 30):
        stray: list[Exception] = []
        async with site(HTTP2, Random(1)) as place:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cut, place, whole, [moment, 1])
                tasks.start_soon(_beside, place, stray)
                tasks.start_soon(_beside, place, stray)
            assert await is_whole(place), moment
        # Of a write that is cut, nobody knows how much was written.
        assert [one for one in stray if not isinstance(one, httpx.NetworkError)] == []


async def _beside(site: Site, stray: list[Exception]) -> None:
    await ticks(4)
    try:
        await site.get()
    except Exception as error:  # noqa: BLE001 - the test says what may come
        stray.append(error)


# One thing at a time.


class Found:
    """A connection in the pool that nobody holds, and that counts as in use."""

    idle = expired = False

    def __init__(self, close: Callable[[], Awaitable[None]] = checkpoint) -> None:
        self._close = close
        self.was_closed = False

    def is_closed(self) -> bool:
        return False

    def is_idle(self) -> bool:
        return self.idle

    is_available = is_idle

    def has_expired(self) -> bool:
        return self.expired

    def is_connected(self) -> bool:
        return True

    def can_multiplex(self) -> bool:
        return False

    def can_handle_request(self, origin: object) -> bool:
        return True

    async def aclose(self) -> None:
        await self._close()
        self.was_closed = True


class Expired(Found):
    """A connection that was not used for too long."""

    idle = expired = True


async def fail(site: Site) -> None:
    """Cancel a call before it has done anything."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await site.get()


FAMILY: Final = vars(AsyncClient)["_family"]


def pool_of(*found: Found) -> Any:
    """Return a transport with these connections in its pool."""
    transport = httpx.AsyncHTTPTransport()
    connections_of(transport).extend(found)
    return transport


def connections_of(transport: Any) -> list[Any]:
    found: list[Any] = vars(vars(transport)["_pool"])["_connections"]
    return found


async def mended(transport: Any) -> None:
    await mend(FAMILY, transport, RuntimeError("a send has failed"))


async def test_a_place_that_was_lost_goes_to_the_next_in_line() -> None:
    async with site(PLAIN, Random(1), places=1) as place:
        found = Found()
        place.connections.append(found)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.get)
            await ticks(5)
            assert [request.is_queued() for request in place.requests] == [True]
            await fail(place)
        assert found.was_closed


@pytest.mark.parametrize("moment", range(1, 6))
async def test_a_body_whose_close_is_cut_leaves_its_place_to_the_next_in_line(
    moment: int,
) -> None:
    async with site(PLAIN, Random(1), places=1) as place:
        request = place.client.build_request("GET", place.server.url)
        response = await place.client.send(request, stream=True)

        async def close(site: Site) -> None:
            await response.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.get)
            await ticks(5)
            await _cut(place, close, [moment])
        assert await is_idle(place)


async def test_a_connection_in_use_is_left_alone() -> None:
    async with site(PLAIN, Random(1)) as place:
        async with place.stream() as response:
            await fail(place)
            assert await response.aread() == b"bodybody"
        assert await is_whole(place)


async def test_a_stream_that_nobody_reads_is_called_off() -> None:
    async with site(HTTP2, Random(1)) as place:
        await place.get()
        await _cut(place, never, [40])
        assert place.server.resets == 0
        await place.get()
        assert place.server.resets == 1
        assert len(place.connections) == 1


async def test_who_waits_on_a_connection_that_lost_frames_is_told() -> None:
    async with site(HTTP2, Random(1)) as place:
        await place.get()
        two = vars(place.connections[0])["_connection"]
        wire = vars(vars(two)["_network_stream"])
        told: list[Exception] = []

        async def lose(data: bytes, timeout: float | None) -> None:
            del wire["write"]
            await anyio.sleep_forever()

        async def wait() -> None:
            try:
                await never(place)
            except httpx.NetworkError as error:
                told.append(error)

        with anyio.fail_after(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await ticks(40)
                wire["write"] = lose
                await _cut(place, whole, [40])
        assert len(told) == 1
        await place.get()
        assert place.server.garbled == []


async def test_a_write_that_was_made_is_the_end_of_nothing(
    anyio_backend_name: str,
) -> None:
    stray: list[Exception] = []
    async with site(HTTP2, Random(1)) as place:
        for moment in range(1, 30):
            await place.get()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cut, place, never, [moment])
                tasks.start_soon(_beside, place, stray)
    # On trio it may have been cut before it was made.
    may_be = httpx.NetworkError if anyio_backend_name == "trio" else ()
    assert [error for error in stray if not isinstance(error, may_be)] == []


async def test_what_is_lost_is_closed_though_everything_is_cancelled() -> None:
    found = Found()
    async with site(PLAIN, Random(1)) as place:
        place.connections.append(found)
        await fail(place)
    assert found.was_closed


async def test_a_cancellation_is_not_held_up_by_what_does_not_close() -> None:
    second = Found()
    transport = pool_of(Found(anyio.sleep_forever), second)
    began = anyio.current_time()
    await mended(transport)
    assert anyio.current_time() - began < 0.5
    assert second.was_closed
    assert connections_of(transport) == []


async def test_everything_is_closed_though_closing_is_cut() -> None:
    class Cut(BaseException):
        """A cancellation, of either kind."""

    async def cut() -> None:
        raise Cut

    second = Found()
    transport = pool_of(Found(cut), second)
    with pytest.raises(Cut):
        await mended(transport)
    assert second.was_closed
    assert connections_of(transport) == []


async def test_what_fails_to_close_is_no_failure_of_the_call() -> None:
    async def break_off() -> None:
        raise OSError("connection reset")

    transport = pool_of(Found(break_off))
    await mended(transport)
    assert connections_of(transport) == []


async def test_what_the_pool_itself_gives_up_is_closed() -> None:
    expired = Expired()
    transport = pool_of(Found(), expired)
    await mended(transport)
    assert expired.was_closed
    assert connections_of(transport) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio's shields hold
async def test_what_had_left_the_pool_is_closed_though_the_first_is_cut() -> None:
    begun = anyio.Event()

    async def stay() -> None:
        begun.set()
        await asyncio.sleep(60)

    first, second = Expired(stay), Expired()
    transport = pool_of(first, second)
    loop = asyncio.get_running_loop()
    async with ours(transport) as client:
        task = loop.create_task(client.get("http://127.0.0.1:9/"))
        await begun.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert second.was_closed
    assert connections_of(transport) == []


class Foreign(httpx.AsyncBaseTransport):
    """Somebody's own, which has a pool, or something that has one."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody there")


async def test_a_pool_is_found_behind_transports_of_others() -> None:
    transport = pool_of(Found())
    await mended(Foreign(behind=Foreign(behind=transport)))
    assert connections_of(transport) == []


async def test_a_version_that_is_not_known_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = pool_of(Found())
    monkeypatch.setattr(FAMILY.core, "__version__", "1.1.0")
    await mended(transport)
    assert len(connections_of(transport)) == 1


async def test_what_cannot_be_put_right_does_not_hide_what_happened() -> None:
    cls = FAMILY.core.AsyncConnectionPool
    transport = Foreign(_pool=cls.__new__(cls))
    async with AsyncClient(transport=transport, policy=AS_IT_COMES) as client:
        with pytest.raises(httpx.ConnectError, match="nobody there"):
            await client.get("http://a/")
