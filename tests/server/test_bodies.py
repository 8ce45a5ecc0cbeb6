"""What is kept and shown of a body."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_kit.access_log.bodies import Kept
from server_kit.access_log.masking import Masker

MASKER = Masker()


def shown(body: bytes, kind: str | None, most: int = 1_000, **headers: str) -> str:
    kept = Kept(most)
    kept.add(body)
    fields = {"content-type": kind} if kind is not None else {}
    named = {**fields, **headers}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return kept.shown([(n.replace(b"_", b"-"), v) for n, v in raw], MASKER)


@pytest.mark.case("S50")
@given(parts=st.lists(st.binary(max_size=20)), most=st.integers(0, 30))
def test_no_more_is_held_than_was_asked_for(parts: list[bytes], most: int) -> None:
    kept = Kept(most)
    for part in parts:
        kept.add(part)
    whole = b"".join(parts)
    assert kept._kept == whole[:most]  # noqa: SLF001 - what is held is the claim
    assert kept.size == len(whole)


@pytest.mark.case("S50")
@pytest.mark.parametrize(
    "kind",
    [
        *("image/png", "multipart/form-data; boundary=x", "application/octet-stream"),
        *("application/pdf", "text/html", "application/xml", None, "", "json"),
    ],
)
def test_what_cannot_be_masked_is_not_shown(kind: str | None) -> None:
    assert shown(b"password=x", kind) == "<binary 10 bytes>"


@pytest.mark.case("S50")
@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP, identity", "unknown"])
def test_what_is_compressed_is_not_shown(encoding: str) -> None:
    body = gzip.compress(b'{"a": 1}')
    masked = shown(body, "application/json", content_encoding=encoding)
    assert masked == f"<binary {len(body)} bytes>"
    plain = shown(b"{}", "application/json", content_encoding="identity")
    assert plain == "{}"


@pytest.mark.case("S50")
@pytest.mark.parametrize(
    ("kind", "body", "masked"),
    [
        ("application/json", '{"pin": 1, "a": 2}', '{"pin": "***", "a": 2}'),
        ("Application/JSON ; charset=utf-8", '{"pin": 1}', '{"pin": "***"}'),
        ("application/problem+json", '{"detail": "x"}', '{"detail": "x"}'),
        ("application/x-www-form-urlencoded", "a=1&pin=2", "a=1&pin=***"),
        ("text/plain", "mail bob@x.com", "mail ***"),
        ("text/event-stream", 'data: {"pin": 1}\n\n', 'data: {"pin": "***"}\n\n'),
        ("application/json", "\u00e9", "\u00e9"),
    ],
)
def test_what_can_be_read_is_shown_masked(kind: str, body: str, masked: str) -> None:
    assert shown(body.encode(), kind) == masked


def test_how_much_is_missing_is_told() -> None:
    body = b'{"n": "abcdef"}'
    assert shown(body, "application/json", 10) == '{"n": "abc<5 more bytes>'
    form = "application/x-www-form-urlencoded"
    assert shown(b"n=4111111111111111", form, 14) == "n=***<4 more bytes>"
    assert shown(b"n=4111111111", "text/plain", 11) == "n=***<1 more bytes>"


def test_a_character_that_was_cut_is_no_error() -> None:
    assert shown("\u00e9".encode(), "text/plain", 1) == "\ufffd<1 more bytes>"
    assert shown(b"\xff\xfe", "text/plain") == "\ufffd\ufffd"


def test_no_body_is_nothing() -> None:
    assert shown(b"", "application/json") == ""
    assert shown(b"", "image/png") == ""
