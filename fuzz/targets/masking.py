"""Text of others with a secret in it: before the first line's end, and after it."""

import json
from typing import Final
from urllib.parse import quote_plus

from server_kit.access_log.bodies import Kept
from server_kit.access_log.masking import Masker

WORDS: Final = (
    *(b'"', b"\\", b"'", b"{", b"}", b"[", b"]", b":", b",", b"=", b"&", b"=>", b"\n"),
    *(
        b"\\u0061",
        b"4111 1111 1111 1111",
        b"bob@example.com",
        b"https://a:b@c/",
        b"%22",
    ),
    *(b"Bearer ", b'"a": "b", ', b"a=b&", b"token", b"null", b"?", b"#", b'\\"'),
)
_MASKER: Final = Masker()
_SECRET: Final = "S3CR3T"  # noqa: S105 - to be found
_FIELDS: Final = (
    f'"password": "{_SECRET}"',
    f'"password":["a", "{_SECRET}"]',
    f'"password":{{"a": "{_SECRET}"}}',
    f"password={_SECRET}",
    json.dumps(f'"password": "{_SECRET}"'),
)
_KINDS: Final = (
    *(b"application/json", b"application/x-www-form-urlencoded", b"text/html"),
    *(b"application/problem+json; charset=utf-8", b"text/plain"),
)
_GROWTH: Final = 16  # times: what is escaped in what is escaped


def run(data: bytes) -> None:
    """Put a secret between, and look for it, whole and cut."""
    text = data.decode(errors="replace").replace(_SECRET, "")
    before, _, after = text.partition("\n")
    for field in _FIELDS:
        _hides(before + field + after)
    form = f"{before}&password={quote_plus(_SECRET + after)}"
    assert _SECRET not in _MASKER.pairs(form)
    assert _SECRET not in _MASKER.url(f"{before}?a&password={_SECRET}&{after}")
    _MASKER.words(text)
    _body(data)


def _hides(text: str) -> None:
    for mask in (_MASKER.document, _MASKER.url):
        masked = mask(text)
        assert _SECRET not in masked
        assert len(masked) <= _GROWTH * len(text)
    end = text.index(_SECRET) + len(_SECRET)
    assert _SECRET not in _MASKER.document(text[:end], is_cut=True)


def _body(data: bytes) -> None:
    for kind in _KINDS:
        kept = Kept(64)
        kept.add(data[:40])
        kept.add(data[40:])
        shown = kept.shown([(b"content-type", kind)], _MASKER)
        assert kept.size == len(data)
        assert len(shown) <= _GROWTH * 64 + 40
