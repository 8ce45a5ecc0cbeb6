"""Where a call is made: on which family, in which colour, over what."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

_BODY = b'{"available": 2}'

Family = Literal["httpx", "httpx2"]
Colour = Literal["async", "sync"]
Over = Literal["stub", "mock", "loopback"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where every contender makes the same call."""

    family: Family
    colour: Colour
    over: Over
    aiohttp: bool = False
    """Whether httpx-aiohttp is what goes over the network, and not httpx's own."""

    def __str__(self) -> str:
        return f"{self.over}, {self.family}, {self.colour}"

    @property
    def http(self) -> Any:
        """The module of the family."""
        return import_module(self.family)

    @property
    def client_name(self) -> str:
        """What both families call the client of this colour."""
        return "AsyncClient" if self.colour == "async" else "Client"

    def transport(self) -> Any:
        """Return a new transport."""
        if self.aiohttp:
            return import_module("httpx_aiohttp").AiohttpTransport()
        if self.over in ("stub", "mock"):
            return _stub(self.http, is_read=self.over == "mock")
        name = "AsyncHTTPTransport" if self.colour == "async" else "HTTPTransport"
        return getattr(self.http, name)()


class _Stub:
    """Has the answer at once: as transports have it, or with its body read already."""

    def __init__(self, http: Any, *, is_read: bool) -> None:
        self._http = http
        self._is_read = is_read

    def handle_request(self, request: Any) -> Any:  # noqa: ARG002 - all get the same
        headers = {"content-type": "application/json"}
        if self._is_read:
            return self._http.Response(200, headers=headers, content=_BODY)
        stream = self._http.ByteStream(_BODY)
        return self._http.Response(200, headers=headers, stream=stream)

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)


def _stub(http: Any, *, is_read: bool) -> Any:
    bases = (_Stub, http.AsyncBaseTransport, http.BaseTransport)
    return type("Stub", bases, {})(http, is_read=is_read)
