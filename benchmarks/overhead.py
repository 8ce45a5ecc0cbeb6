"""What does a call cost that goes well? `python -m benchmarks.overhead`.

Over a stub transport, where nothing is measured but Python, and over loopback, where a
request leaves the process. README.md says what it shows and what it does not.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final, get_args

from benchmarks import server
from benchmarks.figures import Run, verdicts
from benchmarks.memory import bytes_per_origin
from benchmarks.peers import BARE, OURS, PEERS, WITH_AIOHTTP
from benchmarks.report import console, save, table
from benchmarks.rounds import Plan, Samples, measure
from benchmarks.setting import Colour, Family, Over, Setting

FULL: Final = Plan(rounds=60, calls=100, origins=1000)
QUICK: Final = Plan(rounds=5, calls=20, origins=100)

_STUB_URL: Final = "http://stub.example/orders/A1"


def main() -> int:
    """Measure everything and print it; with `--check` return 1 if a bar fails."""
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL
    terminal = console()
    with server.running() as url, terminal.status("") as status:
        run = Run(plan)
        for setting in _settings():
            status.update(f"{setting}: {plan.rounds} rounds")
            target = url if setting.over == "loopback" else _STUB_URL
            run.samples[setting] = asyncio.run(_samples(setting, target, plan))
            run.left_out[setting] = _left_out(setting)
        for family in get_args(Family):
            status.update(f"{family}: memory of {plan.origins} origins")
            run.memory[family] = bytes_per_origin(family, plan.origins)
    terminal.print(table(run))
    if not arguments.quick:
        terminal.print(f"raw: {save(run)}")
    failed = [verdict for verdict in verdicts(run) if not verdict.holds]
    return 1 if arguments.check and failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds, too few to say anything"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a bar does not hold"
    )
    return parser.parse_args()


def _settings() -> list[Setting]:
    return [
        Setting(family, colour, over)
        for over in get_args(Over)
        for colour in get_args(Colour)
        for family in get_args(Family)
    ]


async def _samples(setting: Setting, url: str, plan: Plan) -> Samples:
    clients = _clients(setting)
    samples = await measure(clients, url, plan, Random())
    for client in clients.values():
        if setting.colour == "async":
            await client.aclose()
        else:
            client.close()
    return samples


def _clients(setting: Setting) -> Mapping[str, Any]:
    clients = {
        peer.name: peer.build(setting)
        for peer in PEERS
        if peer.why_not(setting) is None
    }
    if setting == Setting("httpx", "async", "loopback"):
        faster = replace(setting, aiohttp=True)
        clients |= {
            peer.name + WITH_AIOHTTP: peer.build(faster)
            for peer in PEERS
            if peer.name in (BARE, OURS)
        }
    return clients


def _left_out(setting: Setting) -> dict[str, str]:
    reasons = {peer.name: peer.why_not(setting) for peer in PEERS}
    return {name: reason for name, reason in reasons.items() if reason is not None}


if __name__ == "__main__":
    sys.exit(main())
