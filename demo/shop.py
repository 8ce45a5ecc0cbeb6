"""Shop: takes orders, and has them paid by payments. `python -m demo.shop`.

POST /orders         pays through resilient_http
POST /plain/orders   pays through plain httpx, in the same few lines
GET  /stock/{sku}    a few times a second for each API key
GET  /payments       what the client towards payments knows, for the demo to show
"""

import argparse
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

import httpx
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

import server_kit
from demo.problems import (
    OWN,
    PAYMENTS,
    SHOP,
    CardDeclined,
    OutOfStock,
    PaymentDeclined,
    PaymentsUnreachable,
)
from demo.serving import serve
from resilient_http import AppException, AsyncClient, BreakerConfig, Policy, Response
from resilient_http.problems import MEDIA_TYPE, BadGatewayException, UpstreamException

POLICY: Final = Policy(
    deadline=2.0,
    attempt_timeout=0.8,
    breaker=BreakerConfig(
        window=5.0, recovery_timeout=0.5, max_recovery_timeout=1.0, ramp=2.0
    ),
)
"""Of calls to payments. The breaker forgets sooner and looks again sooner than by
default, as this outage is a short one; retries are the default."""

QUOTA: Final = server_kit.per_api_key_rate_limit(limit=4, window=2)
FAILURES: Final = server_kit.raises(*OWN, UpstreamException)
"""What an order may come to: problems of our own, and what payments failed with."""

PLAIN_FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    **server_kit.raises(OutOfStock, BadGatewayException),
    402: {"description": "Payment Required", "content": {MEDIA_TYPE: {}}},
}
"""Of the same with plain httpx, which knows no types of problems."""

SHELVES: Final = {"teapot": 1_000_000, "samovar": 1}


Sku: TypeAlias = Literal["teapot", "samovar"]


class Order(BaseModel):
    """What a customer wants. They choose the id, and keep it when they ask again."""

    model_config = ConfigDict(strict=True)  # false is no quantity

    id: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,64}$")]
    """It goes on to payments as the `Idempotency-Key`, so it must fit into a header."""
    number: int
    sku: Sku
    quantity: int
    card: str


class Receipt(BaseModel):
    """What they get."""

    order: str
    charge: int
    sends: list[str]
    """What each send to payments came to."""


class Stock(BaseModel):
    """What is on a shelf."""

    sku: str
    available: int


class Shop:
    """The service, and its two ways to payments."""

    def __init__(self, payments_url: str) -> None:
        self._payments = AsyncClient(
            base_url=payments_url, policy=POLICY, contract=PAYMENTS
        )
        self._plain = httpx.AsyncClient(base_url=payments_url)
        self._raised: deque[str] = deque(maxlen=4)

    @asynccontextmanager
    async def opened(self, _: FastAPI) -> AsyncIterator[None]:
        """Keep the clients open while the app runs."""
        async with self._payments, self._plain:
            yield

    async def health(self) -> None:
        """Say that there is somebody at home."""

    async def stock(self, sku: Sku) -> Stock:
        """Return what is on a shelf."""
        return Stock(sku=sku, available=SHELVES[sku])

    async def place(self, order: Order) -> Receipt:
        """Take an order and have it paid."""
        _take(order)
        try:
            response = await self._pay(order)
            response.raise_for_status()
        except CardDeclined as error:
            raise PaymentDeclined(
                error.detail, order=order.id, reason=error.reason
            ) from error
        except AppException as error:
            # An open breaker, a deadline, a 503: transport errors too, some of them. As
            # they came from calling another service they leave as 502, 503 or 504.
            self._raised.append(f"{error!r} retry_after={error.retry_after}")
            raise
        except httpx.TransportError as error:
            raise PaymentsUnreachable(
                order=order.id,
                sends=len(getattr(error, "attempts", ())),
                last=type(error).__name__,
            ) from error
        sends = [str(sent.status or sent.error) for sent in response.attempts]
        return Receipt(order=order.id, charge=response.json()["id"], sends=sends)

    async def _pay(self, order: Order) -> Response:
        # The key is what makes a repeat safe, so that the client repeats a POST at all:
        # payments makes one charge for each key. It is the order's own id, and not a
        # new one for each request, so that a customer who asks again pays once, too.
        paid = await self._payments.post(
            "/charges", json=_bill(order), headers={"Idempotency-Key": f'"{order.id}"'}
        )
        return cast("Response", paid)

    async def place_plain(self, order: Order) -> Receipt:
        """Do the same with plain httpx, as carefully as that is usually done."""
        _take(order)
        try:
            response = await self._plain.post("/charges", json=_bill(order))
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 402:  # noqa: PLR2004 - Payment Required
                raise HTTPException(402, "The card was declined") from error
            raise HTTPException(502, "Payments failed") from error
        except httpx.HTTPError as error:
            raise HTTPException(502, "Payments failed") from error
        return Receipt(order=order.id, charge=response.json()["id"], sends=[])

    async def known(self) -> dict[str, Any]:
        """Return what the client knows of payments, and what it raised of late."""
        origins = self._payments.snapshot()["origins"].values()
        return {"origin": next(iter(origins), None), "raised": list(self._raised)}


def _take(order: Order) -> None:
    available = SHELVES[order.sku]
    if available < order.quantity:
        raise OutOfStock(f"Only {available} left", sku=order.sku, available=available)


def _bill(order: Order) -> dict[str, Any]:
    return {"order": order.id, "number": order.number, "card": order.card}


def shop(payments_url: str) -> FastAPI:
    """Return the app."""
    service = Shop(payments_url)
    app = server_kit.wrap(FastAPI(lifespan=service.opened), contract=SHOP)
    app.get("/healthz")(service.health)
    app.get("/payments")(service.known)
    app.get("/stock/{sku}", dependencies=[Depends(QUOTA)])(service.stock)
    app.post("/orders", responses=FAILURES)(service.place)
    app.post("/plain/orders", responses=PLAIN_FAILURES)(service.place_plain)
    return app


def main() -> None:
    """Serve shop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--payments", required=True)
    given = parser.parse_args()
    serve(shop(given.payments), given.port)


if __name__ == "__main__":
    main()
