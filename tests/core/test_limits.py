"""When a call gives up."""

import math

import pytest

from resilient_http._core.limits import Limits
from resilient_http.policy import DEFAULT_ATTEMPT_TIMEOUT, DEFAULT_DEADLINE

HEAD_IS_HERE = math.inf, math.inf


def limits(
    deadline: float | None = DEFAULT_DEADLINE,
    attempt: float | None = DEFAULT_ATTEMPT_TIMEOUT,
    longest_phase: float = 5.0,
) -> Limits:
    return Limits(100, deadline=deadline, attempt=attempt, longest_phase=longest_phase)


def test_a_send_ends_before_its_call() -> None:
    made = limits()
    assert made.call_at == 130
    send = made.begin_send(105)
    assert (made.at(*send), made.call_at) == (115, 130)
    send = HEAD_IS_HERE
    assert made.at(*send) == 130


def test_the_call_ends_its_last_send() -> None:
    made = limits(deadline=8.0)
    send = made.begin_send(105)
    assert made.at(*send) == 108


@pytest.mark.parametrize(
    ("own", "outer", "ends"), [(8.0, 5.0, 105), (8.0, 50.0, 108), (None, 5.0, 105)]
)
def test_a_deadline_around_the_call_holds_if_it_is_sooner(
    own: float | None, outer: float, ends: float
) -> None:
    made = Limits(100, deadline=own, attempt=None, longest_phase=math.inf, outer=outer)
    assert (made.call_at, made.call_at, made.chosen) == (ends, ends, ends)


def test_none_is_no_limit() -> None:
    made = limits(None, None)
    send = made.begin_send(105)
    assert made.at(*send) == math.inf


@pytest.mark.parametrize(
    ("longest_phase", "send", "call"),
    [(0, 110, 130), (12, 112, 130), (60, 160, 160), (math.inf, math.inf, math.inf)],
)
def test_a_default_is_at_least_the_longest_phase(
    longest_phase: float, send: float, call: float
) -> None:
    made = limits(longest_phase=longest_phase)
    assert (made.at(*made.begin_send(100)), made.call_at) == (send, call)


@pytest.mark.parametrize("longest_phase", [0, 60, math.inf])
def test_a_choice_holds_whatever_the_phases(longest_phase: float) -> None:
    made = limits(30.0, 10.0, longest_phase)
    send = made.begin_send(100)
    assert (made.at(*send), made.call_at) == (110, 130)


def test_a_default_gives_way_to_a_body_that_moves() -> None:
    made = limits()
    send = made.begin_send(100)
    for second in range(101, 12_000):
        made.moved(1024, second)
        assert made.at(*send) >= second + 1
    assert made.at(*send) <= 11_999 + 10


def test_a_default_does_not_give_way_to_a_body_that_hardly_moves() -> None:
    made = limits()
    send = made.begin_send(100)
    for second in range(101, 111):
        made.moved(1, second)
    assert made.at(*send) == pytest.approx(111, abs=0.1)


def test_nothing_has_moved_at_first() -> None:
    made = limits()
    assert made.moving_until == -math.inf
    assert made.at(math.inf, 110) == 110


def test_a_body_that_stops_is_waited_for_as_long_as_httpx_would() -> None:
    made = limits(longest_phase=20)
    send = made.begin_send(100)
    made.moved(10_000_000, 129)
    assert made.at(*send) == 149


def test_what_one_send_moved_does_not_help_the_next() -> None:
    made = limits()
    made.begin_send(100)
    made.moved(10_000, 101)
    assert made.at(*made.begin_send(102)) == 112


def test_what_one_send_moved_puts_the_end_of_the_call_off_until_the_next() -> None:
    made = limits()
    made.begin_send(120)
    made.moved(10_000, 125)
    assert made.call_at == 135
    send = made.begin_send(126)
    assert (made.call_at, made.at(*send)) == (130, 130)


def test_what_one_send_moves_counts_for_the_one_beside_it() -> None:
    made = limits()
    first = made.begin_send(100)
    made.moved(1024, 109)
    second = made.begin_send(109.5, beside=True)
    assert (made.at(*first), made.at(*second)) == (119, 119.5)


def test_a_choice_gives_way_to_nothing() -> None:
    made = limits(30.0, 10.0)
    send = made.begin_send(100)
    made.moved(1_000_000, 109)
    assert made.at(*send) == 110
    send = HEAD_IS_HERE
    made.moved(1_000_000, 129)
    assert made.at(*send) == 130


def test_a_streamed_body_is_free_of_the_default_only() -> None:
    made = limits()
    made.lift_default()
    assert made.call_at == math.inf
    made = limits(30.0)
    made.lift_default()
    assert made.call_at == 130
