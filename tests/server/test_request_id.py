"""Which id a request goes by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_kit.request_id import choose


def test_the_callers_id_is_taken() -> None:
    assert choose([(b"accept", b"*/*"), (b"X-Request-Id", b"a")]) == "a"


def test_every_visible_character_may_stand_in_it() -> None:
    visible = bytes(range(0x21, 0x7F))
    assert choose([(b"x-request-id", visible)]) == visible.decode()


@pytest.mark.case("S49")
@pytest.mark.parametrize(
    "given_id",
    [
        *(b"", b" ", b"a b", b" a", b"a\t", b"a\r\nset-cookie: b", b"a\n", b"\0"),
        *(b"x" * 129, b"x" * 10_000, "caf\u00e9".encode(), b"\xff", b"\x7f"),
    ],
)
def test_an_id_that_cannot_be_repeated_is_replaced(given_id: bytes) -> None:
    chosen = choose([(b"x-request-id", given_id)])
    assert chosen.encode() != given_id
    assert len(chosen) == 32


def test_an_id_of_128_characters_is_taken() -> None:
    assert choose([(b"x-request-id", b"x" * 128)]) == "x" * 128


@pytest.mark.case("S49")
def test_two_ids_are_none() -> None:
    assert choose([(b"x-request-id", b"a"), (b"x-request-id", b"a")]) != "a"


def test_new_ids_differ() -> None:
    assert len({choose([]) for _ in range(100)}) == 100


@pytest.mark.property
@given(st.lists(st.binary(), max_size=2))
def test_whatever_came_an_id_can_be_sent_and_logged(values: list[bytes]) -> None:
    chosen = choose([(b"x-request-id", value) for value in values])
    assert 1 <= len(chosen) <= 128
    assert chosen.isascii()
    assert chosen.isprintable()
    assert " " not in chosen
