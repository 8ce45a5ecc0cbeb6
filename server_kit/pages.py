"""What stands at the URI of a problem type: a page for people (RFC 9457, 3.1.1).

HTML without scripts and without anything to load; its one style sheet is allowed by
its hash, so that no page of the app's inherits anything.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import escape
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from resilient_http.problems import AppException, Contract
from server_kit.asgi import RawHeaders
from server_kit.openapi.raises import statuses_of
from server_kit.openapi.schemas import meaning_of, schema_of

_STYLE: Final = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .8rem .3rem 0; text-align: left;
  vertical-align: top; }
code { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; } a { color: #8bf; }
}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final[RawHeaders] = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"max-age=300"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'sha256-%b'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'" % _HASH.encode(),
    ),
]

_ADVICE: Final = {
    "never": "Do not send the request again: the answer will be the same.",
    "same_key": "Send the same request again, with the same <code>Idempotency-Key"
    "</code>. Wait as long as <code>Retry-After</code> says, if it is there.",
    "after_delay": "Wait as long as <code>Retry-After</code> says, then send the "
    "request again.",
}
_OF_STATUS: Final = {
    "4": "Change the request, or what it is about, before it is sent again.",
    "5": "It is not the request that is at fault. Send it again later, if sending it "
    "twice does no harm.",
}
_NOT_STARTED: Final = " Nothing was done yet, so that any request may be sent again."


@lru_cache(maxsize=64)
def pages_of(contract: Contract) -> Mapping[str, bytes]:
    """Return the pages of a contract by their path, as requests name it.

    One for each type that is an http(s) URI of its own, and an index at `type_base`,
    which has the built-in types too.
    """
    pages = {}
    for problem, uri in contract.types.items():
        parts = urlsplit(uri)
        if _is_web(uri) and not (parts.query or parts.fragment):
            pages[unquote(parts.path)] = _page(problem.title, _about(problem, uri))
    base = contract.type_base
    if base is not None and _is_web(base):
        path = unquote(urlsplit(base).path) or "/"
        index = _page("Problems", _index(contract))
        pages |= {path: index, path.rstrip("/") or "/": index}
    return pages


def _is_web(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def _page(title: str, body: Iterator[str]) -> bytes:
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}"
    sized = "</title><meta name=viewport content='width=device-width'>"
    text = "\n".join([head + sized + f"<style>{_STYLE}</style>", *body])
    return text.encode("utf-8", "replace")


def _about(problem: type[AppException], uri: str) -> Iterator[str]:
    yield f"<h1>{escape(problem.title)}</h1>"
    yield from _paragraphs(meaning_of(problem))
    yield f"<h2>What to do</h2><p>{advice(problem)}</p>"
    yield "<h2>How it is answered</h2><table>"
    yield _row("Type", f"<code>{escape(uri)}</code>")
    yield _row("Status", " or ".join(map(str, statuses_of(problem))))
    yield "</table>"
    yield from _members(problem, uri)


def _members(problem: type[AppException], uri: str) -> Iterator[str]:
    schema, _ = schema_of(problem, uri)
    yield "<h2>Members</h2><table>"
    for name, member in schema["properties"].items():
        kind = escape(kind_of(member))
        said = escape(str(member.get("description", "")))
        yield _row(f"<code>{escape(name)}</code>", kind, said)
    yield "</table>"


def _index(contract: Contract) -> Iterator[str]:
    yield "<h1>Problems</h1>"
    yield "<p>What this service may answer in place of what was asked for "
    yield "(<a href='https://www.rfc-editor.org/rfc/rfc9457'>RFC 9457</a>).</p>"
    yield "<table><tr><th>Status<th>Problem<th>What it means</tr>"
    types = contract.types
    # Its own before the built-in ones, which have no page.
    for problem in sorted(types, key=lambda found: not _is_web(types[found])):
        uri = types[problem]
        title = escape(problem.title)
        if _is_web(uri):
            title = f"<a href='{escape(_reference(uri))}'>{title}</a>"
        named = f"{title}<br><code>{escape(uri)}</code>"
        said = "".join(_paragraphs(meaning_of(problem).partition("\n\n")[0]))
        status = " or ".join(map(str, statuses_of(problem)))
        yield f"<tr id='{escape(problem.type)}'><td>{status}<td>{named}<td>{said}</tr>"
    yield "</table>"


def _reference(uri: str) -> str:
    """Return `uri` without its host: the page may be looked at by another name."""
    parts = urlsplit(uri)
    return parts._replace(scheme="", netloc="").geturl()


def advice(problem: type[AppException]) -> str:
    """Return what whoever met the problem can do about it, as HTML."""
    retry = problem.retry
    said = _OF_STATUS.get(str(problem.status)[0], _OF_STATUS["5"])
    if retry is not None:
        said = _ADVICE[retry]
    return said + (_NOT_STARTED if problem.work_not_started else "")


def kind_of(schema: Mapping[str, Any]) -> str:
    """Return the kind of value that a schema allows, in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(kind_of, schema["anyOf"])))
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    named = schema.get("format") or schema.get("type") or "anything"
    return " or ".join(map(str, schema["enum"])) if "enum" in schema else str(named)


def _paragraphs(text: str) -> Iterator[str]:
    yield from (f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part)


def _row(*cells: str) -> str:
    first, *others = cells
    return f"<tr><th>{first}" + "".join(f"<td>{cell}" for cell in others) + "</tr>"
