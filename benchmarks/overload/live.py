"""The servers of `service.py` as processes of their own, under uvicorn.

`python -m benchmarks.overload.live` is one of them: it writes its port to stdout and
ends when its stdin does. What is worked on sleeps, as in virtual time; sockets, the
HTTP on them, and what a refusal costs are real.
"""

import argparse
import asyncio
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

import httpx
import uvicorn

from benchmarks.overload.policies import CONTENDERS, LOOP, Contender, Get
from benchmarks.overload.scenario import QUEUE, SERVICE, Scale, Scenario
from benchmarks.overload.service import Server
from benchmarks.overload.world import Record, offer

_MODULE: Final = "benchmarks.overload.live"
_HOST: Final = "127.0.0.1"


class Fleet(httpx.AsyncBaseTransport):
    """One client's connections to the servers, of which each request goes to any.

    Args:
        ports: Where the servers listen.
        rng: Where the choice comes from.
        sent: Called for each request that is.

    """

    def __init__(
        self, ports: Sequence[int], rng: Random, sent: Callable[[], None]
    ) -> None:
        self._ports = ports
        self._rng = rng
        self._sent = sent
        self._sockets = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it to one of them."""
        self._sent()
        port = self._rng.choice(self._ports)
        return await self._sockets.handle_async_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host=_HOST, port=port),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sockets.aclose()


@dataclass(frozen=True, slots=True)
class Live:
    """What happened in a run in real time, and how busy the machine was with it."""

    record: Record
    late: float
    """Seconds by which a user came too late, at most."""
    callers: float
    """Seconds of CPU of this process, which is all callers."""
    servers: float
    """Those of the servers, with what they took to start."""


def play_live(
    contender: Contender, scenario: Scenario, scale: Scale, seed: int
) -> Live:
    """Return what happened to servers that are as fast as ever all the time."""
    own, ended = _spent()
    with _running(contender, scale.servers, seed) as ports:
        record, late = asyncio.run(_played(contender, scenario, scale, seed, ports))
        callers = _spent()[0] - own
    return Live(record, late, callers, _spent()[1] - ended)


async def _played(
    contender: Contender,
    scenario: Scenario,
    scale: Scale,
    seed: int,
    ports: Sequence[int],
) -> tuple[Record, float]:
    record = Record.empty(scale, [0] * (int(scale.over) + 1))
    time = asyncio.get_running_loop().time
    began: float | None = None

    def sent() -> None:
        if began is not None:
            record.tries[record.second(time() - began)] += 1

    async with AsyncExitStack() as stack:
        clients: list[Get] = []
        for number in range(scale.clients):
            fleet = Fleet(ports, Random(f"fleet {seed} {number}"), sent)
            stack.push_async_callback(fleet.aclose)
            rng = Random(f"client {seed} {number}")
            clients.append(contender.client(fleet, rng))
        # What is imported and connected once is no part of it.
        await asyncio.gather(*(get() for get in clients), return_exceptions=True)
        began = time()
        return record, await offer(scenario, scale, seed, clients, record)


@contextmanager
def _running(contender: Contender, servers: int, seed: int) -> Iterator[list[int]]:
    """Run the servers that a contender calls while inside; yield their ports."""
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        ports: list[int] = []
        for number in range(servers):
            command = [sys.executable, "-m", _MODULE, contender.name, f"{seed}{number}"]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
            )
            assert process.stdin is not None
            assert process.stdout is not None
            stack.callback(process.stdin.close)
            ports.append(int(process.stdout.readline()))
        yield ports


def _spent() -> tuple[float, float]:
    """Return the seconds of CPU of this process, and of those it has seen end."""
    own, ended = map(
        resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime, ended.ru_utime + ended.ru_stime


async def _serve(contender: Contender, seed: str) -> None:
    config = uvicorn.Config(
        Server(contender.around, Random(f"service {seed}")).app,
        interface="asgi3",  # which it would not see of a method
        lifespan="off",
        log_level="critical",
        server_header=False,
        # What comes beyond that is refused by uvicorn, as a full backlog does.
        limit_concurrency=int(QUEUE / SERVICE),
    )
    server = uvicorn.Server(config)
    with socket.create_server((_HOST, 0)) as listening:
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listening]))
            await asyncio.to_thread(sys.stdin.read)
            server.should_exit = server.force_exit = True


def _main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}")
    parser.add_argument("contender")
    parser.add_argument("seed")
    told = parser.parse_args()
    found = {one.name: one for one in (*CONTENDERS, LOOP)}[told.contender]
    asyncio.run(_serve(found, told.seed))


if __name__ == "__main__":
    _main()
