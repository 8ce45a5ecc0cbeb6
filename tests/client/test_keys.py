"""Idempotency keys: one for each call, and the same on all its sends."""

import re
from typing import Any

import pytest

from resilient_http import Policy
from tests.client.world import Colour, World
from tests.family import httpx

WITH_KEYS = Policy(idempotency_keys=True)
KEY = re.compile(r'"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"')


def keys(world: World) -> list[str | None]:
    return [request.headers.get("Idempotency-Key") for request in world.requests]


@pytest.mark.case("C38", "R6")
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_every_send_of_a_call_carries_the_same_key(
    colour: Colour, method: str
) -> None:
    there = httpx.Response(307, headers={"location": "http://a/there"})
    world = World(503, httpx.ReadError, there, 503, 200)
    options: dict[str, Any] = {"policy": WITH_KEYS, "follow_redirects": True}
    async with world.caller(colour, **options) as caller:
        response = await caller.request(method, "http://a/", json={"x": 1})
    assert (response.status_code, world.sends) == (200, 5)
    assert set(world.bodies) == {b'{"x":1}'}
    (key,) = set(keys(world))
    assert key is not None
    assert KEY.fullmatch(key)


@pytest.mark.case("C38")
async def test_every_call_has_a_key_of_its_own(colour: Colour) -> None:
    world = World(200)
    async with world.caller(colour, policy=WITH_KEYS) as caller:
        request = caller.client.build_request("POST", "http://a/")
        seen = set()
        for _ in range(3):
            await caller.send(request)
            seen.add(request.headers["Idempotency-Key"])
        await caller.request("POST", "http://a/")
    assert len(seen | set(keys(world))) == 4


async def test_a_key_of_the_senders_own_is_kept(colour: Colour) -> None:
    world = World(503, 200)
    headers = {"Idempotency-Key": '"mine"'}
    async with world.caller(colour, policy=WITH_KEYS) as caller:
        await caller.request("POST", "http://a/", headers=headers)
    assert keys(world) == ['"mine"', '"mine"']


async def test_what_is_idempotent_or_unasked_has_none(colour: Colour) -> None:
    world = World(200)
    async with world.caller(colour, policy=WITH_KEYS) as caller:
        await caller.get()
        await caller.request("PUT", "http://a/")
        await caller.request("POST", "http://a/", extensions={"policy": Policy()})
    assert keys(world) == [None, None, None]
