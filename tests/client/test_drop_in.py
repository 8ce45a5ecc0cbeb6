"""What plain httpx does, a resilient client does, too."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest

from resilient_http.context import request_id
from resilient_http.problems import Contract
from tests.client.world import Colour, World
from tests.family import AsyncClient, httpx


async def test_a_scheme_of_ones_own_may_be_mounted(colour: Colour) -> None:
    world = World(200)
    mounts = {"custom://": world.transport}
    async with world.caller(colour, mounts=mounts) as caller:
        assert (await caller.get("custom://thing/")).status_code == 200
        known = caller.client.snapshot()  # type: ignore[union-attr]  # ours
    assert set(known["origins"]) == {"custom://thing"}


@pytest.mark.case("C21")
@pytest.mark.parametrize("url", ["nowhere://a/", "//a/", "http://"])
async def test_a_url_that_leads_nowhere_is_the_callers_fault(
    colour: Colour, url: str
) -> None:
    async with World(200).caller(colour, transport=None) as caller:
        for _ in range(20):
            with pytest.raises(httpx.UnsupportedProtocol):
                await caller.get(url)
        origins = caller.client.snapshot()["origins"]  # type: ignore[union-attr]  # ours
    assert {known["breaker"]["state"] for known in origins.values()} == {"closed"}


async def test_a_body_of_the_wrong_colour_is_refused_as_httpx_does(
    colour: Colour,
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x"

    content: Any = [b"x"] if colour == "async" else parts()
    async with World(200).caller(colour) as caller:
        with pytest.raises(RuntimeError, match=r"Attempted to send an? "):
            await caller.request("POST", "http://a/", content=content)


async def test_a_closed_client_says_so(colour: Colour) -> None:
    async with World(200).caller(colour) as caller:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await caller.get()


async def test_too_many_redirects_are_httpxs_error(colour: Colour) -> None:
    round_and_round = httpx.Response(302, headers={"location": "http://a/"})
    world = World(round_and_round)
    options = {"follow_redirects": True, "max_redirects": 3}
    async with world.caller(colour, **options) as caller:
        with pytest.raises(httpx.TooManyRedirects):
            await caller.get()
    assert world.sends == 4


@pytest.mark.parametrize("script", [[200], [503], [503, 200]])
async def test_an_answer_says_how_long_it_took(
    colour: Colour, script: list[Any]
) -> None:
    world = World(*script)
    async with world.caller(colour) as caller:
        assert (await caller.get()).elapsed > timedelta(0)
        world.script = list(script)
        streamed = await caller.open()
        await caller.read(streamed)
        assert streamed.elapsed > timedelta(0)


class Generated(httpx.AsyncByteStream):
    """A body without end, whose generator remembers that it was ended."""

    has_ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1024
        finally:
            self.has_ended = True


async def first_of(stream: Any) -> None:
    async with aclosing(aiter(stream)) as parts:
        await anext(parts)


async def test_an_upload_that_is_left_ends_what_generates_it() -> None:
    class Leaving(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await first_of(request.stream)
            raise httpx.WriteError("left")

    body = Generated()
    async with AsyncClient(transport=Leaving()) as client:
        with pytest.raises(httpx.WriteError):
            await client.send(httpx.Request("POST", "http://a/", stream=body))
    assert body.has_ended


@pytest.mark.skipif(
    httpx.__name__ == "httpx", reason="httpx leaves it to the collector"
)
@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("is_read", [True, False])
async def test_an_answer_that_is_left_ends_what_generates_it(
    status: int, is_read: bool
) -> None:
    body = Generated()
    problem = {"content-type": "application/problem+json"}
    answer = httpx.Response(status, headers=problem, stream=body)
    async with World(answer).caller("async") as caller:
        response = await caller.open()
        if is_read:
            await first_of(response.stream)
        else:
            await caller.close(response)
    assert body.has_ended == (is_read or status == 404)


async def test_authentication_runs_once_for_a_hop(colour: Colour) -> None:
    class Counting(httpx.Auth):
        flows = 0

        def auth_flow(self, request: httpx.Request) -> Any:
            self.flows += 1
            request.headers["Authorization"] = f"Token {self.flows}"
            yield request

    auth = Counting()
    world = World(503, 503, 200)
    async with world.caller(colour, auth=auth) as caller:
        await caller.get()
    assert auth.flows == 1
    sent = [request.headers["Authorization"] for request in world.requests]
    assert sent == ["Token 1"] * 3


async def test_a_transports_own_response_is_closed_its_own_way() -> None:
    class Counted(httpx.Response):
        closes = 0

        async def aclose(self) -> None:
            self.closes += 1
            await super().aclose()

    async def body() -> AsyncIterator[bytes]:
        yield b"all of it"

    answer = Counted(200, content=body())
    transport = httpx.MockTransport(lambda request: answer)
    async with AsyncClient(transport=transport) as client:
        assert (await client.get("http://a/")).content == b"all of it"
    assert answer.closes == 1


async def test_cookies_set_by_hand_go_out_and_those_of_answers_come_in(
    colour: Colour,
) -> None:
    world = World(httpx.Response(200, headers={"Set-Cookie": "b=2"}), 200)
    async with world.caller(colour, cookies={"a": "1"}) as caller:
        await caller.get()
        await caller.get()
    assert [request.headers["Cookie"] for request in world.requests] == [
        "a=1",
        "a=1; b=2",
    ]


async def test_a_hook_may_turn_an_answer_into_a_redirect(colour: Colour) -> None:
    def elsewhere(response: httpx.Response) -> None:
        response.headers["Location"] = "http://a/there"

    async def aelsewhere(response: httpx.Response) -> None:
        elsewhere(response)

    hook = aelsewhere if colour == "async" else elsewhere
    world = World(302)
    async with world.caller(colour, event_hooks={"response": [hook]}) as caller:
        following = (await caller.get()).next_request
    assert following is not None
    assert str(following.url) == "http://a/there"


async def test_a_request_id_stays_with_the_services_of_the_contract(
    colour: Colour,
) -> None:
    def to(url: str) -> httpx.Response:
        return httpx.Response(302, headers={"location": url})

    path = ["http://b/", "http://else/", "http://nowhere/", "http://a/home"]
    world = World(*map(to, path), 200)
    contract = Contract(origins=["http://b"])
    options = {"contract": contract, "base_url": "http://a", "follow_redirects": True}
    token = request_id.set("r-1")
    try:
        async with world.caller(colour, **options) as caller:
            await caller.get("/")
            await caller.get("/", headers={"X-Request-ID": "mine"})
    finally:
        request_id.reset(token)
    told = [request.headers.get("X-Request-ID") for request in world.requests]
    assert told == ["r-1", "r-1", None, None, "r-1", "mine"]


async def test_without_a_contract_no_header_is_added(colour: Colour) -> None:
    world = World(200)
    async with world.caller(colour) as caller:
        await caller.get()
        plain = httpx.Client().build_request("GET", "http://a/")
    ours = dict(world.requests[0].headers)
    assert ours == dict(plain.headers)
