"""One performance: the services up, the script played, the verdict said."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Final

import anyio
import httpx
from rich.console import Console

from demo.lines import Lines
from demo.live import Screen
from demo.report import conclude
from demo.script import SCRIPT
from demo.services import ServiceDied, Services, running
from demo.tally import Tally
from demo.traffic import Traffic
from demo.view import Display, ShopSide, View

_AT_MOST: Final = 56.0
"""Seconds after which the demo ends, whatever is under way."""

_PATIENCE: Final = 15.0
_EVERY: Final = 0.25
_WIDTH_OF_A_FILE: Final = 120


def run() -> int:
    """Run the demo; return 0 if what must be seen was, and nothing that must not."""
    is_terminal = sys.stdout.isatty()
    console = Console(
        force_terminal=is_terminal, width=None if is_terminal else _WIDTH_OF_A_FILE
    )
    is_live = is_terminal and not console.is_dumb_terminal
    display: Display = Screen(console) if is_live else Lines(console)
    began = time.monotonic()
    tally = Tally()
    charges: Mapping[str, int] | None = None
    try:
        with running() as services, display:
            charges = anyio.run(_perform, services, View(tally=tally), display, began)
    except* ServiceDied as died:
        for text in _texts(died):
            console.print(text, markup=False, highlight=False)
    return conclude(console, tally, charges, time.monotonic() - began)


def _texts(group: BaseExceptionGroup[ServiceDied]) -> Iterator[str]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _texts(error)
        else:
            yield str(error)


async def _perform(
    services: Services, view: View, display: Display, began: float
) -> Mapping[str, int] | None:
    """Play the script; return how often each order was charged, None if cut short."""
    show = _Show(services, view, display, began)
    with anyio.move_on_after(_AT_MOST):
        async with httpx.AsyncClient(timeout=_PATIENCE) as control:
            await show.play(control)
            return await show.charges(control)
    return None


class _Show:
    def __init__(
        self, services: Services, view: View, display: Display, began: float
    ) -> None:
        self._services = services
        self._view = view
        self._display = display
        self._began = began

    async def play(self, control: httpx.AsyncClient) -> None:
        """Play every phase, and wait until every call has ended."""
        shop, payments = self._services.shop, self._services.payments
        self._display.started(
            f"shop: process {shop.pid}, {shop.url}; "
            f"payments: process {payments.pid}, {payments.url}"
        )
        await shop.serves(control)
        await payments.serves(control)
        async with (
            aclosing(Traffic(shop.url, self._view.tally)) as traffic,
            anyio.create_task_group() as watching,
        ):
            watching.start_soon(self._watch, control)
            async with anyio.create_task_group() as calls:
                for index, phase in enumerate(SCRIPT):
                    self._view.index = index
                    await self._services.direct(phase.mood, control)
                    await traffic.play(index, phase, calls)
                    await self._look(control)
                    self._display.phase_ended(self._view)
            watching.cancel_scope.cancel()

    async def charges(self, control: httpx.AsyncClient) -> Mapping[str, int]:
        """Return how often each order was charged, as payments has it."""
        await self._services.payments.serves(control)
        answer = await control.get(f"{self._services.payments.url}/charges")
        found: dict[str, int] = answer.json()
        return found

    async def _watch(self, control: httpx.AsyncClient) -> None:
        while True:
            await self._look(control)
            self._display.refresh(self._view)
            await anyio.sleep(_EVERY)

    async def _look(self, control: httpx.AsyncClient) -> None:
        try:
            known = await control.get(f"{self._services.shop.url}/payments")
        except httpx.TransportError:
            pass  # what was seen last stays; a shop that is gone shows in the calls
        else:
            self._view.shop = ShopSide.read(known.json())
            self._view.tally.raised_in_shop(self._view.shop.raised)
        self._view.now = time.monotonic()
        self._view.elapsed = self._view.now - self._began
