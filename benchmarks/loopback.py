"""How many calls does a client make in a second? `python -m benchmarks.loopback`.

The whole client, down to its sockets: one caller, and a crowd of them, on connections
that are kept alive. README.md says what it shows and what it does not.
"""

import asyncio
import sys
from dataclasses import dataclass
from random import Random
from typing import Any, Final, get_args

from benchmarks import answerer
from benchmarks.figures import BARE, Figures
from benchmarks.options import options
from benchmarks.peers import clients, left_out
from benchmarks.report import Run, console, end, table
from benchmarks.rounds import Plan, Repeat, Samples, measure, side_by_side
from benchmarks.setting import Family, Setting

FULL: Final = Plan(rounds=12, calls=320)
QUICK: Final = Plan(rounds=3, calls=64)

CROWDS: Final = (1, 32)
"""Callers at once. Each calls again as soon as it has its answer."""

_OK: Final = 200
_HEADS: Final = ("calls a second", "x bare", "CPU, µs", "quartiles", "x bare", "adds")
_PACKAGES: Final = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "httpx-aiohttp", "aiohttp", "h11"),
    *("anyio", "sniffio", "pydantic", "tenacity", "purgatory", "aiolimiter"),
    *("httpx-retries", "interlock-cb", "clientwright"),
)


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many callers of one client, in a setting."""

    setting: Setting
    callers: int

    def __str__(self) -> str:
        """Return its heading."""
        plural = "s" if self.callers > 1 else ""
        return f"{self.setting.family}, {self.callers} caller{plural}"


def main() -> int:
    """Measure everything and print it; with `--check` return 1 if a bar fails."""
    told = options("loopback").parse_args()
    run = measured(QUICK if told.quick else FULL)
    return end(run, table(run, _HEADS, _cells), told)


def measured(plan: Plan) -> Run:
    """Return what calls take, of one caller and of a crowd."""
    run = Run("loopback", "Calls over loopback", plan, _PACKAGES)
    with answerer.running() as url, console().status("") as status:
        for crowd in _crowds():
            status.update(f"{crowd}: {plan.rounds} rounds")
            run.samples[crowd] = asyncio.run(_samples(crowd, url, plan))
            run.left_out[crowd] = left_out(crowd.setting)
    return run


def _crowds() -> list[Crowd]:
    return [
        Crowd(Setting(family, "async", "loopback"), callers)
        for callers in CROWDS
        for family in get_args(Family)
    ]


async def _samples(crowd: Crowd, url: str, plan: Plan) -> Samples:
    built = clients(crowd.setting)
    repeats = {
        name: _repeat(client, url, crowd.callers) for name, client in built.items()
    }
    samples = await measure(repeats, plan, Random())
    for client in built.values():
        await client.aclose()
    return samples


def _repeat(client: Any, url: str, callers: int) -> Repeat:
    async def call(url: str) -> None:
        response = await client.get(url)
        assert response.status_code == _OK

    return side_by_side(call, [url] * callers)


def _cells(name: str, found: Figures) -> tuple[str, ...]:
    low, high = found.spread
    rate, cpu = f"{found.per_second:.0f}", f"{found.cpu:.0f}"
    spread = f"{low:.0f} to {high:.0f}"
    if name == BARE:
        return rate, "", cpu, spread, "", ""
    times_rate, times_cpu = f"{1 / found.times_wall:.2f}", f"{found.times_cpu:.2f}"
    return rate, times_rate, cpu, spread, times_cpu, f"{found.adds:+.0f}"


if __name__ == "__main__":
    sys.exit(main())
