"""`Retry-After`, from anything a server may send."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http._core.retry_after import LONGEST, clock, parse, render

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC).timestamp()


def read(*values: str, date: str | None = None, wall: float = NOON) -> float | None:
    return parse(values, date=date, wall=wall)


@pytest.mark.case("C30", "R14", "RA-1")
@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", 120),
        ("0", 0),
        ("007", 7),
        (" 5 ", 5),
        ("\t5", 5),
        ("", None),
        ("   ", None),
        ("-1", None),
        ("+1", None),
        ("1e3", None),
        ("1e9", None),
        ("1.5", None),
        ("1_000", None),
        ("5s", None),
        ("X5", None),
        ("5X", None),
        ("\N{SUPERSCRIPT TWO}", None),
        ("\N{ARABIC-INDIC DIGIT FIVE}", None),
        ("\N{NO-BREAK SPACE}5", None),
        ("\udcff", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("5\n", None),
    ],
)
def test_delay_seconds_are_ascii_digits_and_nothing_else(
    value: str, wait: float | None
) -> None:
    assert read(value) == wait


@pytest.mark.case("C30", "R14")
@pytest.mark.parametrize("digits", [10, 23, 10_000])
def test_a_number_too_large_to_mean_anything_is_clamped(digits: int) -> None:
    assert read("9" * digits) == LONGEST


def test_leading_zeros_are_not_length() -> None:
    assert read("0" * 10_000 + "5") == 5


@pytest.mark.case("C30", "R14", "RA-3")
@pytest.mark.parametrize(
    "date",
    [
        "Sun, 01 Jun 2025 12:00:30 GMT",  # IMF-fixdate
        "Sunday, 01-Jun-25 12:00:30 GMT",  # rfc850
        "Sun Jun  1 12:00:30 2025",  # asctime
        "Sun, 01 Jun 2025 12:00:30",  # names no zone
        "Sun, 01 Jun 2025 12:00:30 -0000",
        "sun, 01 jun 2025 12:00:30 gmt",
    ],
)
def test_every_form_of_date_is_understood_as_utc(date: str) -> None:
    assert read(date) == 30


@pytest.mark.case("C30", "R14")
@pytest.mark.parametrize(
    "text",
    [
        "Sun, 31 Feb 2025 12:00:00 GMT",
        "Sun, 01 Jun 2025 25:00:00 GMT",
        "Sun, 01 Jun 2025 12:00:61 GMT",
        "Sun, 01 Jun 0000 12:00:00 GMT",
        "Sun, 01 Jun 2025 12:00:30 +0200",  # no HTTP-date has a zone but GMT
        "Sun, 01 Jun 2025",
        "2025-06-01T12:00:30Z",
    ],
)
def test_what_is_no_http_date_is_ignored(text: str) -> None:
    assert read(text) is None


def test_a_leap_second_is_a_second() -> None:
    assert read("Sun, 01 Jun 2025 12:00:60 GMT") == 60


@pytest.mark.case("C30", "R14", "RA-4")
def test_a_date_in_the_past_is_no_wait() -> None:
    assert read("Sun, 01 Jun 2025 11:00:00 GMT") == 0


@pytest.mark.case("RA-3")
@pytest.mark.parametrize(("year", "wait"), [("94", 0), ("74", 1), ("76", 0)])
def test_two_digits_more_than_fifty_years_ahead_are_the_past(
    year: str, wait: float
) -> None:
    found = read(f"Friday, 01-Jun-{year} 12:00:00 GMT")
    assert found is not None
    assert min(found, 1) == wait


@pytest.mark.case("RA-6")
def rfc850(moment: datetime) -> str:
    return f"{moment:%A, %d-%b-%y %H:%M:%S} GMT"


def test_two_digits_are_ahead_up_to_fifty_years_to_the_second() -> None:
    now = datetime(2025, 6, 1, 12, tzinfo=UTC)
    edge = now + timedelta(days=50 * 365.2425)
    assert read(rfc850(edge)) == (edge - now).total_seconds()
    assert read(rfc850(edge + timedelta(seconds=1))) == 0


def test_two_digits_may_mean_the_century_to_come() -> None:
    now, then = datetime(2090, 1, 1, tzinfo=UTC), datetime(2110, 1, 1, tzinfo=UTC)
    wait = read(rfc850(then), wall=now.timestamp())
    assert wait == (then - now).total_seconds()


def test_two_digits_in_the_past_are_the_latest_year_that_ends_so() -> None:
    assert clock("Sunday, 06-Nov-94 08:49:37 GMT", NOON) == 784_111_777


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_a_date_is_utc_wherever_the_client_is() -> None:
    assert read("Sun, 01 Jun 2025 12:00:30 GMT") == 30


def test_a_date_is_measured_against_the_responses_own_clock() -> None:
    hour_slow = "Sun, 01 Jun 2025 11:00:00 GMT"
    assert read("Sun, 01 Jun 2025 11:00:10 GMT", date=hour_slow) == 10
    assert read("Sun, 01 Jun 2025 11:00:10 GMT", date=f" {hour_slow} ") == 10


@pytest.mark.parametrize("garbage", ["", "now", "12"])
def test_a_garbage_date_leaves_our_own_clock(garbage: str) -> None:
    assert read("Sun, 01 Jun 2025 12:00:30 GMT", date=garbage) == 30


def test_our_clock_does_not_touch_delay_seconds() -> None:
    assert read("7", date="Sun, 01 Jun 2003 11:00:00 GMT") == 7


@pytest.mark.case("C30", "R14", "RA-5")
@pytest.mark.parametrize(
    "values",
    [
        ["5", "30"],
        ["30", "5"],
        ["5, 30"],
        ["30,5"],
        ["soon", "30"],
        ["Sun, 01 Jun 2025 12:00:30 GMT, 5"],
        ["5, Sunday, 01-Jun-25 12:00:30 GMT"],
        ["Sun Jun  1 12:00:30 2025", "5"],
    ],
)
def test_of_two_answers_the_longer_is_kept(values: Sequence[str]) -> None:
    assert read(*values) == 30


def test_nothing_said_is_not_zero() -> None:
    assert read() is None


def test_an_endless_list_is_not_read_to_its_end() -> None:
    assert read("1," * 1_000_000 + "9") == 1


dates = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    max_value=datetime(2090, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    timezones=st.just(UTC),
).map(lambda moment: format_datetime(moment, usegmt=True))
pieces = st.text() | st.from_regex(r"[0-9a-zA-Z,:+\- ]{0,40}", fullmatch=True) | dates


@pytest.mark.property
@pytest.mark.case("C30", "R14")
@given(
    values=st.lists(pieces),
    date=st.none() | pieces,
    wall=st.floats(allow_nan=True, allow_infinity=True),
)
def test_whatever_is_sent_is_a_sane_wait_or_none(
    values: list[str], date: str | None, wall: float
) -> None:
    wait = parse(values, date=date, wall=wall)
    assert wait is None or 0 <= wait <= LONGEST


@pytest.mark.property
@given(date=dates)
def test_any_imf_fixdate_reads_back(date: str) -> None:
    assert read(date, date="Thu, 01 Jan 1970 00:00:00 GMT") is not None


@pytest.mark.case("RA-2")
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1"),
        (-5, "1"),
        (0.2, "1"),
        (1, "1"),
        (1.01, "2"),
        (60.0, "60"),
        (float("nan"), "1"),
        (float("inf"), "2147483648"),
    ],
)
def test_a_wait_is_written_rounded_up_and_never_as_nothing(
    seconds: float, text: str
) -> None:
    assert render(seconds) == text


@pytest.mark.property
@pytest.mark.case("RA-2")
@given(seconds=st.floats(0, LONGEST))
def test_who_waits_as_written_is_never_early(seconds: float) -> None:
    wait = read(render(seconds))
    assert wait is not None
    assert seconds <= wait < seconds + 1 or wait == 1
