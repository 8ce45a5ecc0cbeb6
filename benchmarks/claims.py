"""Sentences of other pages that quote figures, and where each figure comes from.

A sentence stands here as it stands there, with {} for what the newest runs say.
`python -m benchmarks.readme` puts it in, and a test holds it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.figures import Figures, figures
from benchmarks.kept import newest
from benchmarks.overload.scenario import DROP, SPIKE, Scale
from benchmarks.overload.summary import summarize
from benchmarks.overload.world import Record

_OURS: Final = "resilient_http"
_KIT: Final = "server_kit"
_BOTH: Final = "resilient_http + server_kit"


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence, or a part of one."""

    page: str
    """Where it stands, from the root of the checkout."""
    sentence: str
    """With {} for each figure. Its lines may be broken anywhere."""
    figures: Callable[[], Iterable[str]]
    """Returns what goes into its places, in order."""

    def found(self, text: str) -> "re.Match[str]":
        """Return where the sentence is, a group for each figure.

        Raises:
            ValueError: If it is not there, or more than once.

        """
        parts = [
            r"\s+".join(map(re.escape, part.split(" ")))
            for part in self.sentence.split("{}")
        ]
        hits = list(re.finditer("(.{1,40}?)".join(parts), text, re.DOTALL))
        if len(hits) != 1:
            raise ValueError(
                f"{self.page} must say this once, not {len(hits)} times:"
                f" {self.sentence!r}"
            )
        return hits[0]

    def told(self, text: str) -> str:
        """Return the page with the figures of the newest runs in it."""
        said = self.found(text)
        numbered = list(enumerate(self.figures(), 1))
        for number, figure in reversed(numbered):
            text = text[: said.start(number)] + figure + text[said.end(number) :]
        return text


def _of(
    benchmark: str, where: str, contender: str, figure: Callable[[Figures], float]
) -> list[float]:
    """Return one figure, as it is on each Python."""
    return [
        figure(figures(kept.samples[where])[contender]) for kept in newest(benchmark)
    ]


def _loopback() -> Iterable[str]:
    for family in ("httpx", "httpx2"):
        where = f"loopback, {family}, async"
        yield compared(_of("overhead", where, _OURS, lambda found: found.times_wall))


def _stub() -> Iterable[str]:
    where = "stub, httpx2, async"
    yield spread(_of("overhead", where, _OURS, lambda found: found.times_cpu), ".2f")


def _server() -> Iterable[str]:
    where = "a trivial Starlette route"
    own = _of("server", where, _KIT, lambda found: found.adds)
    logged = _of("server", where, f"{_KIT} + access log", lambda found: found.adds)
    yield spread(own, ".0f")
    yield spread([two - one for one, two in zip(own, logged, strict=True)], ".0f")


def _outage() -> Iterable[str]:
    bars = [bar for kept in newest("faults") for bar in kept.bars]
    spans = [bar.value for bar in bars if bar.claim == "s to answer all"]
    yield f"{1_000 * max(spans):.0f}"


def _shedding() -> Iterable[str]:
    shares: list[float] = []
    for kept in newest("overload"):
        scale = Scale(**kept.found["scale"])
        records = kept.found["per_second"][SPIKE.name][_BOTH]
        during = [summarize(Record(**it), scale).during for it in records]
        shares.append(100 * median(during) * scale.load * SPIKE.spike)
    yield spread(shares, ".0f")


def _drop() -> Iterable[str]:
    yield spread(_meanwhile("overload", DROP.name, is_ours=True), ".1f")


def _spike() -> Iterable[str]:
    for where in ("real", "virtual"):
        for is_ours in (True, False):
            yield spread(_meanwhile("spike", where, is_ours=is_ours), ".1f")


def _meanwhile(benchmark: str, where: str, *, is_ours: bool) -> list[float]:
    """Return the goodput meanwhile, in %, of both ends or of who else there is."""
    found: list[float] = []
    for kept in newest(benchmark):
        scale = Scale(**kept.found["scale"])
        played = kept.found["per_second"][where]
        (name,) = [one for one in played if (one == _BOTH) is is_ours]
        runs = [summarize(Record(**it), scale).during for it in played[name]]
        found.append(100 * median(runs))
    return found


def spread(values: Sequence[float], form: str) -> str:
    """Return the least and the most of some figures in words, or the one there is."""
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"


def compared(ratios: Sequence[float]) -> str:
    """Return by how much less or more these ratios are than one, in words."""
    low, high = (round(100 * (it - 1)) for it in (min(ratios), max(ratios)))
    if low < 0 < high:
        return f"from {-low} % less to {high} % more"
    word = "less" if sum(ratios) < len(ratios) else "more"
    least, most = sorted((abs(low), abs(high)))
    if most == 0:
        return f"under 1 % {word}"
    if least == most:
        return f"{most} % {word}"
    return f"up to {most} % {word}" if least == 0 else f"{least} to {most} % {word}"


CLAIMS: Final = (
    Claim(
        "README.md",
        "over loopback a call on httpx takes {} time than without it, on httpx2 {} (",
        _loopback,
    ),
    Claim(
        "README.md",
        "With both ends from here {} % of what is asked for is answered in time",
        _drop,
    ),
    Claim(
        "README.md",
        "# {} % of capacity at three times the load",
        _shedding,
    ),
    Claim(
        "README.md",
        "but the log adds {} µs to a trivial route, and the log {} more (",
        _server,
    ),
    Claim(
        "README.md",
        "and takes {} ms at most when Redis is gone",
        _outage,
    ),
    Claim(
        "docs/overload.md",
        "ours answered in time {} % of what was asked for, and tenacity {} %; in"
        " virtual time, {} and {} %.",
        _spike,
    ),
    Claim(
        "CHANGELOG.md",
        "less CPU than one of httpx, and {} of one of httpx2, over a transport",
        _stub,
    ),
)
"""Every figure about speed that a page quotes.

But for those in docs/decisions: they say what was seen when something was decided.
"""
