"""The traffic: the same calls through two clients, paced by the script."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, cast

import anyio
import httpx
from anyio.abc import TaskGroup

from demo.problems import SHOP
from demo.script import RATE, Phase, wish
from demo.tally import Ended, Lane, Tally
from resilient_http import AsyncClient, Policy, Response

_AT_ONCE: Final = 10
"""Questions that the greedy customer asks together, once a second, by each lane. Half
of them will not wait for quota; as that is more than the quota, some are refused."""

_IMPATIENT: Final = Policy(retry=None)
_TICK: Final = 1 / RATE


class Traffic:
    """Customers of the shop at `shop_url`. What their calls come to goes to `tally`."""

    def __init__(self, shop_url: str, tally: Tally) -> None:
        self._clients: Mapping[Lane, httpx.AsyncClient] = {
            Lane.OURS: AsyncClient(base_url=shop_url, contract=SHOP),
            Lane.PLAIN: httpx.AsyncClient(base_url=shop_url),
        }
        self._tally = tally
        self._next = 0

    async def aclose(self) -> None:
        """Close both clients."""
        for client in self._clients.values():
            await client.aclose()

    async def play(self, index: int, phase: Phase, calls: TaskGroup) -> None:
        """Begin all calls of a phase in `calls`, each in its time."""
        began = anyio.current_time()
        for count in range(phase.orders):
            if phase.greedy and count % RATE == 0:
                self._ask(index, calls)
            for lane in Lane:
                calls.start_soon(self._order, lane, index, phase, self._next)
            self._next += 1
            await anyio.sleep_until(began + (count + 1) * _TICK)

    def _ask(self, index: int, calls: TaskGroup) -> None:
        for lane in Lane:
            for count in range(_AT_ONCE):
                calls.start_soon(self._stock, lane, index, count % 2 == 0)

    async def _stock(self, lane: Lane, index: int, is_impatient: bool) -> None:  # noqa: FBT001 - a task's arguments have no names
        policy = {"policy": _IMPATIENT} if is_impatient else {}
        await self._call(
            lane,
            index,
            "GET",
            "/stock/teapot",
            headers={"X-API-Key": f"greedy-{lane.name}"},
            extensions=policy if lane is Lane.OURS else {},
        )

    async def _order(self, lane: Lane, index: int, phase: Phase, number: int) -> None:
        wanted = asdict(wish(number, phase.mood))
        patience = wanted.pop("patience")
        # No Idempotency-Key of its own: it is shop that tries again, next to what
        # fails. Here and there, three sends each would be nine.
        order = {"id": f"{lane.prefix}{number:04}", **wanted}
        ours = lane is Lane.OURS
        await self._call(
            lane,
            index,
            "POST",
            "/orders" if ours else "/plain/orders",
            json=order,
            extensions={"deadline": patience} if ours and patience is not None else {},
        )

    async def _call(
        self, lane: Lane, index: int, method: str, path: str, **options: Any
    ) -> None:
        self._tally.began(lane, index)
        began = time.monotonic()
        sends: tuple[str, ...] = ()
        caught: Exception | None = None
        try:
            answer = await self._clients[lane].request(method, path, **options)
            answer.raise_for_status()
            sends = _sends(lane, answer)
        except Exception as error:  # noqa: BLE001 - whatever a caller is left with counts
            caught = error
        ended = time.monotonic()
        order = options.get("json", {}).get("id")
        self._tally.ended(
            Ended(
                lane=lane,
                phase=index,
                at=ended,
                seconds=ended - began,
                order=order,
                sends=sends,
                error=caught,
            )
        )


def _sends(lane: Lane, answer: httpx.Response) -> tuple[str, ...]:
    """Return what each send came to: the last leg's, or this one's if it had more."""
    if lane is Lane.PLAIN:
        return ()
    own = [str(sent.status or sent.error) for sent in cast("Response", answer).attempts]
    shops: list[str] = answer.json().get("sends", [])
    return tuple(own if len(own) > 1 else shops)
