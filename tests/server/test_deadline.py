"""What callers say of the time they have, and what they may say."""

import math
from typing import Any

import pytest

from server_kit import Deadlines
from server_kit.deadlines.settings import asked_for

OURS, GRPC, ENVOY = (
    b"x-request-timeout-ms",
    b"grpc-timeout",
    b"x-envoy-expected-rq-timeout-ms",
)


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        (OURS, b"1500", 1.5),
        (OURS, b"0", 0),
        (OURS, b"1", 0.001),
        (OURS, b"9" * 15, 999_999_999_999.999),
        (ENVOY, b"250", 0.25),
        (GRPC, b"1H", 3_600),
        (GRPC, b"2M", 120),
        (GRPC, b"3S", 3),
        (GRPC, b"1500m", 1.5),
        (GRPC, b"5u", 5e-6),
        (GRPC, b"7n", 7e-9),
        (GRPC, b"0S", 0),
        (GRPC, b"99999999H", 99_999_999 * 3_600),
    ],
)
def test_the_time_of_a_caller_is_read(
    name: bytes, value: bytes, seconds: float
) -> None:
    assert asked_for([(b"host", b"shop"), (name, value)]) == pytest.approx(seconds)


GARBAGE = [b"", b"abc", b"-5", b"1.5", b"1e9", b"1e308", b" 5", b"+5", b"5 ", b"\xb25"]


@pytest.mark.case("S58", "R29")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in (OURS, GRPC, ENVOY) for value in GARBAGE),
        *((name, b"9" * 16) for name in (OURS, ENVOY)),
        *(
            (OURS, value)
            for value in (b"99999999H", "\N{ARABIC-INDIC DIGIT FIVE}".encode())
        ),
        *((GRPC, value) for value in (b"999999999S", b"S", b"5s", b"5", b"5SS")),
    ],
)
def test_what_is_no_time_was_not_said(name: bytes, value: bytes) -> None:
    assert asked_for([(name, value)]) is None


@pytest.mark.case("S58", "R29")
def test_what_is_said_twice_was_not_said() -> None:
    assert asked_for([(OURS, b"5"), (OURS, b"5")]) is None
    assert asked_for([(OURS, b"5"), (OURS, b"5"), (ENVOY, b"9")]) == 0.009


def test_of_several_that_are_right_the_least_holds() -> None:
    assert asked_for([(OURS, b"900"), (GRPC, b"1S"), (ENVOY, b"800")]) == 0.8
    assert asked_for([(OURS, b"abc"), (GRPC, b"1S")]) == 1
    assert asked_for([]) is None


@pytest.mark.case("S58", "R29")
def test_nobody_gets_more_than_the_maximum() -> None:
    deadlines = Deadlines(maximum=2)
    assert deadlines.bound(99_999_999 * 3_600) == 2
    assert deadlines.bound(None) == 2
    assert deadlines.bound(1) == 1


def test_without_a_maximum_a_caller_has_what_they_ask_for() -> None:
    assert Deadlines().bound(5) == 5
    assert Deadlines().bound(None) is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maximum": 0}, ValueError, "Deadlines.maximum must be .* above 0, or None"),
        ({"maximum": math.inf}, ValueError, "got inf"),
        ({"maximum": "30"}, TypeError, "got '30'"),
        ({"maximum": True}, TypeError, "got True"),
        ({"maximum": 0.01, "least_useful": 0.1}, ValueError, "at least least_useful"),
        ({"least_useful": -1}, ValueError, "of at least 0, got -1"),
        ({"least_useful": None}, TypeError, "got None"),
        ({"cancel_on_disconnect": 1}, TypeError, "must be True or False, got 1"),
    ],
)
def test_what_makes_no_sense_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Deadlines(**options)
