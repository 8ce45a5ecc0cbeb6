"""The world of benchmarks/overload, smaller: does it collapse, and do we come back?"""

from dataclasses import replace
from functools import cache

import pytest

from benchmarks import spike
from benchmarks.overload.live import play_live
from benchmarks.overload.plan import FULL, QUICK
from benchmarks.overload.policies import LOOP, NONE, OURS, Contender
from benchmarks.overload.scenario import DROP, SPIKE, Scale, Scenario
from benchmarks.overload.summary import Summary, summarize
from benchmarks.overload.world import Record, play

SCALE = Scale(clients=5, servers=1, begins=10, ends=20, over=60, settled=15)


@cache
def played(contender: Contender, scenario: Scenario) -> Record:
    return play(contender, scenario, SCALE, seed=1)


def summary(contender: Contender, scenario: Scenario) -> Summary:
    return summarize(played(contender, scenario), SCALE)


@pytest.mark.parametrize("scenario", [DROP, SPIKE], ids=lambda it: it.name)
def test_naive_retries_keep_a_service_down_when_the_trigger_is_over(
    scenario: Scenario,
) -> None:
    """Else what is simulated is no overload."""
    run = summary(LOOP, scenario)
    assert run.before > 0.95
    assert run.last < 0.05
    assert run.tries_last > 3.5


def test_without_retries_it_comes_back_when_its_queue_is_served() -> None:
    run = summary(NONE, DROP)
    assert run.during < 0.1
    assert 5 < run.recovered_in < 40
    assert run.last > 0.98


def test_the_same_seed_is_the_same_run() -> None:
    assert play(LOOP, DROP, SCALE, seed=1) == played(LOOP, DROP)


@pytest.mark.parametrize("scenario", [DROP, SPIKE], ids=lambda it: it.name)
def test_ours_answers_while_it_lasts_and_is_back_at_once(scenario: Scenario) -> None:
    capacity = scenario.speed / (SCALE.load * scenario.spike)
    run = summary(OURS, scenario)
    assert run.during >= 0.5 * capacity
    assert run.tries_during <= 1.5
    assert run.recovered_in <= 5
    assert run.last >= 0.95
    assert run.tries_last <= 1.05


def test_ours_is_played_with_five_seeds_and_most_others_with_one() -> None:
    played = {one.name: list(seeds) for one, seeds in FULL.of(DROP)}
    assert played[OURS.name] == [1, 2, 3, 4, 5]
    assert played[NONE.name] == [1]
    assert LOOP.name not in played


def test_who_is_chosen_is_played_and_with_which_seeds() -> None:
    plan = replace(QUICK, chosen=[LOOP, NONE], seeds=range(11, 13))
    assert list(plan.of(SPIKE)) == [(LOOP, range(11, 13)), (NONE, range(11, 13))]
    chosen_alone = replace(QUICK, chosen=[NONE])
    assert list(chosen_alone.of(SPIKE)) == [(NONE, range(1, 2))]
    seeds_alone = replace(QUICK, seeds=range(11, 13))
    assert (OURS, range(11, 13)) in list(seeds_alone.of(SPIKE))
    assert NONE not in dict(seeds_alone.of(SPIKE))


@pytest.mark.parametrize("contender", [LOOP, OURS], ids=lambda it: it.name)
def test_the_same_world_can_be_played_over_real_sockets(contender: Contender) -> None:
    """For three seconds: too little to say more than that it runs."""
    run = play_live(contender, SPIKE, spike.QUICK, seed=1)
    assert sum(run.record.offered) > 100
    assert sum(run.record.tries) >= sum(run.record.offered)
    assert 0 < sum(run.record.good) <= sum(run.record.offered)
    assert run.servers > 0
