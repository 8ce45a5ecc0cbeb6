"""Leases: what a process takes ahead of a quota, and decides by itself."""

import math
from typing import Any

import pytest

from server_kit.ratelimit.leases import NOTHING, Ahead, Lease, Leases, Taken

LIMIT, WINDOW = 100, 60.0


def asked_once(share: float = 0.1) -> Leases:
    """Return leases of one key that was asked about a first time, at 0 s."""
    leases = Leases(Lease(share=share))
    assert want(leases) == NOTHING
    return leases


def granted(units: int, share: float = 0.1) -> Leases:
    """Return leases with so many units at hand until 1 s, and 40 more in Redis."""
    leases = asked_once(share)
    want(leases)
    grant(leases, "1", units)
    return leases


def want(leases: Leases, cost: int = 1, now: float = 0.0) -> Ahead:
    return leases.want("k", LIMIT, WINDOW, cost, now)


def grant(leases: Leases, name: str, units: int, ends: float = 1.0) -> None:
    leases.granted("k", name, units, ends=ends, remaining=40, resets=60.0)


def take(leases: Leases, cost: int = 1, now: float = 0.5) -> int | None:
    """Return what is left of the quota, None if Redis has to be asked."""
    taken = leases.take([("k", cost)], now)
    return None if taken is None else taken[0].remaining


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("share", 0, ValueError),
        ("share", 0.51, ValueError),
        ("share", math.nan, ValueError),
        ("share", True, TypeError),
        ("share", "0.1", TypeError),
        ("ttl", 0, ValueError),
        ("ttl", math.inf, ValueError),
        ("ttl", None, TypeError),
    ],
)
def test_a_bad_field_is_named_and_shown(
    field: str, value: object, error: type[Exception]
) -> None:
    kwargs: dict[str, Any] = {field: value}
    with pytest.raises(error, match=field) as refused:
        Lease(**kwargs)
    assert repr(value) in str(refused.value)
    if field == "share":
        assert "must be a number above 0 and up to 0.5" in str(refused.value)


def test_a_lease_lasts_a_tenth_of_the_window_at_most() -> None:
    leases = Leases(Lease(ttl=2.0))
    assert (leases.ttl(60.0), leases.ttl(5.0)) == (2.0, 0.5)


def test_a_key_that_is_asked_about_once_takes_nothing_ahead() -> None:
    leases = Leases(Lease())
    assert take(leases) is None
    assert Ahead(0, "", 0) == NOTHING
    assert want(leases, now=0.0) == NOTHING
    assert want(leases, now=1.0) == NOTHING  # not again within a lease
    assert want(leases, now=1.5).most == 4


def test_twice_of_what_was_asked_for_is_taken_ahead() -> None:
    leases = asked_once(share=0.5)
    assert want(leases, cost=5) == Ahead(2 * (1 + 5), "", 0)


def test_no_more_is_taken_ahead_than_the_share() -> None:
    leases = asked_once(share=0.05)
    assert want(leases, cost=50).most == 5


def test_one_unit_is_not_worth_a_lease() -> None:
    assert want(asked_once(share=0.019)).most == 0


def test_one_request_at_a_time_asks_for_a_lease() -> None:
    leases = asked_once()
    assert want(leases) != NOTHING
    assert want(leases) == NOTHING
    grant(leases, "1", 2)
    assert want(leases) == Ahead(2, "1", 0)


def test_what_is_held_is_used_without_asking() -> None:
    leases = granted(3)
    assert [take(leases) for _ in range(4)] == [42, 41, 40, None]
    assert want(leases) == Ahead(8, "1", 3)


def test_too_large_a_cost_leaves_what_is_held_as_it_is() -> None:
    leases = granted(3)
    assert take(leases, cost=4) is None
    assert take(leases, cost=3) == 40


def test_nothing_is_taken_where_one_of_several_has_too_little() -> None:
    leases = granted(3)
    assert leases.take([("k", 1), ("another", 1)], 0.5) is None
    assert take(leases) == 42


def test_the_reset_comes_nearer_and_is_never_past() -> None:
    leases = granted(3)
    leases.granted("k", "1", 3, ends=100.0, remaining=40, resets=60.0)
    assert leases.take([("k", 1)], 45.0) == [Taken(42, 15.0)]
    assert leases.take([("k", 1)], 61.0) == [Taken(41, 0.0)]


def test_a_lease_that_is_over_is_not_used() -> None:
    leases = granted(3)
    assert take(leases, now=0.999) == 42
    assert take(leases, now=1.0) is None


def test_what_was_used_is_settled_once() -> None:
    leases = granted(3)
    take(leases, cost=2)
    assert leases.over("k", "another") is None
    assert leases.over("k", "1") == 2
    assert leases.over("k", "1") is None
    assert take(leases) is None


def test_a_lease_that_the_next_request_settles_is_not_settled_by_its_end() -> None:
    leases = granted(3)
    take(leases, cost=3)
    assert want(leases).last == "1"
    assert leases.over("k", "1") is None


def test_a_lease_that_is_being_settled_is_not_used_meanwhile() -> None:
    leases = granted(3)
    take(leases, cost=1)
    assert want(leases, cost=3) == Ahead(8, "1", 1)
    # Redis is on its way to take back the two units that are left.
    assert take(leases, cost=1) is None
    assert want(leases, cost=1) == NOTHING


def test_a_lease_of_unknown_fate_is_forgotten() -> None:
    leases = granted(3)
    want(leases, cost=4)
    leases.failed("k")
    leases.failed("k")
    assert take(leases) is None
    assert want(leases) == NOTHING  # as of a key that was never asked about
    assert want(leases) != NOTHING  # and not as of one that somebody is asking about


def test_without_a_grant_nothing_is_held() -> None:
    leases = granted(0)
    assert take(leases) is None
    assert leases.take([("k", 0)], 0.5) == [Taken(40, 59.5)]


def test_how_a_quota_stands_is_not_known_before_redis_has_said_so() -> None:
    leases = asked_once()
    assert leases.take([("k", 0)], 0.5) is None
    assert leases.take([("k", 1)], 0.5) is None


def test_the_number_of_leases_is_bounded() -> None:
    leases = granted(3)
    for n in range(10_000):
        leases.want(f"flood{n}", LIMIT, WINDOW, 1, 0.5)
    assert take(leases) is None


def test_of_too_many_the_one_goes_that_was_not_asked_about_for_longest() -> None:
    leases = granted(3)
    for n in range(9_999):
        leases.want(f"flood{n}", LIMIT, WINDOW, 1, 0.5)
    want(leases, cost=4, now=0.5)
    grant(leases, "2", 3)
    leases.want("one more", LIMIT, WINDOW, 1, 0.5)
    assert take(leases) is not None
