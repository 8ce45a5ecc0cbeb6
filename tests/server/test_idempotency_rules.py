"""What is a key, which requests are alike, what is kept, and what can be said."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.problems import (
    AppException,
    ConflictException,
    OverloadedException,
    RateLimitException,
    UpstreamException,
)
from server_kit import Idempotency
from server_kit.idempotency.rules import (
    Kept,
    MalformedKeyError,
    digest,
    is_refusal,
    kept_headers,
    key_in,
    unpack,
)

UNRECORDED = Idempotency().unrecorded

headers = st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=4)


def key(*fields: bytes, longest: int = 255, lenient: bool = False) -> str:
    return key_in(fields, longest=longest, lenient=lenient)


@pytest.mark.case("IK-1")
def test_a_key_is_a_string_of_structured_fields() -> None:
    assert key(b'"8e03978e-40d5-43dd-bc93-6894a57f9324"').startswith("8e03978e")
    assert key(b' "a b,c" ') == "a b,c"
    assert key(rb'"a\"b\\c"') == r'a"b\c'


@pytest.mark.case("IK-2")
def test_parameters_of_a_key_are_ignored() -> None:
    assert key(b'"abc";v=2;x=?1;y="z"') == "abc"


@pytest.mark.case("IK-1", "IK-9", "R35")
@pytest.mark.parametrize(
    "field",
    [
        *(b"", b'""', b"abc", b"5", b":YWJj:", b"?1", b"@5", b'%"a"', b'("a")'),
        *(b'"abc', b"abc\"'", b'"a" "b"', b'"a", "b"', b'"a\x00b"', b"\x00"),
        *(b'"\xc3\xa9"', b'"a\nb"', b'"%s"' % (b"k" * 256), b'"%s"' % (b"k" * 2**20)),
    ],
)
def test_what_is_no_key_is_refused(field: bytes) -> None:
    with pytest.raises(MalformedKeyError):
        key(field)


@pytest.mark.case("R35")
def test_two_fields_are_no_key_even_if_they_agree() -> None:
    with pytest.raises(MalformedKeyError, match="more than one"):
        key(b'"a"', b'"a"')


@pytest.mark.case("IK-9")
def test_a_key_may_be_as_long_as_was_said() -> None:
    assert key(b'"12345"', longest=5) == "12345"
    assert key(rb'"\"\"\"\"\""', longest=5) == '"' * 5
    with pytest.raises(MalformedKeyError, match="1 to 5 characters"):
        key(b'"123456"', longest=5)


@pytest.mark.case("IK-1")
def test_a_word_without_quotes_is_a_key_only_if_asked_for() -> None:
    with pytest.raises(MalformedKeyError, match="double quotes"):
        key(b"8e03978e-40d5")
    assert key(b"8e03978e-40d5", lenient=True) == "8e03978e-40d5"
    assert key(b'"8e03978e-40d5"', lenient=True) == "8e03978e-40d5"
    for field in (b"a b", b"a,b", b'a"b', b"", b"\xe9", b"a\x00"):
        with pytest.raises(MalformedKeyError):
            key(field, lenient=True)


def test_the_reason_repeats_nothing_of_the_key() -> None:
    with pytest.raises(MalformedKeyError) as error:
        key(b"hunter2")
    assert "hunter2" not in str(error.value)


@given(st.lists(st.binary(max_size=3)), st.lists(st.binary(max_size=3)))
def test_different_parts_have_different_digests(
    left: list[bytes], right: list[bytes]
) -> None:
    assert (digest(*left) == digest(*right)) is (left == right)


@given(st.integers(200, 599), headers, st.binary(max_size=99))
def test_an_answer_comes_back_as_it_was_packed(
    status: int, pairs: list[tuple[bytes, bytes]], body: bytes
) -> None:
    kept = Kept(status, pairs, body)
    assert unpack(kept.pack()) == kept


@pytest.mark.case("IK-14")
def test_what_belongs_to_one_exchange_is_not_kept() -> None:
    kept = [(b"Location", b"/orders/1"), (b"etag", b'"1"'), (b"content-type", b"a/b")]
    gone = [
        *((b"Set-Cookie", b"session=1"), (b"date", b"today"), (b"X-Request-ID", b"r")),
        *((b"Connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"keep-alive", b"5")),
        *((b"te", b""), (b"trailer", b"x"), (b"transfer-encoding", b"chunked")),
        *((b"upgrade", b"h2c"), (b"proxy-connection", b"close")),
        (b"proxy-authenticate", b"Basic"),
    ]
    assert kept_headers([*gone, *kept]) == kept


@pytest.mark.case("IK-15")
@pytest.mark.parametrize(
    ("status", "problem", "refused"),
    [
        (201, None, False),
        (401, None, True),
        (429, None, True),
        (503, None, True),
        (500, None, False),
        (409, ConflictException, False),
        (429, RateLimitException, True),
        (503, OverloadedException, True),
        (503, UpstreamException, False),
    ],
)
def test_a_refusal_is_what_says_that_nothing_was_done(
    status: int, problem: type[AppException] | None, refused: bool
) -> None:
    assert is_refusal(status, UNRECORDED, problem) is refused


@pytest.mark.parametrize(
    ("path", "needs"),
    [
        ("/orders", True),
        ("/orders/", False),
        ("/orders/7/items", True),
        ("/orders/7/8/items", False),
        ("/orders//items", False),
        ("/a.b", True),
        ("/axb", False),
        ("/", False),
    ],
)
def test_a_name_in_a_path_stands_for_one_segment(path: str, needs: bool) -> None:
    paths = ["/orders", "/orders/{order_id}/items", "/a.b"]
    assert Idempotency(required=paths).requires(path) is needs


def test_all_paths_can_need_a_key_or_none() -> None:
    assert Idempotency(required=True).requires("/any\nthing")
    assert not Idempotency().requires("/")
    assert not Idempotency(required=[]).requires("")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("store", "http://localhost"), ("methods", frozenset({"post"}))),
        *(("required", ["orders"]), ("scope", "tenant"), ("on_failure", "retry")),
        *(("max_key_length", 0), ("keep_for", 0), ("keep_for", float("inf"))),
        *(("lease", -1), ("wait", -0.1), ("wait", float("nan")), ("timeout", 0)),
        *(("unrecorded", frozenset({99})), ("unrecorded", frozenset({True}))),
        *(("max_request_bytes", -1), ("max_response_bytes", -1), ("max_entries", 0)),
        *(("max_bytes", 5), ("prefix", ""), ("prefix", "a{b}"), ("prefix", "a b")),
        *(("docs_url", "/docs"), ("docs_url", "https://a/<b>")),
    ],
)
def test_a_value_out_of_range_is_named_and_shown(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"Idempotency.{name} must be") as error:
        Idempotency(**{name: value})
    assert name == "store" or repr(value) in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("store", 5), ("methods", {"POST"}), ("methods", "POST")),
        *(("required", "/orders"), ("required", 1), ("caller", "user")),
        *(("lenient", 1), ("max_key_length", 2.0), ("keep_for", "1d"), ("wait", True)),
        *(("unrecorded", {503}), ("max_entries", None), ("prefix", b"a")),
        ("docs_url", 5),
    ],
)
def test_a_value_of_the_wrong_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"Idempotency.{name} must be"):
        Idempotency(**{name: value})


def test_an_error_about_the_store_shows_no_password() -> None:
    with pytest.raises(ValueError, match="store must be") as error:
        Idempotency(store="http://:hunter2@localhost")
    assert "hunter2" not in str(error.value)


@pytest.mark.case("IK-8")
def test_the_page_for_users_tells_every_default() -> None:
    page = (Path(__file__).parents[2] / "docs/server/idempotency.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    known = {it.name: it.default for it in fields(Idempotency) if it.init}
    assert told.keys() == known.keys()
    for name, value in known.items():
        if isinstance(value, frozenset):
            assert {f"{part}" for part in value} == set(re.findall(r"\w+", told[name]))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert float(told[name].removesuffix(" s")) == value
        else:
            assert told[name].strip("`").replace('"', "'") == repr(value)
