"""Refusals that are told to listeners, and those that are only told."""

import json
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from server_kit import wrap
from server_kit.ratelimit import Quota, Refused, client_key
from tests.server.limited import WINDOW, client, counted, fine

BOTH = pytest.mark.parametrize("around", [wrap, lambda app: app])


async def ok(_: Any) -> PlainTextResponse:
    return PlainTextResponse("ok")


def service() -> Starlette:
    return Starlette(routes=[Route("/items/{id}", ok)])


@BOTH
@pytest.mark.parametrize("shadow", [False, True])
async def test_a_refusal_is_told(around: Any, shadow: bool) -> None:
    heard: list[Refused] = []
    app = around(counted(service(), shadow=shadow, listeners=[heard.append]))
    async with client(app) as http:
        for number in range(3):
            await http.get(f"/items/{number}")
    (event,) = heard
    assert event == Refused(
        policy="default",
        key=event.key,
        limit=2,
        window=WINDOW,
        cost=1,
        retry_after=60.0,
        route="/items/{id}",
        outage=None,
        shadow=shadow,
    )


async def test_a_key_is_told_as_a_digest() -> None:
    heard: list[Refused] = []
    app = counted(default_limit=1, listeners=[heard.append])
    for address in ("192.0.2.1", "192.0.2.2"):
        async with client(app, address) as http:
            for _ in range(3):
                await http.get("/")
    keys = [event.key for event in heard]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert "192.0.2" not in repr(heard)


async def test_with_a_secret_nobody_can_try_out_whose_digest_it_is() -> None:
    heard: list[Refused] = []
    for secret in (None, b"0123456789abcdef", b"fedcba9876543210"):
        options = {"partition_keys": secret, "listeners": [heard.append]}
        async with client(counted(default_limit=1, **options)) as http:
            for _ in range(2):
                await http.get("/")
    assert len({event.key for event in heard}) == 3


async def test_each_quota_that_refuses_is_told_and_no_route_is_none() -> None:
    def three(request: Any) -> list[Quota]:
        key = client_key(request.scope)
        return [Quota(key, 1, WINDOW), Quota(key, 9, WINDOW), Quota(key, 1, 9)]

    heard: list[Refused] = []
    app = counted(service(), quotas=three, listeners=[heard.append])
    async with client(app) as http:
        for _ in range(2):
            await http.get("/nowhere")
    assert [event.policy for event in heard] == ["default", "default-3"]
    assert {event.route for event in heard} == {None}


@BOTH
async def test_in_shadow_mode_responses_are_as_without_a_limit(around: Any) -> None:
    async with client(around(counted(shadow=True))) as http:
        answers = [await http.get("/") for _ in range(5)]
    async with client(around(fine)) as http:
        bare = await http.get("/")
    assert [answer.status_code for answer in answers] == [200] * 5
    assert {*answers[-1].headers} == {*bare.headers}


def breaks(_: Any) -> Any:
    raise LookupError("users.db is locked")


@BOTH
async def test_in_shadow_mode_a_function_that_fails_stops_nobody(
    around: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(around(counted(shadow=True, key_func=breaks))) as http:
        answer = await http.get("/")
    assert answer.status_code == 200
    (record,) = [record for record in caplog.records if record.name == "server_kit"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_a_listener_that_fails_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Refused] = []
    app = counted(default_limit=1, listeners=[breaks, heard.append])
    async with client(app) as http:
        answers = [await http.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert len(heard) == 2
    assert caplog.text.count(f"{breaks!r} failed; this is not logged again") == 1


async def test_an_event_can_be_written_down() -> None:
    heard: list[Refused] = []
    async with client(counted(default_limit=1, listeners=[heard.append])) as http:
        for _ in range(2):
            await http.get("/")
    names = Refused.__slots__
    assert json.dumps({name: getattr(heard[0], name) for name in names})
