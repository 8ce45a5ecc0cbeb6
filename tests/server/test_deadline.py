"""Calls made while a request is served end by the time that its caller has."""

import math

import httpx
import pytest

import resilient_http
from resilient_http.context import time_left
from resilient_http.problems import Contract
from resilient_http.testing import ManualClock, ScriptedServer
from server_kit import wrap
from server_kit.asgi import Receive, Scope, Send


class Service:
    """Notes what time it has, and what another service is told of it."""

    def __init__(self) -> None:
        self.left = math.nan
        self.other = ScriptedServer(200, clock=ManualClock(start=0))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.left = time_left()
        state = resilient_http.State(clock=self.other.clock)
        async with resilient_http.AsyncClient(
            base_url="http://other",
            contract=Contract(),
            transport=self.other,
            state=state,
        ) as client:
            await client.get("/")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


async def ask(service: Service, *values: str) -> None:
    headers = [("X-Request-Timeout-Ms", value) for value in values]
    transport = httpx.ASGITransport(app=wrap(service))
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get("http://shop/", headers=headers)
        assert response.status_code == 204


async def test_what_is_left_is_inherited_and_handed_on() -> None:
    service = Service()
    await ask(service, "2000")
    assert service.left == pytest.approx(2, abs=0.5)
    (request,) = service.other.requests
    assert 1_000 <= int(request.headers["x-request-timeout-ms"]) <= 2_000
    assert time_left() == math.inf


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("0",),
        ("-5",),
        ("abc",),
        ("1.5",),
        ("1e9",),
        ("9" * 16,),
        ("5", "6"),
    ],
)
async def test_what_is_no_time_is_ignored(values: tuple[str, ...]) -> None:
    service = Service()
    await ask(service, *values)
    assert service.left == math.inf
