"""A scripted server with all it needs around it, and a caller of either colour."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from resilient_http import BreakerConfig, Policy, State
from resilient_http._core.breaker import Breaker
from resilient_http.testing import Fixed, ManualClock
from tests.family import AsyncClient, Client, ScriptedServer, httpx
from tests.family import ScriptedBody as Recorded

__all__ = [
    "COLOURS",
    "Caller",
    "Colour",
    "ManualClock",
    "Recorded",
    "World",
    "breaker_of",
]

Colour = Literal["async", "sync"]
COLOURS: tuple[Colour, Colour] = ("async", "sync")


class World(ScriptedServer):
    """A server, and a state on its clock that draws the longest waits."""

    def __init__(self, *script: Any, seconds: float = 0.0) -> None:
        super().__init__(*script, seconds=seconds, content=b"body")
        self.state = State(clock=self.clock, rng=Fixed(1.0))
        self.transport = self

    def serve(self, request: httpx.Request, body: bytes) -> httpx.Response:
        """Answer; to be overridden by who wants to see a request before it is noted."""
        response: httpx.Response = self._answer(
            super()._arrived(request, body), request
        )
        return response

    def _arrived(self, request: Any, body: bytes) -> Any:
        return self.serve(request, body)

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
