"""Every argument of httpx's clients does with ours what it does with theirs."""

import inspect
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from resilient_http import Policy
from tests.client.wire import wire_server
from tests.client.world import Caller, Colour, World
from tests.family import AsyncClient, Client, httpx

PLAIN: dict[Colour, Any] = {"async": httpx.AsyncClient, "sync": httpx.Client}
OURS: dict[Colour, Any] = {"async": AsyncClient, "sync": Client}
PROXY = "PROXY"
ONCE = Policy(retry=None)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


@dataclass(frozen=True)
class Kind:
    """Of which colour, and whose."""

    colour: Colour
    ours: bool

    def client(self, **options: Any) -> Any:
        if self.ours:
            return OURS[self.colour](policy=ONCE, **options)
        return PLAIN[self.colour](**options)


@pytest.fixture(params=["httpx", "ours"])
def kind(request: pytest.FixtureRequest, colour: Colour) -> Kind:
    return Kind(colour, ours=request.param == "ours")


IN_A_REQUEST: dict[str, Any] = {
    "auth": ("user", "pass"),
    "base_url": "http://b/base",
    "cookies": {"a": "1"},
    "headers": {"X-A": "1"},
    "params": {"a": "1"},
    "timeout": httpx.Timeout(7, pool=1),
}


def test_every_argument_is_shown_here(colour: Colour) -> None:
    arguments = set(inspect.signature(PLAIN[colour]).parameters)
    named = {
        name.removeprefix("test_argument_")
        for name in globals()
        if name.startswith("test_argument_")
    }
    assert arguments == named | set(IN_A_REQUEST)


async def sent(kind: Kind, **options: Any) -> tuple[Any, ...]:
    """Return what a transport sees of a request."""
    world = World(200)
    await Caller(kind.client(transport=world.transport, **options)).get("x")
    request = world.requests[0]
    headers = sorted(request.headers.items())
    return str(request.url), headers, request.extensions["timeout"]


@pytest.mark.parametrize("argument", IN_A_REQUEST)
async def test_what_an_argument_adds_to_a_request_is_added(
    colour: Colour, argument: str
) -> None:
    plain, ours = Kind(colour, ours=False), Kind(colour, ours=True)
    default = {"base_url": "http://a"}
    options = {**default, argument: IN_A_REQUEST[argument]}
    assert await sent(ours, **default) == await sent(plain, **default)
    assert await sent(ours, **options) == await sent(plain, **options)
    assert await sent(ours, **options) != await sent(ours, **default)


async def test_argument_transport(kind: Kind) -> None:
    world = World(200)
    await Caller(kind.client(transport=world.transport)).get()
    assert world.sends == 1


async def test_argument_mounts(kind: Kind) -> None:
    default, mounted = World(200), World(201)
    mounts = {"http://b": mounted.transport}
    caller = Caller(kind.client(transport=default.transport, mounts=mounts))
    statuses = [(await caller.get(url)).status_code for url in ("http://a", "http://b")]
    assert statuses == [200, 201]


def to_itself() -> httpx.Response:
    return httpx.Response(302, headers={"location": "http://a/"})


@pytest.mark.parametrize(("value", "sends"), [(False, 1), (True, 2)])
async def test_argument_follow_redirects(kind: Kind, value: bool, sends: int) -> None:
    world = World(to_itself(), 200)
    client = kind.client(transport=world.transport, follow_redirects=value)
    await Caller(client).get()
    assert world.sends == sends


async def test_argument_max_redirects(kind: Kind) -> None:
    world = World(to_itself())
    options = {"follow_redirects": True, "max_redirects": 2}
    with pytest.raises(httpx.TooManyRedirects):
        await Caller(kind.client(transport=world.transport, **options)).get()
    assert world.sends == 3


async def test_argument_event_hooks(kind: Kind) -> None:
    seen: list[Any] = []

    async def anote(message: Any) -> None:
        seen.append(message)

    hook = anote if kind.colour == "async" else seen.append
    hooks = {"request": [hook], "response": [hook]}
    world = World(to_itself(), 200)
    options = {"event_hooks": hooks, "follow_redirects": True}
    await Caller(kind.client(transport=world.transport, **options)).get()
    kinds = [type(message).__name__ for message in seen]
    assert kinds == ["Request", "Response"] * 2


@pytest.mark.parametrize("value", ["latin-1", lambda _: "latin-1"])
async def test_argument_default_encoding(kind: Kind, value: Any) -> None:
    world = World(httpx.Response(200, content=b"\xe9"))
    client = kind.client(transport=world.transport, default_encoding=value)
    assert (await Caller(client).get()).text == "\xe9"


def answer(connection: socket.socket) -> None:
    connection.sendall(ANSWER)


def hold(connection: socket.socket) -> None:
    connection.sendall(ANSWER[:-1])
    connection.recv(1)


async def close(caller: Caller) -> None:
    if isinstance(caller.client, httpx.AsyncClient):
        await caller.client.aclose()
    else:
        caller.client.close()


async def test_argument_limits(kind: Kind) -> None:
    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(5, pool=0.05)
    with wire_server(hold) as server:
        caller = Caller(kind.client(limits=limits, timeout=timeout))
        held = await caller.open(server.url)
        with pytest.raises(httpx.PoolTimeout):
            await caller.get(server.url)
        await caller.close(held)
        await close(caller)


async def is_taken(kind: Kind, options: Any, environment: str = "") -> bool:
    """Whether the way to a server leads over a proxy, named `PROXY` wherever it is."""
    with wire_server(answer) as server, wire_server(answer) as proxy:
        named = {k: proxy.url if v == PROXY else v for k, v in options.items()}
        with pytest.MonkeyPatch.context() as patch:
            for name in ("no_proxy", "NO_PROXY", "http_proxy"):
                patch.delenv(name, raising=False)
            patch.setenv("HTTP_PROXY", proxy.url if environment == PROXY else "")
            caller = Caller(kind.client(**named))
        assert (await caller.get(server.url)).text == "ok"
        await close(caller)
        assert server.connections + proxy.connections == 1
        return proxy.connections == 1


async def test_argument_proxy(kind: Kind) -> None:
    assert not await is_taken(kind, {})
    assert await is_taken(kind, {"proxy": PROXY})


async def test_argument_trust_env(kind: Kind) -> None:
    assert await is_taken(kind, {}, PROXY)
    assert not await is_taken(kind, {"trust_env": False}, PROXY)


@dataclass
class TLSServer:
    """Answers one request a connection, and notes how each was agreed upon."""

    context: ssl.SSLContext
    url: str
    protocols: list[str | None] = field(default_factory=list)
    certificates: list[Any] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                self._answer(listener.accept()[0])

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with (
            suppress(OSError),
            connection,
            self.context.wrap_socket(connection, server_side=True) as stream,
        ):
            self.protocols.append(stream.selected_alpn_protocol())
            self.certificates.append(stream.getpeercert())
            stream.recv(65_536)
            stream.sendall(ANSWER)


class TLS:
    """An authority, what trusts it, and servers that it vouches for."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.trusting = ssl.create_default_context()
        self.authority.configure_trust(self.trusting)

    @contextmanager
    def server(self, *protocols: str, ask: bool = False) -> Iterator[TLSServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        context.set_alpn_protocols(protocols)
        if ask:
            context.verify_mode = ssl.CERT_REQUIRED
            self.authority.configure_trust(context)
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        server = TLSServer(context, url)
        thread = threading.Thread(target=server.serve, args=[listener])
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()


@pytest.fixture(scope="module")
def tls() -> TLS:
    return TLS()


async def test_argument_verify(kind: Kind, tls: TLS) -> None:
    with tls.server() as server:
        for value in (False, tls.trusting):
            caller = Caller(kind.client(verify=value))
            assert (await caller.get(server.url)).text == "ok"
            await close(caller)
        caller = Caller(kind.client(verify=True))
        with pytest.raises(httpx.ConnectError):
            await caller.get(server.url)
        await close(caller)


@pytest.mark.filterwarnings("ignore:.*cert=:DeprecationWarning")
async def test_argument_cert(kind: Kind, tls: TLS, tmp_path: Path) -> None:
    path = str(tmp_path / "client.pem")
    tls.authority.issue_cert(
        "me@example.org"
    ).private_key_and_cert_chain_pem.write_to_path(path)
    with tls.server(ask=True) as server:
        caller = Caller(kind.client(verify=False, cert=path))
        assert (await caller.get(server.url)).text == "ok"
        await close(caller)
    [certificate] = server.certificates
    assert certificate["subjectAltName"] == (("email", "me@example.org"),)


async def test_argument_http2(kind: Kind, tls: TLS) -> None:
    with tls.server("h2", "http/1.1") as server:
        for value in (False, True):
            caller = Caller(kind.client(verify=tls.trusting, http2=value))
            with suppress(httpx.TransportError):  # it speaks HTTP/1.1 for all that
                await caller.get(server.url)
            await close(caller)
    assert server.protocols == ["http/1.1", "h2"]


@pytest.mark.parametrize(("value", "begins"), [(True, b"GET"), (False, b"PRI")])
async def test_argument_http1(kind: Kind, value: bool, begins: bytes) -> None:
    def hear(listener: socket.socket) -> bytes:
        connection, _ = listener.accept()
        with connection:
            return connection.recv(3)

    caller = Caller(kind.client(http1=value, http2=True))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as one,
    ):
        heard = one.submit(hear, listener)
        with suppress(httpx.TransportError):
            await caller.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        assert heard.result(5) == begins
    await close(caller)
