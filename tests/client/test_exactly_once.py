"""Both ends together, over a network that fails: each order is placed exactly once."""

from collections import Counter

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import server_kit
from resilient_http import Policy, RetryConfig
from server_kit import Idempotency
from server_kit.asgi import Message, Receive, Scope, Send
from tests.family import AsyncClient
from tests.faulty import FAULTS, faulty
from tests.served import served

ORDERS = 1_000
AT_ONCE = 40
LONGEST = 5.0  # seconds that an order takes
POLICY = Policy(
    idempotency_keys=True,
    retry=RetryConfig(max_attempts=12, base_delay=0.01, max_delay=0.1),
    # A fifth fails all the time, and more of the first few: who would give up on such
    # a network is not what this is about.
    budget=None,
    breaker=None,
    deadline=60.0,
)


class Shop:
    """Places orders, and counts them, and what it answers."""

    def __init__(self) -> None:
        self.placed: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        routes = [Route("/orders", self.order, methods=["POST"])]
        self.app = server_kit.wrap(
            Starlette(routes=routes), idempotency=Idempotency(required=["/orders"])
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.statuses[message["status"]] += 1
            await send(message)

        await self.app(scope, receive, note)

    async def order(self, request: Request) -> JSONResponse:
        name = (await request.body()).decode()
        self.placed[name] += 1
        # Slow until a repeat has met its first in progress, on a busy machine as well.
        with anyio.move_on_after(LONGEST):
            while not self.statuses[409]:  # noqa: ASYNC110 - counted outside the handler
                await anyio.sleep(0.01)
        return JSONResponse({"order": name}, 201)


@pytest.mark.case("IK-16", "R33")
async def test_a_thousand_orders_are_placed_once_each_through_a_faulty_network() -> (
    None
):
    shop = Shop()
    told: list[str] = []
    left = list(range(ORDERS))

    async def place(client: AsyncClient) -> None:
        while left:
            name = str(left.pop())
            answer = await client.post("/orders", content=name)
            assert answer.status_code == 201, answer.text
            told.append(answer.json()["order"])

    with served(shop) as url, faulty(url, share=0.2, seed=7) as (way, proxy):
        async with (
            AsyncClient(base_url=way, policy=POLICY) as client,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(AT_ONCE):
                tasks.start_soon(place, client)
    assert sorted(told, key=int) == [str(number) for number in range(ORDERS)]
    assert shop.placed == dict.fromkeys(told, 1)
    # Both are met: a repeat that is given the answer, and one that has to wait for it.
    assert set(shop.statuses) == {201, 409}
    assert shop.statuses[201] > ORDERS
    assert set(proxy.met) == set(FAULTS)
