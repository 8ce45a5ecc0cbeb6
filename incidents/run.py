"""One schedule, from its seed to what was found."""

from collections import Counter
from dataclasses import dataclass, field

from incidents import invariants, loop
from incidents.invariants import Violation
from incidents.schedule import Schedule, draw
from incidents.world import World


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one schedule."""

    schedule: Schedule
    violations: list[Violation]
    met: Counter[str]
    trace: list[str] = field(default_factory=list)


def run(schedule: Schedule, *, trace: bool = False) -> Report:
    """Run a schedule, and look at what it has left behind."""
    world = World(schedule, trace=trace)
    try:
        loop.run(world.run, world.network.connect, schedule.seed)
        violations = invariants.broken(world)
    except loop.EndlessError as error:
        violations = [Violation("comes_to_an_end", str(error))]
    finally:
        world.close()
    return Report(schedule, violations, world.met, world.trace)


def run_seed(seed: int, *, trace: bool = False) -> Report:
    """Run the schedule of a seed."""
    return run(draw(seed), trace=trace)


def shrunk(report: Report) -> Schedule:
    """Return the schedule of `report` without what it takes no part in.

    What is left is broken in the same way, and would not be without any of its parts.
    """
    schedule, name = report.schedule, report.violations[0].name
    size, count = len(schedule.parts()) // 2, 0
    while size:
        parts = schedule.parts()
        if size == 1 and len(parts) == count:
            break
        count = len(parts)
        for start in range(0, len(parts), size):
            smaller = schedule.without(parts[start : start + size])
            if any(found.name == name for found in run(smaller).violations):
                schedule = smaller
        size = max(1, size // 2)
    return schedule
