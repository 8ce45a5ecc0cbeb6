"""The limit on requests in flight against services that obey Little's law."""

import heapq
from collections.abc import Callable
from functools import partial
from itertools import cycle
from operator import mul

import pytest

from server_kit.shedding.adaptive import SAMPLES, SPAN, AdaptiveLimit

SLACK = 0.1


class Service:
    """Answers always as many as the limit allows, and takes as long as told."""

    def __init__(self, limit: AdaptiveLimit, latency: Callable[[int], float]) -> None:
        self.limit = limit
        self.latency = latency
        self.now = 0.0

    def span(self, in_flight: int | None = None, samples: int = 200) -> int:
        """Answer for one span; return the limit after it."""
        era = self.limit.era
        for _ in range(samples):
            busy = self.limit.value if in_flight is None else in_flight
            self.now += 1.01 * SPAN / (samples - 1)
            self.limit.answered(self.latency(busy), era, busy, busy, self.now)
        return self.limit.value


def bounded_by(rate: float, least: float = 0.02) -> Callable[[int], float]:
    """Return the latency of a service that answers so many a second."""
    return lambda in_flight: max(least, in_flight / rate)


def always(latency: float) -> Callable[[int], float]:
    """Return the latency of a service that always takes as long."""
    return lambda _: latency


def served(latency: Callable[[int], float], **options: int) -> Service:
    limits = {"start": 40, "least": 1, "most": 1_000} | options
    return Service(AdaptiveLimit(**limits, slack=SLACK), latency)


def test_a_limit_that_holds_nobody_back_stays() -> None:
    service = served(bounded_by(200))
    assert [service.span(in_flight=4) for _ in range(100)] == [40] * 100


def test_while_latency_stays_a_limit_that_binds_doubles_up_to_the_most() -> None:
    service = served(bounded_by(1e9))
    assert [service.span() for _ in range(6)] == [80, 160, 320, 640, 1_000, 1_000]


def test_what_was_borne_once_is_given_up_when_it_is_not_used() -> None:
    service = served(bounded_by(1e9))
    for _ in range(3):
        service.span()
    assert service.limit.value == 320
    limits = [service.span(in_flight=4) for _ in range(100)]
    assert limits[10] > 200
    assert limits[-1] == 40


def test_latencies_may_vary_by_half_of_a_base_that_is_long() -> None:
    for latency, limit in [(0.43, 80), (0.47, 38)]:
        service = served(lambda _: 0.3)
        service.span(in_flight=4)
        service.latency = always(latency)
        assert service.span() == limit


def test_but_by_no_more_than_twice_the_slack() -> None:
    service = served(lambda _: 1.0)
    service.span(in_flight=4)
    service.latency = always(1.25)
    assert service.span() == 38


def test_what_is_tried_and_does_not_bind_is_not_raised() -> None:
    service = served(bounded_by(1e9))
    assert service.span(in_flight=39) == 40


def test_latency_above_what_it_should_be_lowers_the_limit_in_proportion() -> None:
    service = served(bounded_by(1e9))
    service.span(in_flight=4)  # the base is 0.02
    service.latency = lambda _: 0.15
    assert service.span() == 32  # 40 * (0.02 + 0.1) / 0.15


def test_the_limit_settles_where_latency_is_the_base_and_the_slack() -> None:
    service = served(bounded_by(200))
    for _ in range(5):
        service.span(in_flight=4)
    settled = [service.span() for _ in range(200)][20:]
    assert max(settled) <= 1.3 * 200 * (0.02 + SLACK)
    assert min(settled) >= 0.7 * 200 * (0.02 + SLACK)


def test_a_loss_of_capacity_is_followed_within_seconds() -> None:
    service = served(bounded_by(200))
    for _ in range(5):
        service.span(in_flight=4)
    service.latency = bounded_by(40, least=0.1)
    assert [service.span() for _ in range(6)][-1] <= 8
    service.latency = bounded_by(200)
    assert max(service.span() for _ in range(10)) >= 20


def test_a_dependency_that_is_slower_does_not_shrink_the_limit_for_good() -> None:
    service = served(bounded_by(1e9))
    service.span(in_flight=4)
    service.latency = lambda _: 0.6  # however few there are
    limits = [service.span() for _ in range(10)]
    assert limits[:2] == [20, 40]
    assert min(limits) == 20
    assert limits[-1] > 100


def test_two_cuts_that_lower_latency_are_judged_each_for_itself() -> None:
    service = served(bounded_by(1e9))
    service.span(in_flight=4)
    for latency, limit in [(0.9, 20), (0.5, 10), (0.3, 5)]:
        service.latency = always(latency)
        assert service.span() == limit
    assert service.span() == 10  # as with 5 it is no better than with 10


def test_a_cut_is_judged_by_what_was_seen_since_calmer_times() -> None:
    service = served(bounded_by(1e9))
    service.span(in_flight=4)
    service.latency = always(0.15)
    assert service.span() == 32
    service.latency = always(0.02)
    service.span()
    service.latency = always(0.5)
    assert service.span() == 20  # of the 40 that it was again
    service.latency = always(0.2)  # better than 0.5, though worse than 0.15
    assert service.span() == 12


def test_the_base_follows_what_is_seen_in_calm() -> None:
    service = served(bounded_by(1e9))
    service.span(in_flight=4)
    service.latency = always(0.3)
    for _ in range(100):  # as a deployment may make of it
        service.span(in_flight=4)
    assert service.span() == 80
    service.latency = always(0.02)
    for _ in range(10):
        service.span(in_flight=4)
    service.latency = always(0.3)
    assert service.span() < service.limit.value * 2


def test_what_slows_nothing_when_lowered_is_base_only_once() -> None:
    service = served(bounded_by(1e9))
    service.span(in_flight=4)
    service.latency = lambda _: 0.6
    for _ in range(4):
        service.span()
    service.latency = lambda _: 0.02  # it was a passing trouble, and the base falls
    for _ in range(10):
        service.span(in_flight=4)
    before = service.limit.value
    service.latency = lambda _: 0.3
    assert service.span() < before


def test_what_was_admitted_before_a_cut_says_nothing_of_it() -> None:
    service = served(bounded_by(1e9))
    service.span(in_flight=4)
    service.latency = lambda _: 0.6
    assert service.span() == 20
    assert service.limit.era == 1
    for _ in range(1_000):
        service.limit.answered(0.6, 0, 40, 40, service.now + 10)
    assert service.limit.value == 20


def test_a_span_has_samples_enough_to_mean_anything() -> None:
    limit = served(bounded_by(1e9)).limit
    for number in range(SAMPLES - 1):
        limit.answered(0.02, 0, 40, 40, 10.0 * number)
    assert limit.value == 40
    limit.answered(0.02, 0, 40, 40, 1_000)
    assert limit.value == 80


@pytest.mark.parametrize("latency", [0.001, 0.5, 30.0])
def test_the_limit_stays_within_its_bounds(latency: float) -> None:
    service = served(lambda _: latency, start=8, least=5, most=9)
    service.span(in_flight=1)
    for factor in (1, 100, 1, 10_000, 1):
        service.latency = partial(mul, factor * latency / 5)
        assert all(5 <= service.span() <= 9 for _ in range(5))


def test_a_limit_whose_bounds_are_one_does_not_adapt() -> None:
    service = served(bounded_by(1), start=3, least=3, most=3)
    assert {service.span() for _ in range(20)} == {3}


class App:
    """One that is sent so many a second, and admits as many as its limit says."""

    def __init__(self, *, side_by_side: bool) -> None:
        self.limit = AdaptiveLimit(40, 1, 1_000, slack=SLACK)
        self.now = self.free_at = 0.0
        self.in_flight: list[tuple[float, float, int]] = []
        self.side_by_side = side_by_side
        self.latencies: list[float] = []
        self.most = 0

    def run(self, seconds: float, rate: float, *works: float) -> int:
        """Let each request take the next of `works`; return how many were answered."""
        self.latencies, self.most = [], 0
        turns, end = cycle(works), self.now + seconds
        while self.now < end:
            self.now += 1 / rate
            self.answer()
            self.limit.look(self.now)
            work = next(turns)
            if len(self.in_flight) < self.limit.value:
                begins = self.now if self.side_by_side else max(self.now, self.free_at)
                self.free_at = begins + work
                admitted = (self.free_at, self.now, self.limit.era)
                heapq.heappush(self.in_flight, admitted)
            self.most = max(self.most, len(self.in_flight))
        return len(self.latencies)

    def answer(self) -> None:
        while self.in_flight and self.in_flight[0][0] <= self.now:
            busy = len(self.in_flight)
            at, since, era = heapq.heappop(self.in_flight)
            self.latencies.append(at - since)
            self.limit.answered(at - since, era, busy, busy, at)


def test_a_crowd_is_let_pass_and_then_as_many_are_admitted_as_can_be_served() -> None:
    app = App(side_by_side=False)
    app.run(10, 35, 0.02)
    assert app.limit.value == 40
    app.run(3, 35, 0.1)  # a fifth of the capacity
    assert app.most <= 16  # where 40 would be there after 1.6 s, and wait for 4 s
    assert app.run(20, 35, 0.1) >= 180
    assert max(app.latencies) <= 0.5


def test_what_is_slow_and_not_crowded_gets_its_limit_back() -> None:
    app = App(side_by_side=True)
    app.run(10, 35, 0.05)
    app.run(4, 35, 1.0)  # 35 in flight, and fewer would be no faster
    app.run(6, 35, 1.0)
    assert app.limit.value >= 40
    assert app.run(3, 35, 1.0) >= 100


def test_few_slow_requests_beside_quick_ones_are_no_crowd() -> None:
    app = App(side_by_side=True)
    app.run(10, 20, 0.02)
    app.run(40, 20, *[0.02] * 19, 10.0)
    assert app.most >= 8
    assert app.limit.era == 0


def test_a_burst_after_a_pause_is_no_crowd() -> None:
    app = App(side_by_side=False)
    app.run(10, 35, 0.02)
    app.now += 60
    app.run(0.05, 200, 0.02)  # ten at once
    app.run(1, 35, 0.02)
    assert app.limit.era == 0


def test_a_crowd_that_does_not_move_is_not_waited_for_for_ever() -> None:
    app = App(side_by_side=False)
    app.run(10, 35, 0.02)
    app.run(1, 35, 0.1)
    assert app.limit.value < 5
    app.limit.look(app.now + 0.1)
    assert app.limit.value < 5
    app.limit.look(app.now + 60)
    assert app.limit.value == 40


def test_those_that_are_answered_and_not_over_are_no_crowd() -> None:
    """Streams hold their places, and nobody waits for their answers."""
    limit = served(bounded_by(1e9)).limit
    for number in range(400):
        limit.answered(0.02 if number < 100 else 0.1, 0, 40, 4, number / 20)
    assert limit.era == 0
