"""The verdict, and the tables at the end."""

from collections.abc import Mapping
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.script import SCRIPT
from demo.tally import Kind, Lane, Outcome, Sums, Tally

_ERRORS: Final = (Outcome.DECLINED, Outcome.LIMITED, Outcome.FAILED)


def faults(tally: Tally, charges: Mapping[str, int] | None) -> list[str]:
    """Return what was wrong; an empty list if nothing was.

    Args:
        tally: All calls.
        charges: How often each order was charged, as payments has it; None if the demo
            did not get as far as to ask.

    """
    found = _of_calls(tally)
    if charges is None:
        return [*found, "the demo did not get to its end"]
    return found + _of_charges(tally, charges)


def _of_calls(tally: Tally) -> list[str]:
    missing = [f"never seen: {kind}" for kind in Kind if kind not in tally.specimens]
    untyped = [
        f"neither an answer nor a typed error, {count} times: {said}"
        for said, count in tally.untyped.items()
    ]
    endless = [
        f"calls that never ended, through {lane}: {tally.total(lane).under_way}"
        for lane in Lane
        if tally.total(lane).under_way
    ]
    return missing + untyped + endless


def _of_charges(tally: Tally, charges: Mapping[str, int]) -> list[str]:
    twice = [
        f"order {order} was charged {count} times"
        for order, count in sorted(charges.items())
        if count > 1
    ]
    unpaid = [
        f"order {order} was answered, and never charged"
        for order in sorted(tally.answered - charges.keys())
    ]
    return twice + unpaid


def conclude(
    console: Console, tally: Tally, charges: Mapping[str, int] | None, seconds: float
) -> int:
    """Print all that happened, and the verdict; return the exit code."""
    found = faults(tally, charges)
    console.print(_by_phase(tally))
    console.print(_compared(tally, {} if charges is None else charges))
    console.print(_looks(tally))
    console.print(_seen(tally))
    console.print(_verdict(found, seconds))
    return 1 if found else 0


def _verdict(found: list[str], seconds: float) -> Text:
    if not found:
        words = "All of it was seen. Each call through resilient_http was answered or"
        more = f"ended in a typed error; no order was charged twice. {seconds:.0f} s."
        return Text(f"{words}\n{more}", "bold green")
    listed = "\n".join(f"  {fault}" for fault in found)
    return Text(f"Not as it should be, after {seconds:.0f} s:\n{listed}", "bold red")


def _by_phase(tally: Tally) -> Table:
    table = _table("Failed calls, by the phase they began in", "phase")
    for lane in Lane:
        table.add_column(str(lane), justify="right")
        table.add_column("longest order", justify="right")
    for phase, lanes in zip(SCRIPT, tally.phases, strict=True):
        cells = [cell for lane in Lane for cell in _in_phase(lanes[lane])]
        table.add_row(phase.name, *cells)
    return table


def _in_phase(sums: Sums) -> tuple[str, str]:
    failed = sums.outcomes[Outcome.FAILED]
    return f"{failed} of {sums.begun}", _time(sums.longest)


def _compared(tally: Tally, charges: Mapping[str, int]) -> Table:
    table = _table("The same calls, through two clients", "")
    totals = [tally.total(lane) for lane in Lane]
    for lane in Lane:
        table.add_column(str(lane), justify="right")
    rows: dict[str, list[object]] = {
        "calls": [sums.begun for sums in totals],
        **{str(end): [sums.outcomes[end] for sums in totals] for end in Outcome},
        "answered after a retry": [sums.retried for sums in totals],
        "half of the orders took at most": [_time(sums.wait(0.5)) for sums in totals],
        "95 of 100 orders took at most": [_time(sums.wait(0.95)) for sums in totals],
        "the longest order took": [_time(sums.longest) for sums in totals],
        "orders charged whose caller was told they failed": [
            len(tally.failed[lane] & charges.keys()) for lane in Lane
        ],
        "orders charged twice": [_twice(lane, charges) for lane in Lane],
    }
    for label, cells in rows.items():
        table.add_row(label, *map(str, cells))
    return table


def _twice(lane: Lane, charges: Mapping[str, int]) -> int:
    own = [charges[order] for order in charges if order.startswith(lane.prefix)]
    return sum(count > 1 for count in own)


def _looks(tally: Tally) -> Table:
    table = _table("An error, as its caller sees it", "")
    for lane in Lane:
        table.add_column(str(lane), overflow="fold", ratio=1)
    for outcome in _ERRORS:
        said = [tally.looks.get((outcome, lane), "none") for lane in Lane]
        table.add_row(str(outcome), *map(Text, said))
    return table


def _seen(tally: Tally) -> Table:
    table = _table("What was to be seen", "")
    table.add_column("the first of them, through resilient_http", overflow="fold")
    for kind in Kind:
        table.add_row(str(kind), Text(tally.specimens.get(kind, "MISSING")))
        if kind is Kind.BREAKER and tally.opened is not None:
            table.add_row("  the same, inside shop", Text(tally.opened))
    return table


def _table(title: str, first: str) -> Table:
    table = Table(title=title, box=box.SIMPLE, title_justify="left", show_lines=False)
    table.add_column(first)
    return table


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
