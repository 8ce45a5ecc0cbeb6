"""What a ledger does by the clock, and when it is full."""

from typing import Any

import pytest

from server_kit.idempotency.ledger import Ledger, LedgerFullError
from server_kit.idempotency.rules import Claim, Kept, Standing

ANSWER = Kept(201, [(b"a", b"b")], b"12345678")  # ten bytes


def claim(name: str, token: str = "1", fingerprint: str = "x") -> Claim:
    return Claim(name, fingerprint, token)


def ledger(**given: Any) -> Ledger:
    usual = {"lease": 10, "keep_for": 100, "max_entries": 100, "max_bytes": 1_000}
    return Ledger(**{**usual, **given})


@pytest.mark.case("IK-13", "S60")
def test_a_claim_whose_holder_is_not_heard_of_ends_with_its_lease() -> None:
    book = ledger()
    assert book.claim(claim("a"), 0) is Standing.CLAIMED
    assert book.claim(claim("a", "2"), 9.9) is Standing.RUNNING
    assert book.claim(claim("a", "2"), 10) is Standing.CLAIMED
    assert len(book) == 1


def test_a_claim_that_is_renewed_is_held_for_another_lease() -> None:
    book = ledger()
    book.claim(claim("a"), 0)
    book.claim(claim("b"), 1)
    assert book.renew(claim("a"), 9)
    assert book.claim(claim("a", "2"), 18) is Standing.RUNNING
    assert book.claim(claim("b", "2"), 18) is Standing.CLAIMED
    assert not book.renew(claim("a"), 19)


@pytest.mark.case("S60")
def test_who_comes_back_too_late_changes_nothing() -> None:
    book = ledger()
    late, now = claim("a", "late"), claim("a", "now")
    book.claim(late, 0)
    book.claim(now, 10)
    assert not book.renew(late, 11)
    assert not book.release(late, 11)
    assert not book.settle(late, ANSWER, 11)
    assert book.claim(claim("a", "3"), 11) is Standing.RUNNING
    assert book.settle(now, None, 12)
    assert not book.settle(late, ANSWER, 13)
    assert book.claim(claim("a", "3"), 14) is Standing.SPENT


def test_a_claim_that_ran_out_can_be_settled_while_nobody_has_made_it() -> None:
    book = ledger()
    book.claim(claim("a"), 0)
    assert book.settle(claim("a"), ANSWER, 50)
    assert book.claim(claim("a", "2"), 51) == ANSWER


def test_settling_twice_changes_nothing() -> None:
    book = ledger()
    book.claim(claim("a"), 0)
    assert book.settle(claim("a"), ANSWER, 1)
    assert book.settle(claim("a"), None, 2)
    assert book.claim(claim("a", "2"), 3) == ANSWER
    assert book.size == 10


@pytest.mark.case("S60")
def test_an_answer_is_forgotten_when_its_time_is_over() -> None:
    book = ledger()
    book.claim(claim("a"), 0)
    book.settle(claim("a"), ANSWER, 5)
    assert book.claim(claim("a", "2"), 104.9) == ANSWER
    assert book.claim(claim("a", "2"), 105) is Standing.CLAIMED
    assert book.size == 0


def test_the_oldest_answers_make_room_for_a_claim() -> None:
    book = ledger(max_entries=2)
    for name in "ab":
        book.claim(claim(name), 0)
        book.settle(claim(name), ANSWER, 0)
    assert book.claim(claim("c"), 1) is Standing.CLAIMED
    assert book.claim(claim("b"), 1) == ANSWER
    assert (len(book), book.size) == (2, 10)


def test_claims_make_room_for_nothing() -> None:
    book = ledger(max_entries=2)
    for name in "ab":
        book.claim(claim(name), 0)
    with pytest.raises(LedgerFullError):
        book.claim(claim("c"), 1)
    assert book.claim(claim("a", "2"), 1) is Standing.RUNNING
    assert book.claim(claim("c"), 10) is Standing.CLAIMED


def test_the_oldest_answers_make_room_for_bytes() -> None:
    book = ledger(max_bytes=25)
    for name in "abc":
        book.claim(claim(name), 0)
    for name in "abc":
        book.settle(claim(name), ANSWER, 1)
    assert book.size == 20
    assert book.claim(claim("a", "2"), 2) is Standing.CLAIMED
    assert book.claim(claim("b", "2"), 2) == ANSWER


def test_a_late_answer_finds_no_room_where_claims_have_it_all() -> None:
    book = ledger(max_entries=1)
    book.claim(claim("a"), 0)
    book.claim(claim("b"), 10)
    book.settle(claim("a"), ANSWER, 11)
    assert (len(book), book.size) == (1, 0)
    assert book.claim(claim("b", "2"), 12) is Standing.RUNNING
