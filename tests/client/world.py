"""A clock that is a number, a server that reads a script, a caller of either colour."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Literal

from resilient_http import BreakerConfig, Policy, State
from resilient_http._core.breaker import Breaker
from tests.family import AsyncClient, Client, httpx

Colour = Literal["async", "sync"]
COLOURS: tuple[Colour, Colour] = ("async", "sync")

Step = int | httpx.Response | type[Exception] | Exception
"""A status, a response, or what is raised in place of one."""


class ManualClock:
    """Time passes when somebody waits, and only then."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


class LongestWait(Random):
    """Draws the greatest value there is, so that a wait is the ceiling it came from."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class Recorded(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that remembers whether it was closed, and may break off or take time."""

    def __init__(self, *chunks: bytes | Exception | Callable[[], bytes]) -> None:
        self.chunks = chunks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk if isinstance(chunk, bytes) else chunk()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in iter(self):
            yield chunk

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


class World:
    """A server behind a transport of either colour, and all it has seen."""

    def __init__(self, *script: Step, seconds: float = 0.0) -> None:
        self.clock = ManualClock()
        self.state = State(clock=self.clock, rng=LongestWait())
        self.script = list(script)
        self.seconds = seconds
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.transport = _Transport(self)

    @property
    def sends(self) -> int:
        return len(self.requests)

    def serve(self, request: httpx.Request, body: bytes) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(body)
        self.clock.time += self.seconds
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, int):
            return httpx.Response(step, stream=Recorded(b"body"))
        if isinstance(step, httpx.Response):
            return step
        raise step("scripted") if isinstance(step, type) else step

    @asynccontextmanager
    async def caller(self, colour: Colour, **options: Any) -> AsyncIterator["Caller"]:
        client = self.client(colour, **options)
        if isinstance(client, AsyncClient):
            async with client:
                yield Caller(client)
        else:
            with client:
                yield Caller(client)

    def client(self, colour: Colour, **options: Any) -> AsyncClient | Client:
        options = {"transport": self.transport, "state": self.state, **options}
        return AsyncClient(**options) if colour == "async" else Client(**options)


class Caller:
    """A client of either colour, asked in the same words."""

    def __init__(self, client: httpx.AsyncClient | httpx.Client) -> None:
        self.client = client

    async def get(self, url: str = "http://a/", **options: Any) -> httpx.Response:
        return await self.request("GET", url, **options)

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        if isinstance(self.client, httpx.AsyncClient):
            return await self.client.request(method, url, **options)
        return self.client.request(method, url, **options)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        if isinstance(self.client, httpx.AsyncClient):
            return await self.client.send(request, **options)
        return self.client.send(request, **options)

    async def open(self, url: str = "http://a/", **options: Any) -> httpx.Response:
        """Send a GET and leave the body to be read."""
        request = self.client.build_request("GET", url, **options)
        return await self.send(request, stream=True)

    async def read_all(self, url: str = "http://a/", **options: Any) -> bytes:
        """Send a GET, and read the body as a stream."""
        return await self.read(await self.open(url, **options))

    async def read(self, response: httpx.Response) -> bytes:
        if isinstance(self.client, httpx.AsyncClient):
            return await response.aread()
        return response.read()

    async def close(self, response: httpx.Response) -> None:
        if isinstance(self.client, httpx.AsyncClient):
            await response.aclose()
        else:
            response.close()


def breaker_of(state: State, key: str, config: BreakerConfig) -> Breaker:
    found = state.origin(key, Policy(breaker=config)).breaker
    assert found is not None
    return found


class _Transport(httpx.AsyncBaseTransport, httpx.BaseTransport):
    def __init__(self, world: World) -> None:
        self._world = world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = b"".join(iter(request.stream))  # type: ignore[arg-type]  # sync in a sync client
        return self._world.serve(request, body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        parts = [part async for part in request.stream]  # type: ignore[union-attr]  # and the reverse
        return self._world.serve(request, b"".join(parts))
