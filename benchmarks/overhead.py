"""What does a call cost that goes well? `python -m benchmarks.overhead`.

Over a stub transport, where nothing is measured but Python, and over loopback, where a
request leaves the process. README.md says what it shows and what it does not.
"""

import asyncio
import sys
from random import Random
from typing import Any, Final, get_args

from rich.table import Table

from benchmarks import answerer
from benchmarks.figures import Verdict, figures
from benchmarks.memory import bytes_per_origin
from benchmarks.options import options
from benchmarks.peers import GLUE, OURS, WITH_AIOHTTP, clients, left_out
from benchmarks.report import Run, bars, console, end, row, section, table
from benchmarks.rounds import Plan, Repeat, Samples, measure
from benchmarks.setting import Colour, Family, Over, Setting

FULL: Final = Plan(rounds=40, calls=100)
QUICK: Final = Plan(rounds=5, calls=20)

OF_GLUE: Final = 1 / 4
TIMES_BARE: Final = 1.25
TIMES_BARE_LOOPBACK: Final = 1.05
TIMES_BARE_AIOHTTP: Final = 0.7
KIB_PER_ORIGIN: Final = 4.0

ORIGINS: Final = 1000

_MEMORY: Final = "bytes_per_idle_origin"
_STUB_URL: Final = "http://stub.example/orders/A1"
_PACKAGES: Final = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "httpx-aiohttp", "aiohttp", "h11"),
    *("anyio", "pydantic", "tenacity", "purgatory", "aiolimiter"),
    *("httpx-retries", "interlock-cb", "clientwright"),
)


def main() -> int:
    """Measure everything and print it; with `--check` return 1 if a bar fails."""
    told = options("overhead").parse_args()
    run = measured(QUICK if told.quick else FULL)
    return end(run, _with_memory(table(run), run), told)


def measured(plan: Plan, origins: int = ORIGINS) -> Run:
    """Return what calls take, and what is kept of so many origins."""
    run = Run("overhead", "One call that goes well", plan, _PACKAGES)
    memory: dict[str, dict[str, float]] = {}
    with answerer.running() as url, console().status("") as status:
        for setting in _settings():
            status.update(f"{setting}: {plan.rounds} rounds")
            target = url if setting.over == "loopback" else _STUB_URL
            samples = asyncio.run(_samples(setting, target, plan))
            run.samples[setting] = samples
            run.left_out[setting] = left_out(setting)
            run.bars += _verdicts(setting, samples)
        for family in get_args(Family):
            status.update(f"{family}: memory of {origins} origins")
            memory[family] = kept = bytes_per_origin(family, origins)
            kib = kept[OURS] / 1024
            run.bars.append(Verdict(family, OURS, "KiB", kib, KIB_PER_ORIGIN))
    run.more[_MEMORY] = memory
    return run


def _with_memory(grid: Table, run: Run) -> Table:
    section(grid, "memory of an idle origin")
    for family, kept in run.more[_MEMORY].items():
        for name, count in kept.items():
            cell = f"{count / 1024:.2f} KiB"
            row(grid, f"{name}, {family}", cell, bars(run, family, name))
    return grid


def _settings() -> list[Setting]:
    return [
        Setting(family, colour, over)
        for over in get_args(Over)
        for colour in get_args(Colour)
        for family in get_args(Family)
    ]


async def _samples(setting: Setting, url: str, plan: Plan) -> Samples:
    built = clients(setting)
    repeats = {name: _repeat(client, url) for name, client in built.items()}
    samples = await measure(repeats, plan, Random())
    for client in built.values():
        if setting.colour == "async":
            await client.aclose()
        else:
            client.close()
    return samples


def _repeat(client: Any, url: str) -> Repeat:
    async def aget(calls: int) -> None:
        for _ in range(calls):
            await client.get(url)

    async def get(calls: int) -> None:
        for _ in range(calls):
            client.get(url)

    return aget if hasattr(client, "aclose") else get


def _verdicts(setting: Setting, samples: Samples) -> list[Verdict]:
    """Hold what was measured in one setting against every bar there is for it."""
    if setting.colour == "sync" or setting.over == "mock":
        return []
    found = figures(samples)
    ours = found[OURS]
    if setting.over == "loopback":
        wall = ours.times_wall
        told = [Verdict(setting, OURS, "x bare, wall", wall, TIMES_BARE_LOOPBACK)]
        if (faster := OURS + WITH_AIOHTTP) in found:
            cpu = found[faster].times_cpu
            told.append(
                Verdict(setting, faster, "x bare, CPU", cpu, TIMES_BARE_AIOHTTP)
            )
        return told
    told = [Verdict(setting, OURS, "x bare, CPU", ours.times_cpu, TIMES_BARE)]
    if GLUE in found:
        share = ours.adds / found[GLUE].adds
        told.append(Verdict(setting, OURS, "of what glue adds", share, OF_GLUE))
    return told


if __name__ == "__main__":
    sys.exit(main())
