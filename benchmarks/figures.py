"""What the samples say, and the bars that they are held against."""

from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from benchmarks.peers import BARE, GLUE, OURS, WITH_AIOHTTP
from benchmarks.rounds import Plan, Sample, Samples
from benchmarks.setting import Family, Setting

OF_GLUE: Final = 1 / 4
TIMES_BARE: Final = 1.25
TIMES_BARE_LOOPBACK: Final = 1.05
TIMES_BARE_AIOHTTP: Final = 0.7
KIB_PER_ORIGIN: Final = 4.0


@dataclass(slots=True)
class Run:
    """Everything that was measured."""

    plan: Plan
    samples: dict[Setting, Samples] = field(default_factory=dict)
    left_out: dict[Setting, dict[str, str]] = field(default_factory=dict)
    """Why who did not take part did not."""
    memory: dict[Family, dict[str, float]] = field(default_factory=dict)
    """Bytes for each idle origin."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One contender in one setting: medians over the rounds.

    What is set against plain httpx is so in each round, and the median taken after.
    """

    wall: float
    """µs."""
    cpu: float
    """µs."""
    spread: tuple[float, float]
    """The quartiles of `cpu`."""
    times_wall: float
    """Of what plain httpx takes."""
    times_cpu: float
    adds: float
    """µs of CPU over plain httpx."""


def figures(samples: Samples) -> dict[str, Figures]:
    """Return the figures of each contender."""
    return {name: _figures(own, samples[BARE]) for name, own in samples.items()}


def _figures(own: list[Sample], bare: list[Sample]) -> Figures:
    pairs = list(zip(own, bare, strict=True))
    low, middle, high = quantiles((sample.cpu for sample in own), n=4)
    return Figures(
        wall=median(sample.wall for sample in own),
        cpu=middle,
        spread=(low, high),
        times_wall=median(mine.wall / plain.wall for mine, plain in pairs),
        times_cpu=median(mine.cpu / plain.cpu for mine, plain in pairs),
        adds=median(mine.cpu - plain.cpu for mine, plain in pairs),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar, and whether it holds."""

    where: Setting | Family
    """A family alone: the memory of its clients."""
    contender: str
    claim: str
    """What is to be at most `bar`."""
    value: float
    bar: float

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.value <= self.bar


def verdicts(run: Run) -> list[Verdict]:
    """Hold the run against every bar that it can be held against."""
    found: list[Verdict] = []
    for setting, samples in run.samples.items():
        if setting.colour == "async" and setting.over == "stub":
            found += _of_stub(setting, figures(samples))
        if setting.colour == "async" and setting.over == "loopback":
            found += _of_loopback(setting, figures(samples))
    found += [
        Verdict(family, OURS, "KiB", kept[OURS] / 1024, KIB_PER_ORIGIN)
        for family, kept in run.memory.items()
    ]
    return found


def _of_stub(setting: Setting, found: dict[str, Figures]) -> list[Verdict]:
    ours = found[OURS]
    bars = [Verdict(setting, OURS, "x bare, CPU", ours.times_cpu, TIMES_BARE)]
    if GLUE in found:
        share = ours.adds / found[GLUE].adds
        bars.append(Verdict(setting, OURS, "of what glue adds", share, OF_GLUE))
    return bars


def _of_loopback(setting: Setting, found: dict[str, Figures]) -> list[Verdict]:
    wall = found[OURS].times_wall
    bars = [Verdict(setting, OURS, "x bare, wall", wall, TIMES_BARE_LOOPBACK)]
    if (faster := OURS + WITH_AIOHTTP) in found:
        cpu = found[faster].times_cpu
        bars.append(Verdict(setting, faster, "x bare, CPU", cpu, TIMES_BARE_AIOHTTP))
    return bars
