"""What a real Chromium makes of our policies."""

from collections.abc import Iterator

import litestar
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import RedocRenderPlugin, ScalarRenderPlugin
from starlette.applications import Starlette
from starlette.routing import Mount

import server_kit
from server_kit import SecurityHeaders, csp_nonce
from tests.served import served
from tests.server.apps import SHOP, AnyApp
from tests.server.browser import HOST, LOOPBACK, Browser

FOREIGN = '<script src="https://cdn.jsdelivr.net/npm/swagger-ui-bundle.js"></script>'


def shop() -> FastAPI:
    app = FastAPI(title="Shop")

    @app.get("/orders/{sku}")
    async def order(sku: str) -> dict[str, int]:
        return {sku: 1}

    @app.get("/foreign")
    async def foreign() -> HTMLResponse:
        return HTMLResponse(f"<h1>Page</h1>{FOREIGN}")

    @app.get("/docs/foreign")
    async def below_docs() -> HTMLResponse:
        return HTMLResponse(f"<h1>Page</h1>{FOREIGN}")

    @app.get("/marked")
    async def marked() -> HTMLResponse:
        nonce = csp_nonce()
        return HTMLResponse(
            "<h1>Page</h1>"
            f"<script nonce='{nonce}'>window.said = ['marked']</script>"
            "<script>window.said.push('injected')</script>"
            f"<style nonce='{nonce}'>h1 {{ color: rgb(1, 2, 3) }}</style>"
        )

    return app


def paper() -> litestar.Litestar:
    @litestar.get("/orders")
    async def orders() -> str:
        return ""

    plugins = [ScalarRenderPlugin(), RedocRenderPlugin()]
    config = OpenAPIConfig(title="Paper", version="1", render_plugins=plugins)
    return litestar.Litestar([orders], openapi_config=config, logging_config=None)


def mall() -> AnyApp:
    there: AnyApp = paper()
    return Starlette(routes=[Mount("/shop", shop()), Mount("", there)])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the mall is, under the default profile."""
    with served(server_kit.wrap(mall())) as url:
        yield url.replace(LOOPBACK, HOST)


@pytest.fixture(scope="module")
def strict_url() -> Iterator[str]:
    """Where it is under OWASP's, at an address where all of it counts."""
    with served(server_kit.wrap(mall(), security=SecurityHeaders.owasp())) as url:
        assert LOOPBACK in url
        yield url


DOCS = pytest.mark.parametrize(
    ("path", "seek", "host"),
    [
        ("/shop/docs", ".opblock-summary", "cdn.jsdelivr.net"),
        ("/shop/redoc", "h1:has-text('Shop')", "cdn.jsdelivr.net"),
        ("/schema/redoc", "h1:has-text('Paper')", "cdn.redoc.ly"),
        ("/schema/scalar", "main:has-text('Paper')", "cdn.jsdelivr.net"),
    ],
)


@pytest.mark.case("OW-19")
@DOCS
def test_documentation_renders_and_its_policy_forbids_it_nothing(
    url: str, browser: Browser, path: str, seek: str, host: str
) -> None:
    visit = browser.visit(f"{url}{path}", seek=seek)
    assert visit.violations == []
    assert host in visit.elsewhere


@pytest.mark.case("OW-19")
@DOCS
def test_it_renders_under_the_strictest_profile(
    strict_url: str, browser: Browser, path: str, seek: str, host: str
) -> None:
    visit = browser.visit(f"{strict_url}{path}", seek=seek)
    assert visit.violations == []
    assert host in visit.elsewhere


@pytest.mark.case("OW-19")
def test_a_login_elsewhere_comes_back_to_swagger(
    strict_url: str, browser: Browser
) -> None:
    back = f"{strict_url}/shop/docs/oauth2-redirect?code=c1&state=s1"
    script = """new Promise(done => {
        window.swaggerUIRedirectOauth2 = {
            state: "s1", auth: {schema: {get: () => "authorizationCode"}},
            callback: came => done(came.auth.code), errCb: done,
        };
        window.open("https://login.example/");
    })"""
    login = {"https://login.example/": f"<script>location = '{back}'</script>"}
    visit = browser.visit(f"{strict_url}/shop/docs", script=script, others=login)
    assert visit.found == "c1"


@pytest.mark.case("OW-19")
@pytest.mark.parametrize("path", ["/shop/foreign", "/shop/docs/foreign"])
def test_other_pages_may_load_nothing_from_elsewhere(
    url: str, browser: Browser, path: str
) -> None:
    visit = browser.visit(f"{url}{path}", seek="h1")
    (said,) = visit.violations
    assert "https://cdn.jsdelivr.net/npm/swagger-ui-bundle.js" in said
    assert visit.elsewhere == set()


@pytest.mark.case("OW-20")
def test_a_script_without_the_nonce_does_not_run(url: str, browser: Browser) -> None:
    script = "[window.said, getComputedStyle(document.querySelector('h1')).color]"
    visit = browser.visit(f"{url}/shop/marked", seek="h1", script=script)
    assert visit.found == [["marked"], "rgb(1, 2, 3)"]
    (said,) = visit.violations
    assert "inline script" in said


@pytest.mark.case("9457-16")
@pytest.mark.parametrize("security", [SecurityHeaders(), SecurityHeaders.owasp()])
def test_the_page_of_a_problem_type_renders_with_its_own_style(
    security: SecurityHeaders, browser: Browser
) -> None:
    script = "getComputedStyle(document.body).maxWidth"
    app = server_kit.wrap(shop(), contract=SHOP, security=security)
    with served(app) as loopback:
        at = f"{loopback}/problems/out-of-stock"
        seek = "h1:has-text('Out of stock')"
        visit = browser.visit(at, seek=seek, script=script)
    assert visit.violations == []
    assert visit.elsewhere == set()
    assert visit.found != "none"
