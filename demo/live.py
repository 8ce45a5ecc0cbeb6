"""The demo in a terminal: one screen, drawn anew a few times a second."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.script import SCRIPT
from demo.tally import Lane, Outcome, Recent, Sums
from demo.view import ShopSide, View

_LOW: Final = 36
"""Lines below which there is no room for the errors of plain httpx."""

_PLAIN_ERRORS: Final = 8
_COLOURS: Final = {"closed": "green", "half_open": "yellow", "open": "red"}


class Screen:
    """Takes the whole terminal, and gives it back."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, where: str) -> None:
        """Show it until there is more to show."""
        self._live.update(Panel(Text(where)), refresh=True)

    def refresh(self, view: View) -> None:
        """Draw this moment."""
        height = self._live.console.height
        self._live.update(drawn(view, height), refresh=True)

    def phase_ended(self, view: View) -> None:
        """Draw on: the next phase begins at once."""


def drawn(view: View, height: int) -> Layout:
    """Return the screen, which has so many lines."""
    layout = Layout()
    layout.split_column(
        Layout(_head(view), size=7),
        Layout(name="figures", size=len(_ROWS) + 4),
        Layout(name="errors"),
    )
    layout["figures"].split_row(
        Layout(Panel(_figures(view), title="calls to shop"), ratio=3),
        Layout(_shop_side(view.shop), ratio=2),
    )
    plain = _errors("the same, through plain httpx", view.tally.recent[Lane.PLAIN])
    layout["errors"].split_column(
        Layout(_errors("caught, through resilient_http", view.tally.recent[Lane.OURS])),
        Layout(plain, size=_PLAIN_ERRORS, visible=height >= _LOW),
    )
    return layout


def _head(view: View) -> Panel:
    phases = [
        (f" {phase.name} |", "bold" if index == view.index else "dim")
        for index, phase in enumerate(SCRIPT)
    ]
    text = Text.assemble(*phases)
    what = Text.assemble((view.phase.name, "bold"), ": ", view.phase.what)
    title = f"phase {view.index + 1} of {len(SCRIPT)}, {view.elapsed:.0f} s"
    return Panel(Group(text, "", what), title=title)


_ROWS: Final = (
    "calls/s",
    "under way",
    *Outcome,
    "retried",
    "median wait",
    "longest wait",
)


def _figures(view: View) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, show_edge=False)
    table.add_column("")
    for lane in Lane:
        table.add_column(str(lane), justify="right")
    columns = [
        _column(view.tally.total(lane), view.tally.rate(lane, view.now))
        for lane in Lane
    ]
    for label, *cells in zip(_ROWS, *columns, strict=True):
        table.add_row(str(label), *cells)
    return table


def _column(sums: Sums, rate: float) -> list[str]:
    return [
        f"{rate:.0f}",
        str(sums.under_way),
        *(str(sums.outcomes[outcome]) for outcome in Outcome),
        str(sums.retried),
        f"{sums.wait(0.5) * 1000:.0f} ms",
        f"{sums.longest:.2f} s",
    ]


def _shop_side(shop: ShopSide) -> Panel:
    colour = _COLOURS.get(shop.breaker, "white")
    state = Text(shop.breaker.replace("_", "-").upper(), f"bold {colour}")
    if shop.breaker == "open":
        state.append(f"  looks again in {shop.retry_after:.1f} s", "not bold")
    rows: Iterable[RenderableType] = (
        Text.assemble("breaker  ", state),
        "",
        f"{shop.calls} calls, {shop.sends} sends",
        f"{shop.retries} retries, {shop.refused} refused",
        "",
        Text("raised in shop:", "dim"),
        *(Text(said) for said in reversed(shop.raised)),
    )
    title = "shop to payments"
    return Panel(Group(*rows), title=title, border_style=colour)


def _errors(title: str, recent: OrderedDict[str, Recent]) -> Panel:
    newest_first = [_error(seen) for seen in reversed(recent.values())]
    return Panel(Group(*newest_first), title=title)


def _error(seen: Recent) -> Text:
    name, _, fields = seen.latest.partition("(")
    return Text.assemble((f"{seen.count:>4} x ", "dim"), (name, "bold"), "(", fields)
