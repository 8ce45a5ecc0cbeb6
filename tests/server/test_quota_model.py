"""The machines against slow and obvious lists, and what must hold at any time."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server_kit.ratelimit.machines import Account, Algorithm
from tests.server.accounts import ALGORITHMS, InSeconds

MOST_SLICES = 30
GRID = 64  # parts of a second: such times add up exactly in floats

limits = st.sampled_from([1, 2, 7, 10, 15, 19, 20, 29, 30, 100])
windows = st.sampled_from([0.25, 1.0, 7.0, 60.0])
costs = st.one_of(st.just(1), st.integers(1, 30))
# Gaps in windows: many calls at once, calls that just miss each other, long silence.
gaps = st.one_of(st.just(0.0), st.floats(0, 0.2), st.sampled_from([0.1, 0.9, 1.0, 2.5]))
steps = st.lists(st.tuples(gaps, costs, st.integers(1, 40)), max_size=30)

Steps = list[tuple[float, int, int]]
Admissions = list[tuple[float, int]]


def on_grid(gap: float, window: float) -> float:
    return round(gap * window * GRID) / GRID


def play(machine: InSeconds, limit: int, window: float, script: Steps) -> Admissions:
    """Make calls as `script` says; return when what was taken."""
    admitted: Admissions = []
    now = 0.0
    for gap, cost, times in script:
        now += on_grid(gap, window)
        for _ in range(times):
            asked = min(cost, limit)
            if machine.wait(asked, now) == 0:
                machine.charge(asked, now)
                admitted.append((now, asked))
    return admitted


@pytest.mark.property
@given(limit=limits, window=windows, script=steps)
def test_no_window_however_placed_holds_more_than_11_tenths_of_the_limit(
    limit: int, window: float, script: Steps
) -> None:
    admitted = play(InSeconds("sliding_window", limit, window), limit, window, script)
    for end, _ in admitted:  # the fullest windows end with an admission
        held = sum(cost for at, cost in admitted if end - window < at <= end)
        assert held * 10 <= limit * 11


@pytest.mark.property
@given(limit=limits, window=windows, script=steps)
def test_a_fresh_window_holds_no_more_than_the_limit(
    limit: int, window: float, script: Steps
) -> None:
    admitted = play(InSeconds("sliding_window", limit, window), limit, window, script)
    assume(admitted)
    start = admitted[0][0]
    assert sum(cost for at, cost in admitted if at < start + window) <= limit


@pytest.mark.property
@given(limit=limits, window=windows, script=steps)
def test_what_an_exact_log_would_allow_is_allowed(
    limit: int, window: float, script: Steps
) -> None:
    machine, now = InSeconds("sliding_window", limit, window), 0.0
    admitted: Admissions = []
    for gap, cost, times in script:
        now += on_grid(gap, window)
        for _ in range(times):
            asked = min(cost, limit)
            logged = sum(cost for at, cost in admitted if at > now - window)
            if machine.wait(asked, now) == 0:
                machine.charge(asked, now)
                admitted.append((now, asked))
            else:
                assert logged + asked > limit


@pytest.mark.property
@given(limit=limits, window=windows, script=steps)
def test_a_window_is_remembered_in_a_few_slices(
    limit: int, window: float, script: Steps
) -> None:
    machine = InSeconds("sliding_window", limit, window)
    play(machine, limit, window, script)
    assert machine.slices() < MOST_SLICES


@pytest.mark.property
@given(limit=limits, window=windows, script=steps)
def test_a_bucket_lets_through_what_exact_arithmetic_does(
    limit: int, window: float, script: Steps
) -> None:
    admitted = play(InSeconds("token_bucket", limit, window), limit, window, script)
    level, before, now = Fraction(limit), Fraction(0), 0.0
    expected: Admissions = []
    for gap, cost, times in script:
        now += on_grid(gap, window)
        level += (Fraction(now) - before) * limit / Fraction(window)
        level, before = min(level, Fraction(limit)), Fraction(now)
        for _ in range(times):
            asked = min(cost, limit)
            if level >= asked:
                level -= asked
                expected.append((now, asked))
    assert admitted == expected


any_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
MICROSECOND = 1.5e-6  # and what a float makes of it
starts = st.floats(-1e6, 2e9)
any_window = st.one_of(windows, st.floats(0.001, 1e6))


@pytest.mark.property
@pytest.mark.case("S28")
@any_algorithm
@given(limit=st.integers(1, 1_000), window=any_window, now=starts, script=steps)
def test_waiting_exactly_as_long_as_told_is_enough(
    algorithm: Algorithm, limit: int, window: float, now: float, script: Steps
) -> None:
    machine = InSeconds(algorithm, limit, window)
    for gap, cost, times in script:
        now += gap * window
        asked = min(cost, limit)
        for _ in range(times):
            wait = machine.wait(asked, now)
            assert 0 <= wait <= window + MICROSECOND
            now += wait
            assert machine.wait(asked, now) == 0
            machine.charge(asked, now)
    assert machine.used(now + machine.reset(now)) == 0


@pytest.mark.property
@any_algorithm
@given(limit=limits, window=any_window, now=starts, script=steps)
def test_there_is_room_for_what_is_left_and_for_no_more(
    algorithm: Algorithm, limit: int, window: float, now: float, script: Steps
) -> None:
    machine = InSeconds(algorithm, limit, window)
    assert machine.used(now) == 0
    for gap, cost, _ in script:
        now += gap * window
        left = limit - machine.used(now)
        assert 0 <= left <= limit
        assert machine.wait(left, now) == 0
        assert left == limit or machine.wait(left + 1, now) > 0
        machine.charge(min(cost, left), now)


@pytest.mark.property
@any_algorithm
@given(
    limit=limits,
    window=any_window,
    script=st.lists(st.tuples(starts, costs), max_size=50),
)
def test_wherever_the_clock_jumps_the_wait_is_a_window_at_most(
    algorithm: Algorithm,
    limit: int,
    window: float,
    script: list[tuple[float, int]],
) -> None:
    machine = InSeconds(algorithm, limit, window)
    for now, cost in script:
        asked = min(cost, limit)
        wait = machine.wait(asked, now)
        assert 0 <= wait <= window + MICROSECOND
        if wait == 0:
            machine.charge(asked, now)
        assert 0 <= machine.used(now) <= limit
        assert 0 <= machine.reset(now) <= window + MICROSECOND


@pytest.mark.case("S18")
def test_a_million_admissions_are_where_arithmetic_has_them() -> None:
    limit, window, began = 997, 86_400_000_000, 1_800_000_000_000_000
    account = Account("token_bucket", limit, window)
    now = began
    for number in range(1_000_000):
        now += account.wait(1, now)
        account.forward(now)
        account.charge(1, now)
        returned = max(0, number + 1 - limit)
        assert now == began - (-returned * window // limit)
