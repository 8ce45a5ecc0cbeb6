"""A problem's type leads to a page that says what it means and what to do."""

from html.parser import HTMLParser
from typing import Annotated, Any

import fastapi
import litestar
import pytest
from litestar.params import FromPath
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import server_kit
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    Contract,
    NotFoundException,
    OverloadedException,
    RateLimitException,
)
from server_kit import SecurityHeaders
from server_kit.asgi import Receive, Scope, Send
from server_kit.pages import advice, kind_of, pages_of
from server_kit.problems import send_problem
from tests.server.apps import APPS, AnyApp, ask, serve


class Line(BaseModel):
    sku: str


class Rejected(AppException):
    """The order was <rejected>.

    Nothing was booked.
    """

    type = "rejected"
    title = "Order & Rejected"
    status = 409
    retry = "never"
    reason: Annotated[str, Field(description="Why; <b>never</b> empty.")] = ""
    lines: list[Line] = []  # noqa: RUF012 - copied for each problem


class Foreign(AppException):
    type = "https://elsewhere.example/gone"
    title = "Gone"
    status = 410


class Tagged(AppException):
    type = "tag:shop.example,2026:odd"
    title = "Odd"
    status = 400


SHOP = Contract(
    Rejected, Foreign, Tagged, type_base="https://shop.example/about/problems/"
)
BASE = "https://a.example"
PATH = "/about/problems/rejected"
every_app = pytest.mark.parametrize("name", APPS)


class Page(HTMLParser):
    """The text of a page, and what it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.links: list[Any] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.case("9457-16")
@every_app
async def test_a_type_leads_to_a_page(name: str) -> None:
    answer = await ask(server_kit.wrap(APPS[name](), contract=SHOP), PATH)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "max-age=300"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["x-request-id"]
    assert "<h1>Order &amp; Rejected</h1>" in answer.text
    page = Page(answer.text)
    for said in (
        *("Order & Rejected", "The order was <rejected>.", "Nothing was booked."),
        *("https://shop.example/about/problems/rejected", "409"),
        *("Do not send the request again", "Why; <b>never</b> empty."),
        *("reason", "lines", "list of Line"),
    ):
        assert said in page.text


@pytest.mark.parametrize("security", [SecurityHeaders(), None])
async def test_a_page_loads_and_runs_nothing(security: Any) -> None:
    app = server_kit.wrap(APPS["raw"](), contract=SHOP, security=security)
    for path in (PATH, "/about/problems/"):
        answer = await ask(app, path)
        page = Page(answer.text)
        assert not {"script", "img", "link", "form", "b"} & {*page.tags}
        (policy,) = answer.headers.get_list("content-security-policy")
        assert policy.startswith("default-src 'none'; style-src 'sha256-")


async def test_the_index_has_all_and_links_to_those_with_a_page() -> None:
    app = server_kit.wrap(APPS["fastapi"](), contract=SHOP)
    for path in ("/about/problems/", "/about/problems"):
        page = Page((await ask(app, path)).text)
        assert page.links == ["https://www.rfc-editor.org/rfc/rfc9457", PATH, "/gone"]
        for found, uri in SHOP.types.items():
            assert found.title in page.text
            assert uri in page.text
    (_, *links) = page.links
    for link in links:
        assert (await ask(app, link)).status_code == 200


@pytest.mark.parametrize("base", ["https://a.example", "urn:shop:", None])
def test_only_what_is_on_the_web_has_a_page(base: str | None) -> None:
    at_root = Contract(Rejected, type_base=f"{base}/" if base == BASE else base)
    assert set(pages_of(at_root)) == ({"/rejected", "/"} if base == BASE else set())


@pytest.mark.parametrize("base", ["https://a.example/p#", "https://a.example/p?t="])
def test_types_that_share_a_path_share_the_index(base: str) -> None:
    pages = pages_of(Contract(Rejected, type_base=base))
    assert [*pages] == ["/p"]
    assert b"id='rejected'" in pages["/p"]


@pytest.mark.parametrize("name", ["starlette", "raw"])
async def test_a_head_of_a_page_has_no_body(name: str) -> None:
    app = server_kit.wrap(APPS[name](), contract=SHOP)
    known = [(b"x-request-id", b"r1")]
    full = await serve(app, PATH, headers=known)
    head = await serve(app, PATH, method="HEAD", headers=known)
    assert head.sent[0] == full.sent[0]
    assert head.sent[1]["body"] == b""


@every_app
async def test_a_page_is_sent_once_and_alone(name: str) -> None:
    left: Any = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await server_kit.wrap(APPS[name](), contract=SHOP)(scope, receive, send)
        left.update(scope)

    served = await serve(app, PATH)
    assert left["server_kit"].problem is None
    assert served.kinds == ["http.response.start", "http.response.body"]
    assert served.error is None


async def test_another_plain_error_at_the_same_place_is_itself() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("Forbidden", 403)(scope, receive, send)

    answer = await ask(server_kit.wrap(app, contract=SHOP), PATH)
    assert (answer.status_code, answer.json()["type"]) == (403, "forbidden")


def test_a_page_is_found_by_the_path_as_servers_read_it() -> None:
    members = {"type": "caf%C3%A9", "title": "Caf\u00e9", "status": 409}
    odd: Any = type("Odd", (AppException,), members)
    assert "/caf\u00e9" in pages_of(Contract(odd, type_base=f"{BASE}/"))


@every_app
async def test_other_methods_and_paths_are_as_ever(name: str) -> None:
    app = server_kit.wrap(APPS[name](), contract=SHOP)
    for method, path in [("POST", PATH), ("GET", f"{PATH}/more"), ("GET", "/problems")]:
        answer = await ask(app, path, method)
        assert answer.status_code in (404, 405)
        assert answer.headers["content-type"] == MEDIA_TYPE
    plain = await ask(server_kit.wrap(APPS[name]()), PATH)
    assert plain.status_code == 404


async def of_starlette(request: Request) -> PlainTextResponse:
    raise HTTPException(404)


def starlette_app() -> AnyApp:
    return Starlette(routes=[Route("/about/{path:path}", of_starlette)])


def mounted() -> AnyApp:
    return Starlette(routes=[Mount("/about", Starlette(routes=[
        Route("/problems/{slug}", of_starlette)
    ]))])  # fmt: skip


def fastapi_app() -> AnyApp:
    app = fastapi.FastAPI()
    router = fastapi.APIRouter()
    router.add_api_route("/problems/{slug}", of_starlette)
    app.include_router(router, prefix="/about")
    return app


def litestar_app() -> AnyApp:
    @litestar.get("/about/problems/{slug:str}")
    async def read(slug: FromPath[str]) -> None:
        raise litestar.exceptions.NotFoundException

    return litestar.Litestar([read], openapi_config=None, logging_config=None)


async def raw_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFoundException


class Endpoint(HTTPEndpoint):
    async def get(self, request: Request) -> None:
        raise HTTPException(404)


async def own_404(scope: Scope, receive: Receive, send: Send) -> None:
    response = PlainTextResponse("there is no such page", 404)
    await response(scope, receive, send)


async def sent_404(scope: Scope, receive: Receive, send: Send) -> None:
    await send_problem(NotFoundException("gone"), scope, send)


def handled() -> AnyApp:
    async def handler(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("ours", 404)

    return Starlette(exception_handlers={404: handler})


OWN: dict[str, Any] = {
    "starlette": starlette_app,
    "class": lambda: Starlette(routes=[Route("/about/{path:path}", Endpoint)]),
    "mounted": mounted,
    "fastapi": fastapi_app,
    "litestar": litestar_app,
    "handled": handled,
    "raised": lambda: raw_app,
    "worded": lambda: own_404,
    "sent": lambda: sent_404,
}


@pytest.mark.parametrize("name", OWN)
async def test_the_apps_own_404_is_kept(name: str) -> None:
    answer = await ask(server_kit.wrap(OWN[name](), contract=SHOP), PATH)
    assert answer.status_code == 404
    assert "html" not in answer.headers["content-type"]


async def test_the_apps_own_route_is_kept() -> None:
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ours")

    app = Starlette(routes=[Route(PATH, endpoint)])
    assert (await ask(server_kit.wrap(app, contract=SHOP), PATH)).text == "ours"


async def test_static_files_do_not_hide_the_pages(tmp_path: Any) -> None:
    app = Starlette(routes=[Mount("/", StaticFiles(directory=tmp_path))])
    assert (await ask(server_kit.wrap(app, contract=SHOP), PATH)).status_code == 200


async def test_a_page_has_the_headers_of_the_apps_middlewares() -> None:
    inner: Any = APPS["starlette"]()
    inner.add_middleware(CORSMiddleware, allow_origins=["*"])
    app = server_kit.wrap(inner, contract=SHOP)
    answer = await ask(app, PATH, headers={"Origin": "https://other.example"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers.get_list("content-type") == ["text/html; charset=utf-8"]


@pytest.mark.parametrize(
    ("path", "root"),
    [
        (PATH, ""),
        ("/problems/rejected", "/about"),
        ("/about/problems/rejected", "/about"),
        ("/api/about/problems/rejected", "/api"),
    ],
)
async def test_behind_a_root_path_the_page_is_found(path: str, root: str) -> None:
    app = server_kit.wrap(APPS["starlette"](), contract=SHOP)
    assert (await serve(app, path, root_path=root)).sent[0]["status"] == 200


async def test_a_mounted_app_has_the_pages_of_its_own_contract() -> None:
    inner = server_kit.wrap(APPS["fastapi"](), contract=SHOP)
    app = server_kit.wrap(Starlette(routes=[Mount("/about", inner)]))
    assert (await ask(app, PATH)).status_code == 200
    assert (await ask(app, "/about/problem")).status_code == 409


def test_what_to_do_follows_from_the_type() -> None:
    assert "Wait as long as" in advice(RateLimitException)
    assert "Nothing was done yet" in advice(OverloadedException)
    assert "Change the request" in advice(NotFoundException)
    assert "Nothing was done" not in advice(NotFoundException)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date"}, "date"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/A"}}, "list of A"),
        ({"type": "array"}, "list of anything"),
        ({"type": "integer", "enum": [502, 503]}, "502 or 503"),
        ({}, "anything"),
    ],
)
def test_a_schema_is_told_in_words(schema: Any, kind: str) -> None:
    assert kind_of(schema) == kind
