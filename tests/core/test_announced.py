"""What a server announces, read from anything it may send."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http._core.announced import LONGEST, Announcement, parse

NOON = 1_748_779_200.0  # Sun, 01 Jun 2025 12:00:00 GMT


def read(status: int = 200, **fields: str) -> tuple[int, float] | None:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    found = parse(headers, status=status, wall=NOON)
    return None if found is None else (found.remaining, found.reset)


def test_an_answer_that_says_nothing_announces_nothing() -> None:
    assert read() is None
    assert read(429) is None


@pytest.mark.case("RL-32")
@pytest.mark.parametrize(
    "field",
    [
        '"default";r=50;t=30',
        '"";r=50;t=30',
        '"default"; r=50; t=30',
        '"default";t=30;r=50',
        '"default";r=1;r=50;t=30',  # RFC 9651, section 4.2.3.2: the last one counts
        '"default";r=50;t=30;pk=:dHJpYWwxMjEzMjM=:',
        '"default";r=50;t=30;acme-burst=9;acme-odd=a;acme-on',
        '  "default";r=50;t=30  ',
    ],
)
def test_a_service_limit_is_read(field: str) -> None:
    assert read(ratelimit=field) == (50, 30)


@pytest.mark.parametrize("status", [200, 301, 404, 429, 503])
def test_the_standard_fields_count_beside_any_status(status: int) -> None:
    assert read(status, ratelimit='"a";r=0;t=9') == (0, 9)


@pytest.mark.case("RL-21")
@pytest.mark.parametrize(
    ("field", "closest"),
    [
        ('"burst";r=5;t=1, "daily";r=900;t=80000', (5, 1)),
        ('"burst";r=5;t=1,"daily";r=4;t=80000', (4, 80_000)),
        ('"a";r=0;t=10, "b";r=0;t=60,"c";r=0;t=20', (0, 60)),
    ],
)
def test_of_several_the_one_closest_to_exhaustion_is_kept(
    field: str, closest: tuple[int, float]
) -> None:
    assert read(ratelimit=field) == closest


MALFORMED = [
    "",
    "default;r=50;t=30",  # a token
    "5;r=50;t=30",
    '%"default";r=50;t=30',
    '("default");r=50;t=30',
    '"default',
    '"default";r=50;t=30,',
    '"default";r=50;t=30;',
    '"default";r=50 t=30',
    '"default";R=50;t=30',
    '"d\u00e9fault";r=50;t=30',
    '"default";r=50;t=30\n',
    '"default\x00";r=50;t=30',
    '"default";t=30',
    '"default";r;t=30',
    '"default";r=-1;t=30',
    '"default";r=50.0;t=30',
    '"default";r="50";t=30',
    '"default";r=?1;t=30',
    '"default";r=:AAAA:;t=30',
    '"default";r=@50;t=30',
    '"default";r=1000000000000000;t=30',
    '"default";r=50;t=-1',
    '"default";r=50;t=1.5',
    '"default";r=50;t="30"',
    '"default";r=50;t',
    '"default";r=50;t=30;pk="me"',
    '"default";r=50;t=30;pk=me',
]


@pytest.mark.case("R15", "RL-26")
@pytest.mark.parametrize("field", MALFORMED)
def test_what_is_malformed_is_ignored(field: str) -> None:
    assert read(ratelimit=field) is None


@pytest.mark.case("R15", "RL-26")
@pytest.mark.parametrize("field", MALFORMED[1:])
def test_one_malformed_item_makes_the_field_malformed(field: str) -> None:
    assert read(ratelimit=f'"fine";r=1;t=9, {field}') is None
    assert read(ratelimit=f'{field}, "fine";r=1;t=9') is None


@pytest.mark.case("R15")
def test_what_is_too_long_is_not_looked_at() -> None:
    item = '"default";r=50;t=30'
    most = item + f';x="{"x" * (LONGEST - len(item) - 5)}"'
    assert len(most) == LONGEST
    assert read(ratelimit=most) == (50, 30)
    assert read(ratelimit=most + " ") is None
    assert read(ratelimit=", ".join([item] * 50_000)) is None
    assert read(ratelimit="limit=1, remaining=1, reset=1" + " " * LONGEST) is None
    policy = '"default";q=100;w=60'
    policy += f';x="{"x" * (400 - len(policy) - 5)}"'
    for longest, quota in ((policy, (100, 60)), (policy + " ", None)):
        headers = {"ratelimit": item, "ratelimit-policy": longest}
        assert parse(headers, status=200, wall=NOON) == Announcement(50, 30, quota)
    assert read(ratelimit_remaining="1" * 1_000_000, ratelimit_reset="1") is None
    assert read(ratelimit_remaining="1", ratelimit_reset="1" * 1_000_000) is None


def test_a_quota_without_a_window_cannot_be_paced() -> None:
    assert read(ratelimit='"a";r=999;pk=:dHJpYWw=:') is None
    assert read(ratelimit='"a";r=0, "b";r=5;t=9') == (5, 9)


BYTES = '"bytes";q=65535;qu="content-bytes";w=10'


def test_what_is_counted_in_other_units_than_requests_cannot_be_paced() -> None:
    field = '"bytes";r=3;t=10, "calls";r=9;t=60'
    policy = f'{BYTES}, "calls";q=10;qu="requests";w=60, "more";q=1'
    assert read(ratelimit=field, ratelimit_policy=policy) == (9, 60)
    assert read(ratelimit='"bytes";r=3;t=10', ratelimit_policy=BYTES) is None


@pytest.mark.case("RL-26")
@pytest.mark.parametrize(
    "policy",
    [
        f"{BYTES}, calls;q=1",
        f'{BYTES}, "calls"',
        f'{BYTES}, "calls";q=-1',
        f'{BYTES}, "calls";q=1;w=0',
        f'{BYTES}, "calls";q=1;w=1.5',
        f'{BYTES}, "calls";q=1;qu=requests',
        f'{BYTES}, "calls";q=1;pk="me"',
        f'{BYTES};x="{"x" * LONGEST}"',
        "limit=1",
        "",
    ],
)
def test_a_malformed_policy_is_ignored(policy: str) -> None:
    assert read(ratelimit='"bytes";r=3;t=10', ratelimit_policy=policy) == (3, 10)


@pytest.mark.case("RL-28")
@pytest.mark.parametrize("age", ["1", "86400", "0, 5", "old"])
def test_an_answer_from_a_cache_announces_nothing(age: str) -> None:
    assert read(ratelimit='"a";r=0;t=9', age=age) is None
    limits = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": "9"}
    assert read(429, **limits, age=age) is None


@pytest.mark.case("RL-28")
def test_an_answer_that_a_cache_has_just_fetched_is_as_good_as_new() -> None:
    assert read(ratelimit='"a";r=0;t=9', age="0") == (0, 9)


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("limit=100, remaining=50, reset=30", (50, 30)),
        ("reset=30,remaining=50", (50, 30)),
        ("limit=100;w=60, remaining=50, reset=30;x=y, acme=1", (50, 30)),
        ("limit=100, remaining=50", None),
        ("limit=100, reset=30", None),
        ("limit=100, remaining, reset=30", None),
        ("limit=100, remaining=(50), reset=30", None),
        ("limit=100, remaining=-1, reset=30", None),
        ("limit=100, remaining=50, reset=1.5", None),
        ("limit=100 remaining=50 reset=30", None),
    ],
)
def test_draft_7_is_understood(field: str, found: tuple[int, float] | None) -> None:
    assert read(ratelimit=field) == found


def test_the_drafts_before_it_are_understood() -> None:
    fields = {"ratelimit_limit": "100, 100;w=60", "ratelimit_remaining": "50"}
    assert read(200, **fields, ratelimit_reset="30") == (50, 30)
    assert read(200, **fields) is None


def test_a_draft_that_is_given_unix_time_is_read_by_our_clock() -> None:
    reset = str(int(NOON) + 30)
    assert read(200, ratelimit_remaining="5", ratelimit_reset=reset) == (5, 30)


@pytest.mark.parametrize("status", [403, 429])
def test_the_usual_fields_count_beside_a_refusal(status: int) -> None:
    fields = {"x_ratelimit_remaining": "3", "x_ratelimit_reset": "30"}
    assert read(status, **fields) == (3, 30)
    assert read(status, **fields, ratelimit='"a";r=9;t=60') == (9, 60)
    assert read(status, **fields, ratelimit="garbage") == (3, 30)


@pytest.mark.parametrize("status", [200, 401, 404, 503])
def test_the_usual_fields_count_beside_nothing_else(status: int) -> None:
    fields = {"x_ratelimit_remaining": "3", "x_ratelimit_reset": "30"}
    assert read(status, **fields) is None


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("0", 0),
        ("30", 30),
        ("0.25", 0.25),
        ("86400", 86_400),
        ("999999999", 999_999_999),
        (str(int(NOON) + 30), 30),
        (f"{NOON + 30:.3f}", 30),
        (str(int(NOON) - 30), 0),
        (str(int(NOON + 30) * 1_000), 30),
    ],
)
def test_a_reset_in_unix_time_is_told_from_one_in_seconds(
    reset: str, seconds: float
) -> None:
    found = read(429, x_ratelimit_remaining="0", x_ratelimit_reset=reset)
    assert found == (0, seconds)


@pytest.mark.case("RA-6")
def test_unix_time_is_measured_by_the_servers_own_clock() -> None:
    """Which is an hour slow."""
    reset = str(int(NOON) - 3_600 + 30)
    fields = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": reset}
    assert read(429, **fields, date="Sun, 01 Jun 2025 11:00:00 GMT") == (0, 30)
    assert read(429, **fields, date="garbage") == (0, 0)


@pytest.mark.case("R15", "RL-26")
@pytest.mark.parametrize(
    "garbage",
    ["", "-1", "+1", "1e3", "1, 1", "1;w=60", "\u0662", "nan", "soon", "1\n", "1s"],
)
def test_usual_fields_that_are_no_numbers_are_ignored(garbage: str) -> None:
    fields = {"x_ratelimit_remaining": "3", "x_ratelimit_reset": "30"}
    assert read(429, **{**fields, "x_ratelimit_remaining": garbage}) is None
    assert read(429, **{**fields, "x_ratelimit_reset": garbage}) is None


NAMES = [
    *("ratelimit", "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset"),
    *("x-ratelimit-remaining", "x-ratelimit-reset", "age", "date"),
]
PIECES = [
    *('"a"', '"', "\\", ";", ",", "=", " ", "\t", "r=", "t=", "pk=", "qu=", "q=1"),
    *("remaining=", "reset=", "limit", "0", "1", "-", ".", "999999999999999", ":", "?"),
    *("@", "%", "(", ")", "*", "AAAA", "a", "\u00e9", "\udcff", "\0", "\n"),
    *("Sun, 01 Jun 2025 12:00:00 GMT", ';r=1;t=1,"b"'),
]
fields = st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.mark.parametrize(
    ("policy", "quota"),
    [
        ('"default";q=100;w=60', (100, 60)),
        ('"daily";q=9;w=86400, "default";q=100;w=60;qu="requests"', (100, 60)),
        ('"default";q=100', None),
        ('"default";q=0;w=60', None),
        ('"default";q=100;w=0', None),
        ('"another";q=100;w=60', None),
        ('"default";q=100;w=60;' + "x" * LONGEST, None),
        ("100;w=60", None),
        ("", None),
    ],
)
def test_the_policy_of_a_limit_names_its_quota(
    policy: str, quota: tuple[int, int] | None
) -> None:
    headers = {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": policy}
    found = parse(headers, status=200, wall=NOON)
    assert found == Announcement(50, 30.0, quota)


@pytest.mark.property
@pytest.mark.case("R15")
@given(
    headers=st.dictionaries(st.sampled_from(NAMES), fields),
    status=st.sampled_from([200, 429]),
    wall=st.floats(0, 4e9),
)
def test_whatever_is_sent_is_a_sane_announcement_or_none(
    headers: dict[str, str], status: int, wall: float
) -> None:
    found = parse(headers, status=status, wall=wall)
    if found is not None:
        assert type(found.remaining) is int
        assert found.remaining >= 0
        assert type(found.reset) is float
        assert 0 <= found.reset < math.inf


@pytest.mark.property
@given(
    limits=st.lists(
        st.tuples(st.integers(0, 10**15 - 1), st.integers(0, 10**15 - 1)), min_size=1
    )
)
def test_any_list_of_limits_is_read_or_too_long(limits: list[tuple[int, int]]) -> None:
    field = ", ".join(f'"{n}";r={r};t={t}' for n, (r, t) in enumerate(limits))
    least = min(remaining for remaining, _ in limits)
    longest = max(reset for remaining, reset in limits if remaining == least)
    found = parse({"ratelimit": field}, status=200, wall=NOON)
    expected = Announcement(least, float(longest)) if len(field) <= LONGEST else None
    assert found == expected
