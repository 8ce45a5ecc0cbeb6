"""A real Chromium, which says what the policies of our pages forbid.

It has no internet: what pages load from elsewhere is answered from the files of
fastapi-offline, which are those of the CDNs, or with a stand-in.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import fastapi_offline
from anyio.from_thread import BlockingPortal, start_blocking_portal
from playwright import async_api
from playwright.async_api import async_playwright

CHROMIUM: Final = shutil.which("chromium")
HOST: Final = "shop.example"
"""Leads to this machine, as a host that Chromium trusts no more than others."""

LOOPBACK: Final = "127.0.0.1"
"""Trusted as if by TLS: Cross-Origin-Opener-Policy and -Embedder-Policy count here."""

_FILES: Final = Path(fastapi_offline.__file__).parent / "static"
_PACKAGED: Final = {path.name: path for path in _FILES.iterdir()}
_STAND_INS: Final = {
    # Any script of Scalar's does; the style, image and font it loads are the point.
    "@scalar/api-reference": (
        "text/javascript",
        """
        document.body.insertAdjacentHTML("beforeend", "<main>Scalar</main>");
        const style = document.createElement("style");
        style.textContent = `@font-face {
            font-family: Inter; src: url(https://fonts.scalar.com/inter-latin.woff2)
        } main { font-family: Inter }`;
        document.head.append(style);
        const api = document.getElementById("api-reference").dataset.url;
        fetch(api).then(answer => answer.json()).then(said => {
            document.querySelector("main").textContent = said.info.title;
        });
        """,
    ),
    "css": (
        "text/css",
        """
        @font-face { font-family: Roboto; src: url("https://fonts.gstatic.com/r") }
        @font-face { font-family: Montserrat; src: url("https://fonts.gstatic.com/m") }
        """,
    ),
}
_PATIENCE: Final = 20
"""How many seconds a page may take to do any one thing."""

_COMPLAINT: Final = "Content Security Policy"


@dataclass
class Visit:
    """What became of one page."""

    violations: list[str] = field(default_factory=list)
    """What its policy has forbidden, in Chromium's words."""

    elsewhere: set[str] = field(default_factory=set)
    """Hosts that it loaded something from, other than its own."""

    found: Any = None
    """What the script that was run at the end has returned."""


class Browser:
    """Chromium, for tests that are not async. Pages share nothing."""

    def __init__(self, portal: BlockingPortal, chromium: async_api.Browser) -> None:
        self._portal = portal
        self._chromium = chromium

    def visit(
        self,
        url: str,
        *,
        seek: str = "body",
        script: str = "0",
        others: Mapping[str, str] | None = None,
    ) -> Visit:
        """Open `url`, wait until the selector `seek` is seen, and run `script`.

        `others` are pages of other sites, by their URLs up to the question mark.
        """
        return self._portal.call(self._visit, url, seek, script, others or {})

    def violations(self, url: str, *, seek: str = "body") -> list[str]:
        """Return what the policy of the page at `url` has forbidden it."""
        return self.visit(url, seek=seek).violations

    async def _visit(
        self, url: str, seek: str, script: str, others: Mapping[str, str]
    ) -> Visit:
        visit = Visit()
        context = await self._chromium.new_context()
        page = await context.new_page()
        page.set_default_timeout(_PATIENCE * 1000)

        def hear(message: async_api.ConsoleMessage) -> None:
            if _COMPLAINT in message.text:
                visit.violations.append(message.text)

        async def answer(route: async_api.Route) -> None:
            await _answer(route, visit, others)

        page.on("console", hear)
        await context.route("**/*", answer)
        await page.goto(url)
        await page.locator(seek).first.wait_for()
        await page.wait_for_load_state("networkidle")
        with anyio.fail_after(_PATIENCE):
            visit.found = await page.evaluate(script)
        await context.close()
        return visit


async def _answer(
    route: async_api.Route, visit: Visit, others: Mapping[str, str]
) -> None:
    url = route.request.url
    host = re.sub(r"^\w+://|[:/].*", "", url)
    if host in (HOST, LOOPBACK) or url.startswith(("data:", "blob:")):
        await route.continue_()
        return
    visit.elsewhere.add(host)
    path = url.partition("?")[0].removesuffix("@latest")
    if path in others:
        await route.fulfill(body=others[path], content_type="text/html")
        return
    packaged = _PACKAGED.get(path.rpartition("/")[2])
    shown = {"access-control-allow-origin": "*"}  # as the CDNs send it
    if packaged is not None:
        await route.fulfill(path=packaged, headers=shown)
        return
    for end, (kind, body) in _STAND_INS.items():
        if path.endswith(end):
            await route.fulfill(body=body, content_type=kind, headers=shown)
            return
    await route.fulfill(status=404, headers=shown)


@contextmanager
def opened() -> Iterator[Browser]:
    """Start a Chromium; it takes a second."""
    # In a thread with a loop of its own: playwright's sync API would leave its loop
    # running in this one, where others are to run.
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(async_playwright()) as playwright,
    ):
        chromium = portal.call(_launch, playwright)
        yield Browser(portal, chromium)
        portal.call(chromium.close)


async def _launch(playwright: async_api.Playwright) -> async_api.Browser:
    arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {HOST} {LOOPBACK}"]
    return await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
