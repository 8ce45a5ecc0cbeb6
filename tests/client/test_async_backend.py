"""Reads and writes on asyncio are timed for less, and end as those of httpcore do."""

import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.lowlevel import checkpoint

from resilient_http import Policy
from tests.client.test_pool import ROUTES, Certificate, Route, certificate, site
from tests.client.wire import wire_server
from tests.family import AsyncClient, AsyncResilientTransport, httpx, wrap

__all__ = ["certificate"]

CORE: Final = vars(AsyncClient)["_family"].core
BACKENDS: Final = vars(CORE)["_backends"]
AS_IT_COMES: Final = Policy(retry=None, breaker=None)
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
LARGE: Final = b"x" * 20_000_000
"""More than any buffer on the way takes."""
ASYNCIO: Final = pytest.mark.parametrize("anyio_backend", ["asyncio"])
TRIO: Final = pytest.mark.parametrize("anyio_backend", ["trio"])


def backend_of(transport: Any) -> Any:
    return vars(vars(transport)["_pool"])["_network_backend"]


def say_nothing(connection: socket.socket) -> None:
    connection.recv(1)


@contextmanager
def unread() -> Iterator[str]:
    """Serve without reading; yield the URL."""
    over = threading.Event()

    def wait(_: socket.socket) -> None:
        over.wait(60)

    with wire_server(wait, after_head=False) as server:
        yield server.url
        over.set()


@pytest.fixture
def scopes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which functions of httpcore's backend make a cancel scope."""
    makers: list[str] = []
    fail_after = anyio.fail_after

    def noted(seconds: float | None) -> Any:
        maker = sys._getframe(1)  # noqa: SLF001 - there is no other way to its caller
        if maker.f_globals["__name__"] == BACKENDS.anyio.__name__:
            makers.append(maker.f_code.co_name)
        return fail_after(seconds)

    monkeypatch.setattr(anyio, "fail_after", noted)
    return makers


def given(transport: Any) -> Any:
    return AsyncClient(transport=transport, policy=AS_IT_COMES)


def mounted(transport: Any) -> Any:
    return AsyncClient(mounts={"http://": transport}, policy=AS_IT_COMES)


def wrapped(transport: Any) -> Any:
    return wrap(httpx.AsyncClient(transport=transport), AS_IT_COMES)


def below(transport: Any) -> Any:
    inner = AsyncResilientTransport(transport, AS_IT_COMES)
    return httpx.AsyncClient(transport=inner)


@ASYNCIO
@pytest.mark.parametrize("wear", [given, mounted, wrapped, below])
async def test_no_scope_is_made_to_read_or_write(
    wear: Callable[[Any], Any], scopes: list[str]
) -> None:
    async with site(ROUTES[0], Random(0), wear=wear) as place:
        await place.get()
    assert scopes == ["connect_tcp"]


@ASYNCIO
@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_nor_is_one_on_another_way_to_the_server(
    route: Route, scopes: list[str], certificate: Certificate
) -> None:
    async with site(route, Random(0), certificate if route.tls else None) as place:
        await place.get()
        await place.get()
    assert scopes == ["connect_tcp", *["start_tls"] * route.tls]


@ASYNCIO
async def test_nor_is_one_on_a_socket_of_unix(
    tmp_path: Path, scopes: list[str]
) -> None:
    path = str(tmp_path / "socket")

    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(ANSWER)

    async with (
        await anyio.create_unix_listener(path) as listener,
        anyio.create_task_group() as tasks,
        given(httpx.AsyncHTTPTransport(uds=path)) as client,
    ):
        tasks.start_soon(listener.serve, answer)
        assert (await client.get("http://a/")).text == "body"
        tasks.cancel_scope.cancel()
    assert scopes == ["connect_unix_socket"]


async def test_a_silent_server_is_a_read_timeout() -> None:
    with wire_server(say_nothing) as server:
        async with AsyncClient(policy=AS_IT_COMES) as client:
            with anyio.fail_after(20), pytest.raises(httpx.ReadTimeout):
                await client.get(server.url, timeout=httpx.Timeout(10, read=0.02))


# On trio what gives the bytes of the body is left to the collector.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_a_server_that_does_not_read_is_a_write_timeout() -> None:
    with unread() as url:
        async with AsyncClient(policy=AS_IT_COMES) as client:
            timeout = httpx.Timeout(10, write=0.02)
            with anyio.fail_after(20), pytest.raises(httpx.WriteTimeout):
                await client.post(url, content=LARGE, timeout=timeout)


async def test_the_limit_of_a_send_holds_within_a_longer_one() -> None:
    hasty = Policy(retry=None, breaker=None, attempt_timeout=0.02)
    with wire_server(say_nothing) as server:
        async with AsyncClient(policy=hasty, timeout=10) as client:
            with (
                anyio.fail_after(20),
                pytest.raises(httpx.ReadTimeout, match=r"0\.02 s"),
            ):
                await client.get(server.url)


class Far:
    """The other end of a stream."""

    def __init__(self, does: Callable[[], Awaitable[bytes]]) -> None:
        self._does = does

    async def receive(self, max_bytes: int) -> bytes:
        return (await self._does())[:max_bytes]

    async def send(self, item: bytes) -> None:
        assert item
        await self._does()


async def says_much() -> bytes:
    return b"data" * 100


async def is_silent() -> bytes:
    await anyio.sleep(60)
    raise AssertionError


async def takes_a_turn() -> bytes:
    await checkpoint()
    return b"next"


async def takes_a_while() -> bytes:
    await anyio.sleep(0.01)
    return b"late"


def raises(error: Exception) -> Callable[[], Awaitable[bytes]]:
    async def fail() -> bytes:
        raise error

    return fail


FAR: Final = {
    "says much": says_much,
    "is silent": is_silent,
    "takes a turn": takes_a_turn,
    "takes a while": takes_a_while,
    "has ended": raises(anyio.EndOfStream()),
    "is broken": raises(anyio.BrokenResourceError("gone")),
    "is closed": raises(anyio.ClosedResourceError("gone")),
    "is misused": raises(ValueError("misused")),
}


async def outcome(
    stream: Any, operation: str, given: Any, timeout: float | None
) -> Any:
    """Return what an operation gives, or what it raises."""
    try:
        return await getattr(stream, operation)(given, timeout)
    except Exception as error:  # noqa: BLE001 - to be compared with another
        return type(error), str(error)


@ASYNCIO
@pytest.mark.parametrize("timeout", [None, 0, 1e-6, 0.05])
@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize(
    ("operation", "given"), [("read", 100), ("write", b"data"), ("write", b"")]
)
async def test_a_stream_does_what_httpcores_does(
    far: str, operation: str, given: Any, timeout: float | None
) -> None:
    if far == "is silent" and timeout is None:
        pytest.skip("nothing ends that wait: no byte comes, and no time is set")
    stream: Any = Far(FAR[far])
    theirs = BACKENDS.anyio.AnyIOStream(stream)
    ours = streams()(stream)
    expected = await outcome(theirs, operation, given, timeout)
    if expected == (anyio.EndOfStream, "") and timeout in {None, 0.05}:
        expected = CORE.WriteError, ""  # as the fork has it
    assert await outcome(ours, operation, given, timeout) == expected


def streams() -> Any:
    return vars(type(backend_of(vars(AsyncClient())["_transport"])))["_streams"]


async def test_somebody_elses_cancellation_goes_on() -> None:
    stream = streams()(Far(is_silent))
    with anyio.move_on_after(0.01) as theirs:
        await stream.read(1, 60)
    assert theirs.cancelled_caught


@TRIO
async def test_on_trio_a_stream_is_trios_own() -> None:
    async with site(ROUTES[0], Random(0)) as place, place.stream() as response:
        stream = response.extensions["network_stream"]
    assert type(stream).__name__ == "TrioStream"


def test_a_backend_that_somebody_chose_is_left() -> None:
    for chosen in (CORE.AsyncMockBackend([]), CORE.AnyIOBackend()):
        transport = httpx.AsyncHTTPTransport()
        vars(vars(transport)["_pool"])["_network_backend"] = chosen
        given(transport)
        assert backend_of(transport) is chosen


def test_what_a_foreign_transport_holds_is_left() -> None:
    foreign, transport = httpx.AsyncBaseTransport(), httpx.AsyncHTTPTransport()
    vars(foreign)["inner"] = transport
    given(foreign)
    assert type(backend_of(transport)) is BACKENDS.auto.AutoBackend


def test_a_backend_is_replaced_once() -> None:
    transport = httpx.AsyncHTTPTransport()
    given(transport)
    backend = backend_of(transport)
    below(transport)
    assert backend_of(transport) is backend


def test_a_version_that_is_not_known_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CORE, "__version__", "0.9.0")
    transport = httpx.AsyncHTTPTransport()
    given(transport)
    assert type(backend_of(transport)) is BACKENDS.auto.AutoBackend


def test_a_version_with_other_names_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(CORE, "_backends")
    transport = httpx.AsyncHTTPTransport()
    given(transport)
    assert type(backend_of(transport)) is BACKENDS.auto.AutoBackend


async def test_a_stream_with_other_names_is_left() -> None:
    stream = BACKENDS.anyio.AnyIOStream(Far(says_much))
    del vars(stream)["_stream"]
    assert streams().instead_of(stream) is stream
    assert type(stream) is BACKENDS.anyio.AnyIOStream
