"""What the records say: a row for each contender, and the bars."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.figures import Verdict
from benchmarks.overload.policies import OURS, Contender
from benchmarks.overload.scenario import (
    DROP,
    FAILING,
    FLOOD,
    SPIKE,
    Scale,
    Scenario,
)
from benchmarks.overload.world import Record

_WARM_UP: Final = 10
_SPAN: Final = 5
"""Seconds for which it must have been well to have recovered."""
_RECOVERED: Final = 0.95
"""Of the goodput before the trigger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One run in a few numbers; shares are of the requests offered meanwhile."""

    before: float
    during: float
    last: float
    """Goodput in the last seconds, when all should be well again."""
    tries_during: float
    """Requests sent for each that was offered."""
    tries_last: float
    recovered_in: float
    """Seconds from the end of the trigger; infinity for never."""


def summarize(record: Record, scale: Scale) -> Summary:
    """Return what a run comes to."""
    begins, ends, over = int(scale.begins), int(scale.ends), int(scale.over)
    last = over - int(scale.settled)
    warm = min(_WARM_UP, begins // 2)
    before = share(record.good, record.offered, warm, begins)
    recovered = (
        float(second - ends)
        for second in range(ends, over - _SPAN)
        if share(record.good, record.offered, second, second + _SPAN)
        >= _RECOVERED * before
    )
    return Summary(
        before=before,
        during=share(record.good, record.offered, begins, ends),
        last=share(record.good, record.offered, last, over),
        tries_during=share(record.tries, record.offered, begins, ends),
        tries_last=share(record.tries, record.offered, last, over),
        recovered_in=next(recovered, float("inf")),
    )


def share(of: Sequence[int], offered: Sequence[int], begin: int, end: int) -> float:
    """Return how many there were for each request offered, in a span of seconds."""
    return sum(of[begin:end]) / max(1, sum(offered[begin:end]))


def bars(
    scenario: Scenario, scale: Scale, found: Mapping[Contender, Sequence[Summary]]
) -> list[Verdict]:
    """Return the bars of a scenario for those who have some."""
    held: list[Verdict] = []
    for contender, runs in found.items():
        if contender is OURS:
            held += _ours(scenario, scale, runs)
        elif contender.is_control and scenario in (DROP, SPIKE):
            held += _control(scenario, contender, runs)
    return held


_Pick = Callable[[Sequence[float]], float]


def _control(
    scenario: Scenario, contender: Contender, runs: Sequence[Summary]
) -> list[Verdict]:
    """Hold the control to its collapse: else what is simulated is no overload."""
    return [
        Verdict(
            scenario.name,
            contender.name,
            "goodput at the end, at best: it must stay down",
            value=max(run.last for run in runs),
            bar=0.05,
        )
    ]


def _ours(scenario: Scenario, scale: Scale, runs: Sequence[Summary]) -> list[Verdict]:
    def verdict(
        claim: str, field: str, pick: _Pick, bar: float, *, least: bool
    ) -> Verdict:
        values = [getattr(run, field) for run in runs]
        return Verdict(scenario.name, OURS.name, claim, pick(values), bar, least)

    during = "goodput meanwhile"
    capacity = min(1.0, scenario.speed / (scale.load * scenario.spike))
    held: list[Verdict] = []
    if scenario in (DROP, SPIKE):
        held += [
            verdict(f"{during}, median", "during", median, 0.8 * capacity, least=True),
            verdict(f"{during}, worst", "during", min, 0.75 * capacity, least=True),
        ]
    elif scenario == FLOOD:
        held.append(verdict(f"{during}, median", "during", median, 0.085, least=True))
    else:
        held.append(verdict(f"{during}, median", "during", median, 0.95, least=True))
    most = 1.5 if scenario == FAILING else 1.25
    held.append(verdict("tries meanwhile", "tries_during", median, most, least=False))
    if scenario != FAILING:
        held.append(verdict("seconds to recover", "recovered_in", max, 5, least=False))
    held += [
        verdict("goodput at the end", "last", median, 0.99, least=True),
        verdict("tries at the end", "tries_last", median, 1.02, least=False),
    ]
    return held
