"""Refusals that are remembered, and for how long."""

from server_kit.ratelimit.refusals import LONGEST, Refusals, Standing


def refused(cost: int = 3, retry_after: float = 0.5) -> Refusals:
    """Return what was told at 100 s."""
    refusals = Refusals()
    refusals.note("k", cost, Standing(retry_after, 60.0, 2), now=100.0)
    return refusals


def test_nothing_is_known_of_what_was_never_refused() -> None:
    refusals = refused()
    assert refusals
    assert not Refusals()
    assert refusals.of("another", 3, 100.0) is None


def test_the_same_request_is_told_what_is_left_of_the_wait() -> None:
    refusals = refused()
    assert refusals.of("k", 3, 100.0) == Standing(0.5, 60.0, 2)
    assert refusals.of("k", 3, 100.25) == Standing(0.25, 59.75, 2)


def test_of_another_cost_the_wait_is_not_known() -> None:
    refusals = refused(cost=3)
    assert [refusals.of("k", cost, 100.0) for cost in (2, 4)] == [None, None]
    assert refusals.of("k", 3, 100.0) is not None


def test_who_waited_as_told_is_not_refused_from_memory() -> None:
    refusals = refused(retry_after=0.5)
    assert refusals.of("k", 3, 100.5 - 1e-6) is not None
    assert refusals.of("k", 3, 100.5) is None
    assert not refusals


def test_a_long_wait_is_asked_about_again_after_a_second() -> None:
    refusals = refused(retry_after=60.0)
    assert refusals.of("k", 3, 100.0 + LONGEST / 2) == Standing(59.5, 59.5, 2)
    assert refusals.of("k", 3, 100.0 + LONGEST) is None


def test_the_latest_refusal_counts() -> None:
    refusals = refused(cost=3)
    refusals.note("k", 1, Standing(0.25, 60.0, 2), now=100.25)
    assert refusals.of("k", 1, 100.25) == Standing(0.25, 60.0, 2)
    assert refusals.of("k", 3, 100.5) is None


def test_a_refusal_can_be_forgotten() -> None:
    refusals = refused()
    refusals.forget("another")
    refusals.forget("k")
    assert refusals.of("k", 3, 100.0) is None


def test_of_too_many_refusals_the_oldest_goes() -> None:
    refusals = refused()
    for n in range(9_999):
        refusals.note(f"flood{n}", 1, Standing(1.0, 1.0, 2), now=100.0)
    assert refusals.of("k", 3, 100.0) is not None
    refusals.note("k", 3, Standing(1.0, 1.0, 2), now=100.0)  # the latest again
    refusals.note("one more", 1, Standing(1.0, 1.0, 2), now=100.0)
    assert refusals.of("k", 3, 100.0) is not None
    assert refusals.of("flood0", 1, 100.0) is None
    assert refusals.of("flood1", 1, 100.0) is not None


def test_a_refusal_that_is_known_takes_nobodys_place() -> None:
    refusals = refused()
    for n in range(9_999):
        refusals.note(f"flood{n}", 1, Standing(1.0, 1.0, 2), now=100.0)
    refusals.note("flood5000", 1, Standing(0.5, 1.0, 2), now=100.0)
    assert refusals.of("k", 3, 100.0) is not None
