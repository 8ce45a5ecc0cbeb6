"""A service for `uvicorn tests.server.order_service:app`: counts what it did in Redis.

The environment says in STORE where that is.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import server_kit
from server_kit import Idempotency

STORE = os.environ.get("STORE", "redis://127.0.0.1")
client = Redis.from_url(STORE)


async def order(request: Request) -> JSONResponse:
    name = (await request.body()).decode()
    times = await client.incr(f"runs:{name}")
    number = await client.incr("orders")
    return JSONResponse({"name": name, "run": times, "order": number}, 201)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    await client.aclose()


routes = [Route("/orders", order, methods=["POST"])]
app = server_kit.wrap(
    Starlette(routes=routes, lifespan=lifespan),
    idempotency=Idempotency(store=STORE, timeout=20.0),
)
