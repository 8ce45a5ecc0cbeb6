"""Sentences of RFC 9457 that no other test speaks of, over a whole round trip."""

import json
from typing import Any

import httpx
import pytest

import server_kit
from resilient_http import AsyncClient
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    Contract,
    RateLimitException,
    for_status,
)
from server_kit.asgi import Receive, Scope, Send
from tests.server.apps import APPS, SHOP, OutOfStock, ask


def raising(error: Exception, contract: Contract = SHOP) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return server_kit.wrap(app, contract=contract)


def problem(uri: str) -> type[AppException]:
    members = {"type": uri, "title": "Odd", "status": 409, "__module__": __name__}
    return type("Odd", (AppException,), members)


@pytest.mark.case("9457-10")
def test_a_relative_path_is_no_type() -> None:
    with pytest.raises(ValueError, match=r"Odd.type must be a slug.*got 'shop/odd'"):
        Contract(problem("shop/odd"))
    for uri in ("/shop/odd", "odd", "https://shop.example/odd"):
        assert uri in Contract(problem(uri)).types.values()
    based = Contract(problem("shop/odd"), type_base="https://shop.example/")
    assert "https://shop.example/shop/odd" in based.types.values()


@pytest.mark.case("9457-11")
@pytest.mark.parametrize("uri", ["tag:shop.example,2026:odd", "urn:shop:odd"])
async def test_a_type_need_not_be_on_the_web(uri: str) -> None:
    odd = problem(uri)
    contract = Contract(odd, type_base="https://shop.example/")
    answer = await ask(raising(odd("said"), contract), "/")
    assert answer.json()["type"] == uri
    caught = contract.parse(409, answer.headers, answer.content, "http://shop/")
    assert type(caught) is odd


@pytest.mark.case("9457-12")
@pytest.mark.parametrize(
    ("status", "title"),
    [
        (405, "Method Not Allowed"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (799, "HTTP 799"),
    ],
)
async def test_what_has_no_type_has_the_registered_title(
    status: int, title: str
) -> None:
    answer = await ask(raising(for_status(status, "said")), "/")
    assert (answer.json()["type"], answer.json()["title"]) == ("about:blank", title)


@pytest.mark.case("9457-13")
async def test_the_title_is_the_same_each_time() -> None:
    errors = [OutOfStock("Only 2 left", sku="A1"), OutOfStock(sku="B2", available=3)]
    titles = {(await ask(raising(error), "/")).json()["title"] for error in errors}
    assert titles == {"Out of stock"}


@pytest.mark.case("9457-14")
async def test_nothing_typed_is_told_by_the_detail() -> None:
    error = OutOfStock("Only 2 left of A1", sku="A1", available=2)
    answer = await ask(raising(error), "/")
    bare = {k: v for k, v in answer.json().items() if k != "detail"}
    body = json.dumps(bare).encode()
    caught = SHOP.parse(409, answer.headers, body, "http://shop/")
    assert isinstance(caught, OutOfStock)
    assert (caught.sku, caught.available, caught.detail) == ("A1", 2, None)


@pytest.mark.case("9457-15")
async def test_a_client_does_not_follow_the_type() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        body = {"type": "https://shop.example/problems/new", "title": "New"}
        kind = {"content-type": MEDIA_TYPE}
        return httpx.Response(409, json=body, headers=kind)

    transport = httpx.MockTransport(answer)
    async with AsyncClient(transport=transport, contract=SHOP) as client:
        with pytest.raises(AppException, match="New"):
            (await client.get("http://shop/")).raise_for_status()
    assert asked == ["http://shop/"]


@pytest.mark.case("9457-25")
@pytest.mark.parametrize("name", APPS)
async def test_no_language_changes_what_a_problem_says(name: str) -> None:
    app = server_kit.wrap(APPS[name](), contract=SHOP)
    german = await ask(app, "/problem", headers={"Accept-Language": "de"})
    plain = await ask(app, "/problem")
    said, usual = german.json(), plain.json()
    assert said.pop("request_id") != usual.pop("request_id")
    assert said == usual
    assert "content-language" not in german.headers  # nobody chose one


@pytest.mark.case("9457-30")
async def test_who_asks_for_xml_is_told_in_json_what_it_is() -> None:
    app = server_kit.wrap(APPS["starlette"](), contract=SHOP)
    accept = {"Accept": "application/problem+xml"}
    answer = await ask(app, "/problem", headers=accept)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["title"] == "Out of stock"


@pytest.mark.case("9457-24")
@pytest.mark.parametrize("accept", ["application/json", "text/html", "image/png;q=0"])
@pytest.mark.parametrize("name", APPS)
async def test_a_problem_is_answered_whatever_is_accepted(
    name: str, accept: str
) -> None:
    app = server_kit.wrap(APPS[name](), contract=SHOP)
    answer = await ask(app, "/problem", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (409, MEDIA_TYPE)


@pytest.mark.case("9457-31", "RA-2")
async def test_a_wait_is_told_twice_and_read_once() -> None:
    answer = await ask(raising(RateLimitException(retry_after=1.2)), "/")
    assert (answer.headers["retry-after"], answer.json()["retry_after"]) == ("2", 2)
    caught = SHOP.parse(429, answer.headers, answer.content, "http://shop/")
    assert caught.retry_after == 2.0
