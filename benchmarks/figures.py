"""What the samples say, and the bars that they are held against."""

from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from benchmarks.rounds import Sample, Samples

BARE: Final = "bare"
"""What every other contender is set against: it does the work, and nothing else."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One contender in one setting: medians over the rounds.

    What is set against the bare one is so in each round, and the median taken after.
    """

    wall: float
    """µs."""
    cpu: float
    """µs."""
    spread: tuple[float, float]
    """The quartiles of `cpu`."""
    times_wall: float
    """Of what the bare one takes."""
    times_cpu: float
    adds: float
    """µs of CPU over the bare one."""

    @property
    def per_second(self) -> float:
        """Calls of all callers together."""
        return 1e6 / self.wall


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

    where: object
    """What was measured: a heading of the table."""
    contender: str
    claim: str
    """What is held against the bar."""
    value: float
    bar: float
    is_least: bool = False
    """Whether the value must be at least the bar; else at most."""

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.value >= self.bar if self.is_least else self.value <= self.bar

    @property
    def limit(self) -> str:
        """The bar in words."""
        return f"at {'least' if self.is_least else 'most'} {self.bar:.3g}"
