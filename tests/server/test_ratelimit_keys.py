"""Whose quota a request counts against."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.authentication import SimpleUser, UnauthenticatedUser
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from server_kit.asgi import Scope
from server_kit.ratelimit.keys import (
    api_key_key,
    client_key,
    endpoint_key,
    route_key,
    user_key,
)


def client(app: Any) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app), base_url="http://shop")


def request_of(*headers: tuple[bytes, bytes], **scope: Any) -> Request:
    peer = ("192.0.2.1", 1)
    fixed = {"type": "http", "method": "GET", "path": "/x", "headers": list(headers)}
    return Request({**fixed, "client": peer, **scope})


def of_client(address: str) -> str:
    return client_key({"client": (address, 1)})


def test_clients_are_told_apart_by_address() -> None:
    assert of_client("192.0.2.1") != of_client("192.0.2.2")


def test_an_ipv6_client_has_all_of_its_64_bits() -> None:
    assert of_client("2001:db8::1") == of_client("2001:db8::ffff:2")
    assert of_client("2001:db8::1") == of_client("2001:db8:0:0:ffff::1")
    assert of_client("2001:db8::1") != of_client("2001:db8:0:1::1")
    assert of_client("fe80::1%eth0") == of_client("fe80::2")


def test_an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() -> None:
    assert of_client("::ffff:192.0.2.1") == of_client("192.0.2.1")


def test_clients_of_a_unix_socket_share_a_key() -> None:
    assert client_key({"client": None}) == client_key({}) == "client:local"


def test_what_is_no_address_is_a_key_as_it_stands() -> None:
    assert of_client("testclient") == "client:testclient"


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded", b"x-real-ip"])
def test_nobody_can_claim_another_address(name: bytes) -> None:
    request = request_of((name, b"198.51.100.7"))
    assert client_key(request.scope) == of_client("192.0.2.1")


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ({"state": {"user": SimpleNamespace(id=7)}}, "user:7"),
        ({"state": {"user": SimpleNamespace(id=0)}}, "user:0"),
        ({"state": {"user": SimpleNamespace(id=7, display_name="ann")}}, "user:7"),
        ({"state": {"user": {"id": 0}}}, "user:0"),
        ({"state": {"user": "ann"}}, "user:ann"),
        ({"user": SimpleUser("ann")}, "user:ann"),
        ({"state": {"user": "ann"}, "user": SimpleUser("bob")}, "user:ann"),
        ({"state": {"user": object()}, "user": SimpleUser("bob")}, "user:bob"),
        ({"user": UnauthenticatedUser()}, "client:192.0.2.1"),
        ({"state": {"user": object()}}, "client:192.0.2.1"),
        ({}, "client:192.0.2.1"),
    ],
)
def test_a_user_is_looked_for_in_order(scope: dict[str, Any], key: str) -> None:
    assert user_key(request_of(**scope)) == key


@pytest.mark.case("S21")
def test_an_api_key_does_not_stand_in_its_key() -> None:
    one = api_key_key(request_of((b"x-api-key", b"sk-secret")))
    two = api_key_key(request_of((b"x-api-key", b"sk-secret-2")))
    assert one != two
    assert "secret" not in one + two


@pytest.mark.parametrize("headers", [[], [(b"x-api-key", b"")]])
def test_without_an_api_key_the_client_counts(
    headers: list[tuple[bytes, bytes]],
) -> None:
    assert api_key_key(request_of(*headers)) == "client:192.0.2.1"


def test_an_api_key_may_be_any_bytes() -> None:
    assert api_key_key(request_of((b"x-api-key", b"\xff"))).startswith("api-key:")


def show(request: Request) -> str:
    return endpoint_key(request.scope)


Endpoint = Depends(show)


def nested_app() -> FastAPI:
    app, sub = FastAPI(), FastAPI()
    v1, outer, holder = APIRouter(), APIRouter(), APIRouter()

    @v1.get("/items/{item}")
    @sub.get("/items/{item}")
    @app.get("/items/{item}")
    async def read(item: str, key: str = Endpoint) -> str:
        return key

    @sub.get("/other/{item}")
    async def other(item: str, key: str = Endpoint) -> str:
        return key

    @app.post("/items/{item}")
    async def write(item: str, key: str = Endpoint) -> str:
        return key

    outer.include_router(v1, prefix="/in/{tenant}")
    app.include_router(v1, prefix="/v1")
    app.include_router(v1, prefix="/v2")
    app.include_router(outer, prefix="/out")
    app.mount("/sub", sub)
    holder.mount("/held", sub)
    app.include_router(holder, prefix="/by")
    return app


@pytest.mark.case("S22")
async def test_an_endpoint_is_its_route_with_all_prefixes() -> None:
    async with client(nested_app()) as http:

        async def key(path: str, method: str = "GET") -> str:
            return str((await http.request(method, path)).json())

        prefixes = ["", "/v1", "/v2", "/out/in/a", "/sub", "/by/held"]
        keys = [await key(f"{prefix}/items/1") for prefix in prefixes]
        assert len(set(keys)) == len(prefixes)
        assert [await key(f"{prefix}/items/2") for prefix in prefixes] == keys
        assert await key("/out/in/b/items/1") == keys[3]
        assert await key("/items/1", "POST") != keys[0]
        assert await key("/by/held/other/1") == await key("/by/held/other/2")
        assert await key("/by/held/other/1") != keys[-1]


async def test_an_endpoint_of_starlette_is_its_route_too() -> None:
    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(show(request))

    routes = [Route("/items/{item}", read)]
    async with client(Starlette(routes=[*routes, Mount("/sub", routes=routes)])) as c:
        keys = [(await c.get(f"{at}/items/1")).text for at in ("", "/sub")]
        more = [(await c.get(f"{at}/items/2")).text for at in ("", "/sub")]
    assert keys == more
    assert len(set(keys)) == 2


@pytest.mark.case("S22")
async def test_an_app_mounted_under_a_parameter_is_one_app() -> None:
    app = FastAPI()
    app.mount("/t/{tenant}", nested_app())
    async with client(app) as http:
        keys = {
            (await http.get(f"/t/{tenant}{path}")).json()
            for tenant in (1, 2)
            for path in ("/v1/items/1", "/v1/items/2", "/by/held/items/3")
        }
    assert keys == {
        "GET /t/{tenant}/v1/items/{item}",
        "GET /t/{tenant}/by/held/items/{item}",
    }


def test_without_a_route_the_endpoint_is_the_path() -> None:
    where = {"root_path": "/api", "path": "/api/x"}
    scope: Scope = {"type": "http", "method": "GET", **where}
    assert endpoint_key(scope) == "GET /x"


async def nobody(*_: object) -> None:
    raise AssertionError("only looked for")


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ({"type": "http", "method": "GET", "path": "/items/7"}, "GET,POST /items/{id}"),
        ({"type": "websocket", "path": "/news"}, "websocket /news"),
        ({"type": "http", "method": "GET", "path": "/else"}, "unmatched"),
    ],
)
def test_a_route_is_found_ahead_by_its_methods_and_template(
    scope: Scope, key: str
) -> None:
    item = Route("/items/{id}", nobody, methods=["POST", "GET"])
    item.methods = {"POST", "GET"}
    app = Starlette(routes=[item, WebSocketRoute("/news", nobody)])
    assert route_key(app, {"headers": [], "root_path": "", **scope}) == key


def test_a_websocket_has_the_key_of_its_route() -> None:
    async def news(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(reason=endpoint_key(websocket.scope))

    app = Starlette(routes=[WebSocketRoute("/news/{id}", news)])
    with TestClient(app).websocket_connect("/news/7") as socket:
        assert socket.receive()["reason"] == "websocket /news/{id}"


def test_without_a_route_or_a_method_the_endpoint_is_the_kind_and_the_path() -> None:
    assert endpoint_key({"type": "websocket", "path": "/x"}) == "websocket /x"
