"""The network of the incident search is one, as far as a program can see."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from incidents import loop
from incidents.network import Host, How, Network

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Place:
    """A client, and a server that sends back what it is sent."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.client = Host("client")
        self.server = Host("server", accept=Echo)
        network.serve("server:80", self.server)
        self._writers: list[Writer] = []

    async def connect(self) -> tuple[Reader, Writer]:
        reader, writer = await asyncio.open_connection("server", 80)
        self._writers.append(writer)
        return reader, writer

    def leave(self) -> None:
        for writer in self._writers:
            writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def play(main: Callable[[Place], Awaitable[None]]) -> None:
    network = Network(Random(1), lambda _: None, Counter())

    async def played() -> None:
        place = Place(network)
        running = asyncio.get_running_loop()
        context = place.client.context.copy()
        await running.create_task(_of(main(place)), context=context)
        place.leave()

    try:
        loop.run(played, network.connect, 1)
    finally:
        network.close()


async def _of(work: Awaitable[None]) -> None:
    await work


def now() -> float:
    return asyncio.get_running_loop().time()


def test_what_is_sent_comes_in_its_order() -> None:
    async def main(place: Place) -> None:
        reader, writer = await place.connect()
        sent = bytes(range(256)) * 40
        for start in range(0, len(sent), 100):
            writer.write(sent[start : start + 100])
        assert await reader.readexactly(len(sent)) == sent

    play(main)


def test_what_a_partition_holds_comes_when_it_has_healed() -> None:
    async def main(place: Place) -> None:
        reader, writer = await place.connect()
        began = now()
        place.network.block("client", "server", {"client"})
        writer.write(b"abc")
        running = asyncio.get_running_loop()
        running.call_later(5, place.network.heal, "client", "server")
        running.call_later(2, writer.write, b"def")
        assert await reader.readexactly(6) == b"abcdef"
        assert 5 < now() - began < 6

    play(main)


@pytest.mark.parametrize(
    ("how", "ends"),
    [("reset", ConnectionResetError), ("cut", None), ("stall", TimeoutError)],
)
def test_a_connection_ends_in_the_middle(
    how: How, ends: type[Exception] | None
) -> None:
    async def main(place: Place) -> None:
        with place.network.damaged("client", "server", after=4, how=how, back=True):
            reader, writer = await place.connect()
        writer.write(b"abcdefgh")
        got = bytearray()
        with contextlib.nullcontext() if ends is None else pytest.raises(ends):
            async with asyncio.timeout(60):
                while part := await reader.read(100):
                    got += part
        assert got in ([b"", b"abcd"] if how == "reset" else [b"abcd"])

    play(main)


@pytest.mark.parametrize("silently", [False, True])
def test_a_process_closes_what_it_leaves_and_a_machine_does_not(silently: bool) -> None:
    async def main(place: Place) -> None:
        reader, writer = await place.connect()
        place.network.end(place.server, silently=silently)
        if silently:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 60)
            place.network.return_of(place.server, Host("server", accept=Echo))
            writer.write(b"still there?")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 60)
        if not silently:
            with pytest.raises(ConnectionRefusedError):
                await place.connect()

    play(main)


def test_who_forgets_a_connection_closes_it() -> None:
    async def main(place: Place) -> None:
        running = asyncio.get_running_loop()
        transport, _ = await running.create_connection(asyncio.Protocol, "server", 80)
        assert len(place.client.ends) == 1
        transport.pause_reading()
        del transport
        assert place.client.ends == []

    play(main)


def test_a_run_that_has_no_end_is_told() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    network = Network(Random(1), lambda _: None, Counter())
    for main in (wait, spin):
        with pytest.raises(loop.EndlessError):
            loop.run(main, network.connect, 1)
    network.close()
