"""The network between hosts: connections in memory, which pass bytes in their time.

What sits on them is real on both ends: anyio's streams under httpcore and redis-py on
the one, uvicorn on the other. A connection behaves as TCP does, as far as a program can
see::

    partitioned    what was sent is kept, and arrives after it has healed
    reset          both ends lose it, with what was on its way
    cut            the rest of a message never comes, and the connection ends
    stalled        the rest never comes, and nobody is told
    host is gone   a process that dies closes its sockets; a machine that dies does not
"""

import asyncio
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, Final, Literal

How = Literal["reset", "cut", "stall"]
Note = Callable[[str], None]

LATENCY: Final = 0.001
"""Seconds that bytes take at the least."""
_RESENT: Final = 0.2  # seconds: within which a partition that has healed is noticed
_FULL: Final = 65_536  # bytes on their way at which a writer is told to wait
_PIECES: Final = 3
_HTTP: Final = 80

here: ContextVar["Host"] = ContextVar("here")
"""The host that what runs is part of."""


class _End:
    """The end of what one direction carries."""


_FIN: Final = _End()
_RST: Final = _End()
_Item = bytes | _End


@dataclass(eq=False)
class Host:
    """One process on one machine, until it ends."""

    name: str
    address: str = "10.0.0.1"
    """Where others see it come from."""
    is_up: bool = True
    is_gone: bool = False
    """Whether its machine went with it, and closed nothing."""
    accept: Callable[[], asyncio.BaseProtocol] | None = None
    """Makes what serves a new connection; None for who only calls others."""
    ends: list["End"] = field(default_factory=list)
    """Its ends of open connections."""
    context: Context = field(default_factory=Context)
    """In which what it does is done."""

    def __post_init__(self) -> None:
        self.context.run(here.set, self)


@dataclass(eq=False)
class Link:
    """The way between two names, in both directions."""

    extra: float = 0.0
    """Seconds that bytes take at most besides the least."""
    blocked: set[str] = field(default_factory=set)
    """The names from which nothing comes through now."""
    held: deque["_Direction"] = field(default_factory=deque)
    dooms: list[tuple[int, How, bool]] = field(default_factory=list)
    """How new connections are to end."""


class Network:
    """Who can reach whom, and how.

    Args:
        rng: Draws how long bytes take, and in which pieces they come.
        note: Is told what happens.
        met: Counts it.

    """

    def __init__(self, rng: Random, note: Note, met: Counter[str]) -> None:
        self._rng = rng
        self.note = note
        self.met = met
        self._links: dict[frozenset[str], Link] = {}
        self._served: dict[str, list[Host]] = {}
        """By address, who may answer there."""
        self._wires: list[_Wire] = []
        self._number = 0
        # Neither end is ever written to: what polls it sees that nothing came.
        self._silent, self._mute = os.pipe()

    def close(self) -> None:
        """Give back what the machine gave."""
        os.close(self._silent)
        os.close(self._mute)

    def serve(self, address: str, host: Host) -> None:
        """Have `host` answer at `address`, beside whoever does already."""
        self._served.setdefault(address, []).append(host)

    def link(self, one: str, other: str) -> Link:
        """Return the way between two names."""
        return self._links.setdefault(frozenset((one, other)), Link())

    def open_wires(self) -> Iterator["_Wire"]:
        """Yield the connections that neither end has left for good."""
        self._wires = [wire for wire in self._wires if not wire.is_over]
        yield from tuple(self._wires)

    async def connect(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **_: object,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Open a connection; as `loop.create_connection`."""
        client, loop = here.get(), asyncio.get_running_loop()
        server = self._choose(f"{host}:{port}")
        link = self.link(client.name, server.name)
        # There and back again.
        await asyncio.sleep(self._latency(link) + self._latency(link))
        while link.blocked or server.is_gone or not client.is_up:
            # Nobody says no: the kernel goes on asking.
            await asyncio.sleep(_RESENT)
            server = self._choose(f"{host}:{port}")
            link = self.link(client.name, server.name)
        if not server.is_up or server.accept is None:
            raise ConnectionRefusedError(f"nobody serves {host}:{port}")
        self._number += 1
        wire = _Wire(self, self._number, link, client, server)
        self._wires.append(wire)
        for after, how, back in link.dooms:
            wire.directions[back].doom(after or 1, how)
        self.note(f"wire {wire.number}: {client.name} to {server.name}")
        protocol = protocol_factory()
        transport = wire.ends[0].begin(protocol, copy_context())
        context = server.context.copy()
        accepted = context.run(server.accept)
        loop.call_soon(wire.ends[1].begin, accepted, context)
        return transport, protocol

    # What goes wrong.

    @contextmanager
    def slower(self, one: str, other: str, extra: float) -> Iterator[None]:
        """Have bytes take up to `extra` seconds more."""
        link = self.link(one, other)
        link.extra += extra
        try:
            yield
        finally:
            link.extra -= extra

    def block(self, one: str, other: str, names: set[str]) -> None:
        """Let nothing through that comes from `names`."""
        self.link(one, other).blocked |= names

    def heal(self, one: str, other: str) -> None:
        """Let all through, and what was held in its order."""
        link = self.link(one, other)
        link.blocked.clear()
        loop = asyncio.get_running_loop()
        held, link.held = link.held, deque()
        for direction in held:
            loop.call_later(self._rng.uniform(0, _RESENT), direction.resume)

    @contextmanager
    def damaged(
        self, one: str, other: str, *, after: int, how: How, back: bool
    ) -> Iterator[None]:
        """Have connections end after so many bytes: open ones, and those opened inside.

        Args:
            one: Who connects.
            other: Who serves.
            after: Bytes, from now on; 0: at once, for those that are open.
            how: In which way.
            back: Whether they are counted on the way back.

        """
        link = self.link(one, other)
        for wire in self.open_wires():
            if wire.link is link:
                wire.directions[back].doom(after, how)
        doom = after, how, back
        link.dooms.append(doom)
        try:
            yield
        finally:
            link.dooms.remove(doom)

    def end(self, host: Host, *, silently: bool) -> None:
        """End a process, by itself or with its machine."""
        host.is_up, host.is_gone = False, silently
        for end in tuple(host.ends):
            end.vanish(silently=silently)

    def return_of(self, host: Host, new: Host) -> None:
        """Have `new` serve where `host` did."""
        host.is_gone = False  # its machine says that it knows none of its connections
        for hosts in self._served.values():
            if host in hosts:
                hosts[hosts.index(host)] = new

    def _choose(self, address: str) -> Host:
        hosts = self._served.get(address)
        if not hosts:
            raise ConnectionRefusedError(f"nobody serves {address}")
        return self._rng.choice(hosts)

    def _latency(self, link: Link) -> float:
        return LATENCY + self._rng.random() * (LATENCY + link.extra)

    def pieces(self, data: bytes) -> list[bytes]:
        """Return `data` as it comes: in one piece or in a few."""
        rng = self._rng
        if len(data) < _PIECES or rng.random() < 0.7:
            return [data]
        cuts = sorted(rng.randrange(1, len(data)) for _ in range(rng.randrange(1, 3)))
        bounds = [0, *cuts, len(data)]
        return [data[start:end] for start, end in pairwise(bounds) if end > start]

    def arrival(self, link: Link, last: float) -> float:
        """Return when something that is sent now arrives, after what came last."""
        now = asyncio.get_running_loop().time()
        return max(last, now + self._latency(link))


class _Wire:
    """One connection: two ends, and a direction from each to the other."""

    def __init__(
        self, network: Network, number: int, link: Link, client: Host, server: Host
    ) -> None:
        self.network = network
        self.number = number
        self.link = link
        self.ends = (
            End(self, client, (server.address, _HTTP)),
            End(self, server, (client.address, 10_000 + number)),
        )
        self.directions = (
            _Direction(self, self.ends[0], self.ends[1]),
            _Direction(self, self.ends[1], self.ends[0]),
        )
        self.ends[0].out, self.ends[1].out = self.directions

    def __str__(self) -> str:
        ends = (
            f"{end.host.name}{'' if end.is_lost else ' (open)'}" for end in self.ends
        )
        return f"wire {self.number}: {' to '.join(ends)}"

    @property
    def is_over(self) -> bool:
        """Whether both ends have left, or one will never hear that the other did."""
        if any(not end.host.is_up for end in self.ends):
            return True
        if any(direction.is_stalled for direction in self.directions):
            return any(end.is_lost for end in self.ends)
        return all(end.is_lost for end in self.ends)

    def reset(self) -> None:
        """Have both ends lose it at once."""
        for end in self.ends:
            end.receive(_RST)


class _Direction:
    """What is on its way from one end to the other, in its order."""

    def __init__(self, wire: _Wire, sender: "End", receiver: "End") -> None:
        self._wire = wire
        self._sender = sender
        self._receiver = receiver
        self._last = 0.0
        self._going: deque[_Item] = deque()
        self._held: deque[_Item] = deque()
        self._left: int | None = None
        """Bytes until it ends in the way that was chosen; None for no end."""
        self._how: How = "reset"
        self._is_spent = False
        self.is_stalled = False
        self.size = 0
        """Bytes on their way."""

    def doom(self, after: int, how: How) -> None:
        """Have it end after so many more bytes."""
        self._left, self._how = after, how
        if after == 0:
            self._give_out()

    def carry(self, item: _Item) -> None:
        """Send something on its way."""
        network, loop = self._wire.network, asyncio.get_running_loop()
        for piece in network.pieces(item) if isinstance(item, bytes) else [item]:
            self.size += len(piece) if isinstance(piece, bytes) else 0
            self._last = network.arrival(self._wire.link, self._last)
            self._going.append(piece)
            loop.call_at(self._last, self._arrive_next)

    def resume(self) -> None:
        """Let through what was held."""
        held, self._held = self._held, deque()
        for item in held:
            self._arrive(item)

    def _arrive_next(self) -> None:
        # Not what the timer was made for: timers of one moment come in any order.
        self._arrive(self._going.popleft())

    def _arrive(self, item: _Item) -> None:
        if self._held or self._sender.host.name in self._wire.link.blocked:
            if not self._held:
                self._wire.link.held.append(self)
            self._held.append(item)
            self._wire.network.met["piece held back"] += 1
            return
        if isinstance(item, bytes):
            self.size -= len(item)
            self._sender.drained(self.size)
            item = self._spared(item)
            if not item:
                return
        elif self._left is not None and self._left <= 0:
            return
        self._receiver.receive(item)
        if self._left is not None and self._left <= 0:
            self._give_out()

    def _spared(self, data: bytes) -> bytes:
        """Return what of `data` comes through."""
        if self._left is None:
            return data
        spared = data[: max(0, self._left)]
        self._left -= len(data)
        return spared

    def _give_out(self) -> None:
        if self._is_spent:
            return
        self._is_spent = True
        wire, how = self._wire, self._how
        wire.network.note(f"wire {wire.number}: {how}")
        wire.network.met[how] += 1
        self.is_stalled = how == "stall"
        if how == "reset":
            wire.reset()
        elif how == "cut":
            self._receiver.receive(_FIN)
            self._sender.receive(_RST)


class _Socket:
    """What asks a connection for its socket is given."""

    family = socket.AF_INET

    def __init__(self, end: "End") -> None:
        self._end = end

    def fileno(self) -> int:
        """Return a descriptor that is readable if there is something to be read."""
        return self._end.descriptor()

    def getpeername(self) -> tuple[str, int]:
        """Return whom it leads to."""
        return self._end.peer

    def getsockname(self) -> tuple[str, int]:
        """Return where it comes from."""
        return self._end.host.address, 0

    def setsockopt(self, *_: object) -> None:
        """Do nothing: there is nothing to be set."""


class End:
    """One end of a connection, as a kernel has it."""

    out: _Direction

    def __init__(self, wire: _Wire, host: Host, peer: tuple[str, int]) -> None:
        self.host = host
        self.peer = peer
        self._wire = wire
        self._protocol: Any = None
        self._context = Context()
        self._came: deque[_Item] = deque()
        self._is_reading = True
        self._is_closing = False
        self._is_paused = False
        self._has_sent_fin = False
        self._has_vanished = False
        self.is_lost = False
        host.ends.append(self)

    def begin(self, protocol: asyncio.BaseProtocol, context: Context) -> "Transport":
        """Hand what comes to `protocol` from now on."""
        self._context = context
        self._protocol = protocol
        transport = Transport(self)
        if not self._has_vanished:
            context.run(protocol.connection_made, transport)
            self._hand_on()
        return transport

    # What the network does.

    def receive(self, item: _Item) -> None:
        """Take in what has arrived."""
        if self.is_lost or self._has_vanished or self._is_closing:
            # Nobody is there: its kernel says so, unless that is gone as well.
            if isinstance(item, bytes) and not self.host.is_gone:
                self.out.carry(_RST)
            if item is _RST:
                self._lose(None)
            return
        self._came.append(item)
        if self._is_reading:
            self._soon(self._hand_on)

    def drained(self, size: int) -> None:
        """Take in that only so much is on its way now."""
        if self._is_paused and size == 0:
            self._is_paused = False
            if not self._has_vanished:
                self._context.copy().run(self._protocol.resume_writing)

    def vanish(self, *, silently: bool) -> None:
        """End with its process: nothing more is handed to it."""
        self._has_vanished = self.is_lost = True
        self.host.ends.remove(self)
        if not silently:
            self.out.carry(_RST)

    def descriptor(self) -> int:
        """Return -1 if there is something to be read."""
        if self.is_lost or self._is_closing or self._came:
            return -1
        return self._wire.network._silent

    # What a program does.

    def write(self, data: Any) -> None:
        """Send bytes."""
        if self._is_closing or self.is_lost or self._has_sent_fin or not data:
            return
        if _RST in self._came:
            self._lose(ConnectionResetError("reset by peer"))
            return
        self.out.carry(bytes(data))
        if self.out.size > _FULL and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        """Send no more."""
        if not self._has_sent_fin and not self.is_lost:
            self._has_sent_fin = True
            self.out.carry(_FIN)

    def close(self) -> None:
        """Close it, once what was written is on its way."""
        if self._is_closing or self.is_lost:
            return
        with suppress(RuntimeError):  # there is no loop any more
            self.write_eof()
            self._is_closing = True
            self._lose(None)

    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        return self._is_closing or self.is_lost

    def pause_reading(self) -> None:
        """Hand nothing on for a while."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Hand on what came."""
        if not self._is_reading:
            self._is_reading = True
            if self._came:
                self._soon(self._hand_on)

    def is_reading(self) -> bool:
        """Tell whether what comes is handed on."""
        return self._is_reading

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes to another one."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return whom what comes is handed to."""
        found: asyncio.BaseProtocol = self._protocol
        return found

    def _soon(self, work: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(work, context=self._context.copy())

    def _hand_on(self) -> None:
        while self._came and self._is_reading and self._protocol is not None:
            if self.is_lost or self._is_closing:
                return
            item = self._came.popleft()
            if isinstance(item, bytes):
                self._protocol.data_received(item)
            elif item is _RST:
                self._lose(ConnectionResetError("reset by peer"))
            elif not self._protocol.eof_received():
                self.close()

    def _lose(self, error: Exception | None) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        self.host.ends.remove(self)
        self._came.clear()
        if not self._has_vanished and self._protocol is not None:
            asyncio.get_running_loop().call_soon(
                self._protocol.connection_lost, error, context=self._context.copy()
            )


class Transport(asyncio.Transport):
    """What a program has of its end of a connection.

    Who forgets it closes it, as it is with sockets.
    """

    def __init__(self, end: End) -> None:
        super().__init__()
        self._end = end
        self.write = end.write  # type: ignore[method-assign] # all of it is the end's
        self.write_eof = end.write_eof  # type: ignore[method-assign] # likewise
        self.close = self.abort = end.close  # type: ignore[method-assign] # likewise
        self.is_closing = end.is_closing  # type: ignore[method-assign] # likewise
        self.pause_reading = end.pause_reading  # type: ignore[method-assign] # likewise
        self.resume_reading = end.resume_reading  # type: ignore[method-assign] # likewise
        self.is_reading = end.is_reading  # type: ignore[method-assign] # likewise
        self.set_protocol = end.set_protocol  # type: ignore[method-assign] # likewise
        self.get_protocol = end.get_protocol  # type: ignore[method-assign] # likewise

    def __del__(self) -> None:
        self._end.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell about the socket."""
        if name == "socket":
            return _Socket(self._end)
        if name == "peername":
            return self._end.peer
        return (self._end.host.address, 0) if name == "sockname" else default

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Do nothing: the limit is the network's."""

    def get_write_buffer_size(self) -> int:
        """Return how much is not on its way yet."""
        return 0

    def can_write_eof(self) -> bool:
        """Tell whether one direction can be closed."""
        return True
