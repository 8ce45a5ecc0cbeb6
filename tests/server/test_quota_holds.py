"""Accounts of which units are set aside, told the time in seconds."""

import pytest

from server_kit.ratelimit.machines import (
    Account,
    Algorithm,
    Hold,
    SlidingWindow,
    TokenBucket,
)
from server_kit.ratelimit.quota import microseconds
from tests.server.accounts import ALGORITHMS

LIMIT, WINDOW = 10, 60

each = pytest.mark.parametrize("algorithm", ALGORITHMS)


class Held:
    """An account of ten units a minute."""

    def __init__(self, algorithm: Algorithm = "sliding_window") -> None:
        self.account = Account(algorithm, LIMIT, microseconds(WINDOW))

    def hold(
        self, units: int, expires: int, *, name: str = "h", is_used: bool = False
    ) -> None:
        self.account.hold(name, Hold(units, microseconds(expires), is_used))

    def at(self, now: float) -> tuple[Account, int]:
        """Return the account, brought to this time, and the time as it counts it."""
        ticks = microseconds(now)
        self.account.forward(ticks)
        return self.account, ticks

    def charge(self, cost: int, now: int) -> None:
        account, ticks = self.at(now)
        account.charge(cost, ticks)

    def refund(self, cost: int, now: int) -> None:
        account, _ = self.at(now)
        account.refund(cost)

    def settle(
        self, cost: int, now: int, *, name: str = "h", is_used: bool = False
    ) -> None:
        account, ticks = self.at(now)
        account.settle(name, cost, ticks, is_used=is_used)

    def used(self, now: float) -> int:
        account, _ = self.at(now)
        return account.used

    def wait(self, cost: int, now: float) -> float:
        account, ticks = self.at(now)
        return account.wait(cost, ticks) / 1_000_000

    def reset(self, now: int) -> float:
        account, ticks = self.at(now)
        return account.reset(ticks) / 1_000_000


@each
def test_what_is_set_aside_takes_up_room_until_it_expires(algorithm: Algorithm) -> None:
    account = Held(algorithm)
    account.hold(7, expires=20)
    assert [account.used(now) for now in (0, 19, 20)] == [7, 7, 0]


@each
def test_a_wait_ends_with_the_hold(algorithm: Algorithm) -> None:
    account = Held(algorithm)
    account.hold(7, expires=20)
    assert [account.wait(cost, now=5) for cost in (0, 3, 4, 10)] == [0, 0, 15, 15]
    assert account.reset(now=5) == 15


@each
def test_what_counts_as_used_is_charged_when_it_expires(algorithm: Algorithm) -> None:
    account = Held(algorithm)
    account.hold(10, expires=20, is_used=True)
    assert account.reset(now=5) == 75
    assert [account.used(now) for now in (20, 80)] == [10, 0]


def test_a_wait_goes_on_after_a_hold_that_counts_as_used() -> None:
    account = Held("token_bucket")
    account.hold(10, expires=20, is_used=True)
    # A unit is back every six seconds, from when it was charged.
    assert [account.wait(cost, now=5) for cost in (1, 10)] == [21, 75]


def test_the_first_hold_to_expire_may_be_enough() -> None:
    account = Held()
    account.hold(5, expires=40, name="late")
    account.hold(5, expires=20, name="early")
    assert [account.wait(cost, now=0) for cost in (5, 6)] == [20, 40]


def test_what_was_charged_may_come_back_before_any_hold_expires() -> None:
    account = Held()
    account.charge(5, now=0)
    account.hold(5, expires=100)
    assert [account.wait(cost, now=10) for cost in (5, 6)] == [50, 90]


@each
def test_waiting_as_told_is_enough_among_holds(algorithm: Algorithm) -> None:
    for cost in range(1, LIMIT + 1):
        account = Held(algorithm)
        account.charge(3, now=0)
        account.hold(2, expires=15, name="a", is_used=True)
        account.hold(3, expires=30, name="b")
        account.hold(2, expires=45, name="c", is_used=True)
        then = 1 + account.wait(cost, now=1)
        assert account.wait(cost, then) == 0
        assert account.used(then) <= LIMIT - cost


@each
def test_looking_ahead_changes_nothing(algorithm: Algorithm) -> None:
    account = Held(algorithm)
    account.charge(3, now=0)
    account.hold(5, expires=20, is_used=True)
    asked = [(account.wait(10, now=1), account.reset(now=1)) for _ in range(3)]
    assert len(set(asked)) == 1
    assert account.used(now=1) == 8


@each
@pytest.mark.parametrize("cost", [0, 4, 7, 9])
def test_a_hold_is_charged_with_what_it_came_to(
    algorithm: Algorithm, cost: int
) -> None:
    account = Held(algorithm)
    account.hold(7, expires=20)
    account.settle(cost, now=10)
    assert account.used(now=10) == cost
    assert account.used(now=20) <= cost  # it does not expire any more


def test_beyond_the_limit_a_window_remembers_and_a_bucket_forgives() -> None:
    window, bucket = Held(), Held("token_bucket")
    for account in (window, bucket):
        account.hold(7, expires=20)
        account.settle(25, now=0)
    assert (window.used(now=0), bucket.used(now=0)) == (25, 10)
    assert (window.wait(1, now=0), bucket.wait(1, now=0)) == (60, 6)


@each
def test_what_expired_is_charged_all_the_same(algorithm: Algorithm) -> None:
    account = Held(algorithm)
    account.hold(7, expires=20)
    account.settle(5, now=30)
    assert account.used(now=30) == 5


@each
def test_what_expired_as_used_is_not_charged_twice(algorithm: Algorithm) -> None:
    account = Held(algorithm)
    account.hold(6, expires=20, is_used=True)
    account.settle(6, now=20, is_used=True)
    assert account.used(now=20) == 6
    account.settle(6, now=20, is_used=True)
    assert account.used(now=20) == 6


@each
def test_a_refund_leaves_alone_what_is_set_aside(algorithm: Algorithm) -> None:
    account = Held(algorithm)
    account.charge(2, now=0)
    account.hold(5, expires=20)
    account.refund(10, now=0)
    assert account.used(now=0) == 5


def test_of_several_holds_each_is_settled_by_its_name() -> None:
    account = Held()
    account.hold(3, expires=20, name="a")
    account.hold(4, expires=20, name="b")
    account.settle(0, now=0, name="a")
    assert account.used(now=0) == 4
    account.settle(1, now=0, name="b")
    assert account.used(now=0) == 1


def test_a_hold_that_cost_more_keeps_the_slices_few() -> None:
    account = Held()
    for now in range(100):
        account.hold(1, expires=now + 60, name=f"{now}")
        account.settle(20, now=now, name=f"{now}")
    level = account.account._level  # noqa: SLF001 - the bound on memory
    assert len(level._slices) <= 30  # type: ignore[attr-defined] # noqa: SLF001 - as above
    assert account.used(now=159) == account.used(now=100)
    assert account.used(now=160) == 0


SECOND = 1_000_000


def window_of(*charges: tuple[int, int], limit: int = 100) -> SlidingWindow:
    """Return a minute, in which units were charged at seconds."""
    window = SlidingWindow(limit, 60 * SECOND)
    for units, second in charges:
        window.charge(units, second * SECOND)
    return window


def test_the_latest_charges_are_given_back_first() -> None:
    window = window_of((30, 0), (20, 30))
    window.give_back(25)
    assert window.taken == 25
    assert window.reset(30 * SECOND) == 30 * SECOND  # of the first alone
    window.forward(60 * SECOND)
    assert window.taken == 0


def test_what_is_left_of_a_charge_comes_back_in_its_time() -> None:
    window = window_of((30, 0))
    window.give_back(29)
    window.forward(59 * SECOND)
    assert window.taken == 1
    window.forward(60 * SECOND)
    assert window.taken == 0


def test_a_clock_set_back_makes_only_what_is_ahead_of_it_younger() -> None:
    window = window_of((30, 80), (20, 100))
    window.forward(90 * SECOND)
    assert window.until(20, 90 * SECOND) == 50 * SECOND
    assert window.reset(90 * SECOND) == 60 * SECOND


def test_a_tenth_of_the_window_later_a_slice_begins() -> None:
    window = window_of((1, 0), (1, 6))
    window.forward(60 * SECOND)
    assert window.taken == 1


def test_what_is_charged_to_a_full_window_is_a_slice_of_its_own() -> None:
    window = window_of((10, 0), (5, 30), limit=10)
    window.forward(60 * SECOND)
    assert window.taken == 5


def test_a_bucket_forgives_what_does_not_fit() -> None:
    bucket = TokenBucket(10, 60 * SECOND)
    bucket.charge(8, 0)
    bucket.charge(5, 0)
    assert bucket.taken == 10


def test_a_clock_set_back_gives_nothing_back_of_a_bucket() -> None:
    bucket = TokenBucket(2_000, 1_000)  # two units a microsecond
    bucket.charge(2_000, 100)
    bucket.forward(50)
    assert bucket.taken == 2_000


def test_what_was_never_held_can_be_settled() -> None:
    account = Account("token_bucket", 10, 60 * SECOND)
    account.settle("gone", 3, 0, is_used=False)
    assert account.used == 3


def test_who_asks_for_nothing_does_not_wait_however_much_was_used() -> None:
    account = Account("sliding_window", 10, 60 * SECOND)
    account.charge(15, 0)
    assert account.wait(0, 0) == 0


def test_a_hold_is_charged_beside_what_is_left_when_it_expires() -> None:
    account = Account("token_bucket", 10, 10 * SECOND)
    account.charge(8, 0)
    account.hold("h", Hold(5, 5 * SECOND, is_used=True))
    account.forward(8 * SECOND)
    assert account.used == 5  # 3 were left at 5 s, and 3 more came back since


def test_holds_expire_by_their_time_and_not_by_their_name() -> None:
    account = Account("token_bucket", 10, 10 * SECOND)
    account.hold("a", Hold(1, 9 * SECOND, is_used=False))
    account.hold("b", Hold(2, 5 * SECOND, is_used=False))
    account.forward(6 * SECOND)
    assert account.used == 1
