"""Payments: takes money, and misbehaves on a script. `python -m demo.payments`."""

import argparse
import asyncio
import socket
import sqlite3
import struct
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

from fastapi import FastAPI, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

import server_kit
from demo.problems import PAYMENTS, CardDeclined
from demo.script import Act, Mood, act
from demo.serving import serve
from resilient_http.problems import ServiceUnavailableException

FAILURES: Final = server_kit.raises(CardDeclined, ServiceUnavailableException)
_SLEEPS: Final = {Act.DAWDLE: 2.5, Act.HANG: 6.0}
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Ledger:
    """Every charge ever made, in a file: it outlives the process.

    A charge with a key is made once, however often it is asked for. Nothing else keeps
    an order from being charged twice: whether one was is for the demo to find out.
    """

    def __init__(self, path: Path) -> None:
        # Made before the service's thread, where there is one, and used in that alone.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = OFF")  # it is the process that dies
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS charges"
            " (id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, key TEXT UNIQUE)"
        )

    def charge(self, order: str, key: str | None) -> "Charge":
        """Charge `order`, or return what was charged under the same key before."""
        made = self._db.execute(
            "INSERT INTO charges (order_id, key) VALUES (?, ?)"
            " ON CONFLICT (key) DO NOTHING",
            (order, key),
        )
        if made.rowcount:
            return Charge(id=made.lastrowid or 0, replayed=False)
        found = self._db.execute("SELECT id FROM charges WHERE key = ?", (key,))
        return Charge(id=found.fetchone()[0], replayed=True)

    def counts(self) -> dict[str, int]:
        """Return how often each order was charged."""
        return dict(
            self._db.execute("SELECT order_id, COUNT(*) FROM charges GROUP BY order_id")
        )


class Bill(BaseModel):
    """What is to be charged."""

    order: str
    number: int
    card: str


class Charge(BaseModel):
    """What was."""

    id: int
    replayed: bool


class Direction(BaseModel):
    """How to behave from now on."""

    mood: Mood


class Reset(Response):
    """No answer: the connection is reset (RST) in its place."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Reset it."""
        transport: asyncio.Transport = scope["state"]["transport"]
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class CutOff(JSONResponse):
    """Half an answer: uvicorn then closes the connection, as the app has returned."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Send the head of the answer, and half of the length that it announces."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class Unruly(H11Protocol):
    """uvicorn's own protocol, whose app may lay hands on the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Put the connection where the app finds it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Payments:
    """The service."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._mood = Mood.WELL
        self._sends: Counter[str] = Counter()

    async def health(self) -> None:
        """Say that there is somebody at home."""

    async def direct(self, direction: Direction) -> None:
        """Behave differently from now on."""
        self._mood = direction.mood

    async def charges(self) -> dict[str, int]:
        """Return how often each order was charged."""
        return self._ledger.counts()

    async def charge(
        self, bill: Bill, idempotency_key: Annotated[str | None, Header()] = None
    ) -> Response:
        """Charge an order, unless the script has other plans."""
        self._sends[bill.order] += 1
        todo = act(self._mood, bill.number, self._sends[bill.order])
        if todo is Act.REFUSE:
            raise ServiceUnavailableException("Payments is busy")
        if todo is Act.RESET_BEFORE:
            return Reset()
        await asyncio.sleep(_SLEEPS.get(todo, 0))
        if bill.card != "good":
            raise CardDeclined("The bank refused", reason="insufficient funds")
        charge = self._ledger.charge(bill.order, idempotency_key).model_dump()
        if todo is Act.RESET_AFTER:
            return Reset()
        return CutOff(charge) if todo is Act.CUT_OFF else JSONResponse(charge)


def payments(ledger: Ledger) -> FastAPI:
    """Return the app."""
    service = Payments(ledger)
    app = server_kit.wrap(FastAPI(), contract=PAYMENTS)
    app.get("/healthz")(service.health)
    app.put("/mood")(service.direct)
    app.get("/charges")(service.charges)
    app.post("/charges", response_model=None, responses=FAILURES)(service.charge)
    return app


def main() -> None:
    """Serve payments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    given = parser.parse_args()
    serve(payments(Ledger(given.ledger)), given.port, http=Unruly)


if __name__ == "__main__":
    main()
