"""The app that is served, and its database: what a user would write, and no more.

`GET /things/7?size=100` answers with what only call 7 has asked for. `POST /orders`
writes an order. Both take as long as they are told; an order is written halfway.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import parse_qs

from incidents.network import Host, here
from incidents.schedule import Trouble
from resilient_http.problems import ServiceUnavailableException
from server_kit import remaining

_FAILED = 500


@dataclass(eq=False)
class Run:
    """One run of the handler that places an order."""

    number: int
    order: str
    key: int | None
    host: Host
    began: float
    left: float
    """Seconds that it had."""
    written_at: float | None = None
    ended_at: float | None = None


class Database:
    """What has been written, whoever wrote it: it outlives every process."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self.runs: list[Run] = []
        self._note = note

    def begin(self, order: str, key: int | None, left: float) -> Run:
        """Take in that an order is being placed."""
        now = asyncio.get_running_loop().time()
        run = Run(len(self.runs) + 1, order, key, _here(), now, left)
        self.runs.append(run)
        self._note(f"run {run.number}: {order} on {run.host.name}")
        return run

    def write(self, run: Run) -> None:
        """Place an order; from a process that is dead, nothing arrives."""
        if run.host.is_up:
            run.written_at = asyncio.get_running_loop().time()
            self._note(f"run {run.number}: written")


def _here() -> Host:
    return here.get()


class App:
    """One process' app.

    Args:
        database: Where orders are.
        troubles: What goes wrong with it at this moment.
        rng: Draws whom that meets.
        met: Counts it.

    """

    def __init__(
        self,
        database: Database,
        troubles: list[Trouble],
        rng: Random,
        met: Counter[str],
    ) -> None:
        self._database = database
        self._troubles = troubles
        self._rng = rng
        self._met = met
        self.serving = 0
        """Requests in a handler."""
        self.most = 0
        """The most there have been, of those without their whole answer."""
        self.seen: dict[str, list[float]] = {}
        """When requests of each client came to it."""
        self._unanswered = 0

    async def __call__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Serve one request."""
        self.serving += 1
        self._unanswered += 1
        self.most = max(self.most, self._unanswered)
        has_ended = False

        async def tell(message: Any) -> None:
            nonlocal has_ended
            if message["type"] == "http.response.body" and not message.get("more_body"):
                has_ended = True
                self._unanswered -= 1
            await send(message)

        now = asyncio.get_running_loop().time()
        self.seen.setdefault(scope["client"][0], []).append(now)
        try:
            asked = {
                name: values[0]
                for name, values in parse_qs(scope["query_string"].decode()).items()
            }
            if scope["method"] == "POST":
                await self._order(asked, receive, tell)
            else:
                await self._thing(scope["path"], asked, tell)
        finally:
            self.serving -= 1
            self._unanswered -= not has_ended

    async def _thing(
        self, path: str, asked: dict[str, str], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        work, chunks = float(asked["work"]), int(asked["chunks"])
        await self._work(work / 2)
        content = content_of(path, int(asked["size"]))
        if chunks == 1:
            await _answer(send, 200, content)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        size = len(content) // chunks + 1
        for start in range(0, len(content), size):
            await self._work(work / 2 / chunks)
            part = content[start : start + size]
            body = {"type": "http.response.body", "body": part, "more_body": True}
            await send(body)
        await send({"type": "http.response.body", "body": b""})

    async def _order(
        self,
        asked: dict[str, str],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        wanted = json.loads(body)
        run = self._database.begin(wanted["order"], wanted["key"], remaining())
        try:
            await self._work(float(asked["work"]) / 2)
            self._database.write(run)
            await self._work(float(asked["work"]) / 2, is_begun=True)
            told = {"order": run.order, "run": run.number, "pad": "x" * 10}
            await _answer(send, 201, json.dumps(told).encode())
        finally:
            run.ended_at = asyncio.get_running_loop().time()

    async def _work(self, seconds: float, *, is_begun: bool = False) -> None:
        for trouble in tuple(self._troubles):
            if self._rng.random() >= trouble.share:
                continue
            self._met[f"app: {trouble.how}"] += 1
            if trouble.how == "slow":
                seconds = 2 * seconds + 0.3
            elif trouble.how == "hang":
                seconds = 60.0
            elif trouble.how == "raise":
                raise RuntimeError("the handler has a bug")
            elif trouble.how == "refuse" and not is_begun:
                raise ServiceUnavailableException("not now", retry_after=0.2)
            elif trouble.how == "fail":
                raise FailedError
        await asyncio.sleep(seconds)


class FailedError(Exception):
    """What the app needs is broken."""


def content_of(path: str, size: int) -> bytes:
    """Return what is found at `path`: it says so in every line of it."""
    line = path.encode() + b"\n"
    return (line * (size // len(line) + 1))[:size]


async def _answer(
    send: Callable[[Any], Awaitable[None]], status: int, content: bytes
) -> None:
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
