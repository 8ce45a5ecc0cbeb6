"""Who is played in which scenario, and how often.

Not all in each: those whose part is shown in one scenario do not go through the others,
and only ours, which bars are held against, have five
seeds. All of it would take half an hour.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.overload import policies
from benchmarks.overload.policies import Contender
from benchmarks.overload.scenario import (
    DROP,
    FAILING,
    FLOOD,
    SCENARIOS,
    SPIKE,
    Scenario,
)

_CAST: Final = {
    DROP: policies.CONTENDERS,
    SPIKE: (
        *(policies.NONE, policies.TENACITY, policies.CLIENT),
        *(policies.DEADLINES, policies.OURS),
    ),
    FLOOD: (policies.NONE, policies.SHED, policies.OURS),
    FAILING: (policies.NONE, policies.TENACITY, policies.CLIENT, policies.OURS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is played: how many seeds there are for whom, from 1."""

    scenarios: Sequence[Scenario]
    ours: int
    control: int
    others: int
    chosen: Sequence[Contender] = ()
    """Who is played, in every scenario. Empty: who has a part in it."""
    seeds: Sequence[int] = ()
    """With which seeds, instead. Empty: as many as there are for whom."""

    def of(self, scenario: Scenario) -> Iterator[tuple[Contender, Sequence[int]]]:
        """Return who is played in a scenario, and with which seeds."""
        for contender in self.chosen or _CAST[scenario]:
            count = max(self._count(contender), 1 if self.chosen else 0)
            if contender.is_installed and count > 0:
                yield contender, self.seeds or range(1, count + 1)

    def _count(self, contender: Contender) -> int:
        if contender is policies.OURS:
            return self.ours
        return self.control if contender.is_control else self.others


FULL: Final = Plan(scenarios=SCENARIOS, ours=5, control=3, others=1)
QUICK: Final = Plan(scenarios=(DROP, SPIKE), ours=1, control=1, others=0)
