"""How many of those that arrive too late are refused. Time is a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_kit.deadlines.arrivals import FEW, SHARE, WINDOW, Arrivals


def refused(arrivals: Arrivals, now: float, *late: bool) -> list[bool]:
    return [arrivals.refuses(now, is_late=one) for one in late]


def test_who_arrives_in_time_is_never_refused() -> None:
    assert not any(refused(Arrivals(), 0, *[False] * 1_000))


@pytest.mark.case("S58")
def test_the_first_ten_that_are_late_are_all_refused() -> None:
    arrivals = Arrivals()
    late = [True] * FEW
    assert refused(arrivals, 0, *late, True) == [*late, False]


def test_of_those_that_come_after_ten_a_fifth_of_all_traffic_is_refused() -> None:
    arrivals = Arrivals()
    answers = refused(arrivals, 0, *[True] * 1_000)
    assert sum(answers) == 200
    assert answers[9:55] == [True, *[False] * 44, True]


def test_those_in_time_count_as_traffic() -> None:
    arrivals = Arrivals()
    refused(arrivals, 0, *[False] * 90)
    assert sum(refused(arrivals, 0, *[True] * 200)) == 58  # of 290


def test_what_was_seen_is_forgotten_after_ten_seconds() -> None:
    arrivals = Arrivals()
    refused(arrivals, 0, *[True] * FEW)
    assert refused(arrivals, WINDOW - 0.1, True) == [False]
    assert refused(arrivals, WINDOW, *[True] * (FEW - 1)) == [True] * (FEW - 1)


ARRIVALS = st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=200)


@pytest.mark.property
@given(ARRIVALS)
def test_no_refusal_past_ten_makes_the_share_more_than_a_fifth(
    arriving: list[tuple[float, bool]],
) -> None:
    arrivals, now = Arrivals(), 0.0
    seen: list[tuple[int, bool, bool]] = []
    for pause, is_late in arriving:
        now += pause
        recent = [one for one in seen if one[0] > now // 1 - WINDOW]
        late = sum(was_late for _, was_late, _ in recent)
        is_refused = arrivals.refuses(now, is_late=is_late)
        seen.append((int(now // 1), is_late, is_refused))
        share = (sum(was for *_, was in recent) + 1) / (len(recent) + 1)
        assert is_refused == (is_late and (late < FEW or share <= SHARE))
