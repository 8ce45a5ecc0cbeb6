"""What is left of a service that is asked for more than it has, in virtual time."""

import statistics

import pytest

from server_kit import Shedding
from tests.server.overload import CAPACITY, Overload

SEEDS = range(1, 4)


@pytest.fixture(scope="module")
def spikes() -> list[Overload]:
    return [Overload(shedding=Shedding(), spike=3, seed=seed).run() for seed in SEEDS]


def worst_and_median(runs: list[Overload]) -> tuple[float, float]:
    goodputs = [run.goodput / CAPACITY / run.speed for run in runs]
    return min(goodputs), statistics.median(goodputs)


@pytest.mark.case("R39")
def test_three_times_the_load_leaves_the_goodput_of_the_capacity(
    spikes: list[Overload],
) -> None:
    worst, median = worst_and_median(spikes)
    assert worst >= 0.85
    assert median >= 0.9


@pytest.mark.case("R39")
def test_ten_times_the_load_costs_little_more_than_the_refusals() -> None:
    run = Overload(shedding=Shedding(), spike=10, seconds=5).run()
    share = run.good.total() / run.offered.total()
    assert share >= 0.085  # of 0.143, and 0.098 after the cost of refusing the rest


@pytest.mark.case("R39")
def test_a_fifth_of_the_capacity_is_used_while_there_is_no_more() -> None:
    drops = [
        Overload(shedding=Shedding(), speed=0.2, seconds=30, seed=seed).run()
        for seed in SEEDS
    ]
    worst, median = worst_and_median(drops)
    assert worst >= 0.8
    assert median >= 0.85


def test_afterwards_everything_is_served_at_once(spikes: list[Overload]) -> None:
    for run in spikes:
        assert sum(run.after[-1_000:]) >= 990
        assert sum(run.after[:500]) >= 450


def test_most_are_refused_without_having_waited(spikes: list[Overload]) -> None:
    for run in spikes:
        assert statistics.median(run.refusals) <= 0.005
        assert max(run.refusals) <= 0.251


def test_what_a_service_can_bear_is_never_refused() -> None:
    run = Overload(shedding=Shedding(), seconds=20).run()
    assert run.refused.total() == 0
    assert run.good == run.offered


def test_without_shedding_the_same_spike_leaves_nearly_nothing() -> None:
    """Else the simulation shows nothing."""
    assert Overload(shedding=None, spike=3, tells=False).run().goodput < 0.4 * CAPACITY


def test_shedding_works_for_callers_that_tell_no_time() -> None:
    run = Overload(shedding=Shedding(), spike=3, tells=False).run()
    assert run.goodput >= 0.85 * CAPACITY


@pytest.mark.case("R39", "S59")
def test_what_is_critical_is_served_and_what_is_sheddable_is_not() -> None:
    paths = ["/pay", "/browse", "/export"]
    shedding = Shedding(priorities={"/pay": "critical", "/export": "sheddable"})
    run = Overload(
        shedding=shedding, spike=3, paths=lambda rng: rng.choices(paths, [1, 2, 2])[0]
    ).run()
    pay, browse, export = (run.good[path] / run.offered[path] for path in paths)
    assert pay >= 0.97
    assert pay > browse > export
    assert run.goodput >= 0.85 * CAPACITY
