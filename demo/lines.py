"""The demo without a terminal: plain lines, a block for each phase."""

from typing import Self

from rich.console import Console

from demo.script import SCRIPT
from demo.tally import Lane, Outcome, Sums
from demo.view import View

_MARGIN = " " * 9


class Lines:
    """Prints what has happened when a phase is over."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was taken hold of."""

    def started(self, where: str) -> None:
        """Say that the services have been started."""
        self._print(where)
        self._print()

    def refresh(self, view: View) -> None:
        """Nothing moves here."""

    def phase_ended(self, view: View) -> None:
        """Print what came of the phase."""
        for line in block(view):
            self._print(line)
        self._print()

    def _print(self, line: str = "") -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)


def block(view: View) -> list[str]:
    """Return the lines of a phase that is over."""
    tally, index, shop = view.tally, view.index, view.shop
    head = f"{view.elapsed:5.1f} s  phase {index + 1} of {len(SCRIPT)}, "
    lines = [f"{head}{view.phase.name}: {view.phase.what}"]
    lines += [
        f"{_MARGIN}{lane:<14}  {_sums(tally.phases[index][lane])}" for lane in Lane
    ]
    lines.append(
        f"{_MARGIN}shop to payments, so far: {shop.calls} calls, {shop.sends} sends,"
        f" {shop.retries} retries, {shop.refused} refused; breaker {shop.breaker}"
    )
    if shop.breaker != "closed" and shop.raised:
        lines.append(f"{_MARGIN}raised in shop: {shop.raised[-1]}")
    for lane, verb in ((Lane.OURS, "caught"), (Lane.PLAIN, "plain")):
        news = tally.news.get((index, lane), {}).values()
        lines += [f"{_MARGIN}{verb}: {said}" for said in news]
    return lines


def _sums(sums: Sums) -> str:
    parts = [f"{sums.outcomes[outcome]:>2} {outcome}" for outcome in Outcome]
    if sums.retried:
        parts[0] += f" ({sums.retried} after a retry)"
    if sums.under_way:
        parts.append(f"{sums.under_way} under way")
    waits = f"median {sums.wait(0.5):.3f} s, longest {sums.longest:.2f} s"
    return f"{sums.begun} calls: {', '.join(parts)}; {waits}"
