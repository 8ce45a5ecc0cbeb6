"""A body is no larger than it may be."""

import zlib
from typing import Any

import pytest

from resilient_http import Policy
from resilient_http.problems import UpstreamException
from tests.client.world import Colour, Recorded, World
from tests.family import httpx

BOUND = Policy(max_response_bytes=1000)


def answer(*chunks: bytes, **headers: str) -> tuple[httpx.Response, Recorded]:
    body = Recorded(*chunks)
    return httpx.Response(200, headers=headers, stream=body), body


async def test_a_body_within_the_bound_is_read(colour: Colour) -> None:
    response, _ = answer(b"x" * 400, b"x" * 600)
    async with World(response).caller(colour, policy=BOUND) as caller:
        assert len((await caller.get()).content) == 1000


async def test_a_body_beyond_it_is_an_error_and_is_closed(colour: Colour) -> None:
    response, body = answer(*[b"x" * 400] * 100)
    world = World(response)
    async with world.caller(colour, policy=BOUND) as caller:
        with pytest.raises(UpstreamException, match="more than 1000 bytes") as caught:
            await caller.get("http://a/?token=secret")
        known = caller.client.snapshot()["origins"]["http://a:80"]  # type: ignore[union-attr]  # ours
    assert isinstance(caught.value, httpx.TransportError)
    assert len(vars(caught.value)["attempts"]) == 1
    assert body.closed
    assert world.sends == 1
    assert known["breaker"]["failures"] == 0
    assert "secret" not in str(caught.value)


async def test_it_is_counted_after_decompression(colour: Colour) -> None:
    bomb = zlib.compress(b"x" * 1_000_000)
    assert len(bomb) < 1000 + 100
    response, _ = answer(bomb, **{"content-encoding": "deflate"})
    async with World(response).caller(colour, policy=BOUND) as caller:
        with pytest.raises(UpstreamException):
            await caller.get()


async def test_a_streamed_body_is_the_callers_to_bound(colour: Colour) -> None:
    response, _ = answer(b"x" * 5000)
    async with World(response).caller(colour, policy=BOUND) as caller:
        assert len(await caller.read_all()) == 5000


@pytest.mark.parametrize(
    ("encoding", "encode"), [("identity", bytes), ("deflate", zlib.compress)]
)
async def test_a_body_is_decoded_as_httpx_does(
    colour: Colour, encoding: str, encode: Any
) -> None:
    whole = encode(b"text " * 100)
    response, body = answer(whole[:7], whole[7:], **{"content-encoding": encoding})
    async with World(response).caller(colour) as caller:
        got = await caller.get()
    assert got.text == "text " * 100
    assert got.num_bytes_downloaded == len(whole)
    assert (got.is_closed, got.is_stream_consumed) == (True, True)
    assert body.closed


async def test_a_body_that_does_not_decode_names_its_request(colour: Colour) -> None:
    response, body = answer(b"not zlib", **{"content-encoding": "gzip"})
    async with World(response).caller(colour) as caller:
        with pytest.raises(httpx.DecodingError) as caught:
            await caller.get("http://a/x")
    assert caught.value.request.url == "http://a/x"
    assert body.closed
