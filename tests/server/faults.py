"""All that can be wrong with Redis, on real servers: how it breaks and is mended.

A fault is not told to anybody: it is found by whoever asks.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import TypeAlias

from tests.server.relay import Relay, Way, relay
from tests.server.topologies import Cluster, Node, pair, slot_of, tell, until
from tests.server.valkey import Valkey, valkey

PREFIX = "ratelimit"
"""Of the limiters that are asked: a cluster moves their slot."""


@dataclass(frozen=True, slots=True)
class Site:
    """A Redis that works, and what breaks it."""

    url: str
    begin: Callable[[], None]
    """Break it; it is broken when this returns."""
    end: Callable[[], None]
    """Mend it; the server itself answers when this returns."""


Fault: TypeAlias = Callable[[], AbstractContextManager[Site]]
FaultOfCluster: TypeAlias = Callable[[Cluster], AbstractContextManager[Site]]


@contextmanager
def refused() -> Iterator[Site]:
    """Nobody listens."""
    with valkey() as server:
        yield Site(server.url, server.stop, server.start)


@contextmanager
def black_hole() -> Iterator[Site]:
    """Connections are accepted, and what is sent there is lost."""
    with _relayed() as wire:
        yield Site(_url(wire), _sets(wire, "lose"), _sets(wire, "pass"))


@contextmanager
def cut() -> Iterator[Site]:
    """Every connection is reset in the middle of its next reply."""
    with _relayed() as wire:
        yield Site(_url(wire), _sets(wire, "cut"), _sets(wire, "pass"))


@contextmanager
def frozen() -> Iterator[Site]:
    """The process is stopped (SIGSTOP): the kernel accepts, and nobody answers."""
    with valkey() as server:

        def end() -> None:
            server.resume()
            _until_it_answers(server)

        yield Site(server.url, server.pause, end)


@contextmanager
def busy() -> Iterator[Site]:
    """A script runs without an end: -BUSY."""
    with valkey("--busy-reply-threshold", "1") as server:

        def begin() -> None:
            server.send("EVAL", "while true do end", "0").close()
            until(lambda: server.ask("PING").startswith(b"-BUSY"))

        def end() -> None:
            server.ask("SCRIPT", "KILL")
            _until_it_answers(server)

        yield Site(server.url, begin, end)


@contextmanager
def out_of_memory() -> Iterator[Site]:
    """There is no room, and nothing may be evicted: -OOM."""
    with valkey("--maxmemory-policy", "noeviction") as server:
        full = _tells(server, "CONFIG SET maxmemory", 1)
        yield Site(server.url, full, _tells(server, "CONFIG SET maxmemory", 0))


@contextmanager
def read_only() -> Iterator[Site]:
    """It has become a replica, which its scripts find out: -READONLY."""
    with valkey() as server:
        demoted = _tells(server, "REPLICAOF", "127.0.0.1", 1)
        yield Site(server.url, demoted, _tells(server, "REPLICAOF NO ONE"))


@contextmanager
def moved(there: Cluster) -> Iterator[Site]:
    """It is one of a cluster, and its slot is elsewhere now: -MOVED."""
    slot, home, away = _neighbours(there)
    tell(home, "FLUSHALL")
    yield Site(home.url, lambda: there.move(slot, away), lambda: there.move(slot, home))


@contextmanager
def asked_elsewhere(there: Cluster) -> Iterator[Site]:
    """It is one of a cluster, and its slot is on its way: -ASK for all that is new."""
    slot, home, away = _neighbours(there)
    tell(home, "FLUSHALL")

    def begin() -> None:
        there.begin_to_move(slot, away)
        tell(home, "FLUSHALL")

    def end() -> None:
        for node in (home, away):
            tell(node, "CLUSTER SETSLOT", slot, "STABLE")

    yield Site(home.url, begin, end)


@contextmanager
def crowded() -> Iterator[Site]:
    """It has as many clients as it may, and none of them is ours: -ERR max number."""
    with valkey() as server, server.send("PING") as only:

        def begin() -> None:
            only.sendall(b"CONFIG SET maxclients 1\r\n")
            only.sendall(b"CLIENT KILL TYPE normal SKIPME yes\r\n")
            until(lambda: _turns_away(server))

        def end() -> None:
            only.sendall(b"CONFIG SET maxclients 100\r\n")
            until(lambda: not _turns_away(server))

        yield Site(server.url, begin, end)


@contextmanager
def loading() -> Iterator[Site]:
    """It was started anew, and reads what it had saved: -LOADING."""
    with TemporaryDirectory() as directory:
        debug = ("--enable-debug-command", "yes", "--rdbcompression", "no")
        with valkey("--dir", directory, *debug) as server:
            # It looks up from each key, and takes half a minute for all of them.
            slowly = ("--key-load-delay", "10000")
            looks_up = ("--loading-process-events-interval-bytes", "1024")

            def begin() -> None:
                tell(server, "DEBUG POPULATE", 3_000, "key", 2_048)
                tell(server, "SAVE")
                server.stop()
                server.start(*slowly, *looks_up, says=b"-LOADING")

            def end() -> None:
                server.ask("CONFIG", "SET", "key-load-delay", "0")
                _until_it_answers(server)

            yield Site(server.url, begin, end)


@contextmanager
def failed_over() -> Iterator[Site]:
    """It has died, and at its address there is its replica after a while."""
    with pair() as both, relay(both.primary.port) as wire:

        def begin() -> None:
            both.cut_off()
            both.primary.stop()
            both.replica.resume()

        def end() -> None:
            both.promote()
            wire.to = both.replica.port

        yield Site(_url(wire), begin, end)


@contextmanager
def flushed() -> Iterator[Site]:
    """Its scripts are forgotten: -NOSCRIPT."""
    with valkey() as server:
        flush = _tells(server, "SCRIPT FLUSH")
        yield Site(server.url, flush, flush)


@contextmanager
def followed(there: Cluster) -> Iterator[Site]:
    """A slot is elsewhere now, for who knows that it is a cluster."""
    with moved(there) as site:
        yield replace(site, url=there.url)


FAULTS: dict[str, Fault] = {
    "refused": refused,
    "black hole": black_hole,
    "SIGSTOP": frozen,
    "BUSY": busy,
    "OOM": out_of_memory,
    "READONLY": read_only,
    "maxclients": crowded,
    "LOADING": loading,
    "failover": failed_over,
    "cut reply": cut,
}
FAULTS_OF_CLUSTERS: dict[str, FaultOfCluster] = {
    "MOVED": moved,
    "ASK": asked_elsewhere,
}
"""For who does not know that it is a cluster."""

HARMLESS: dict[str, Fault] = {"NOSCRIPT": flushed}
HARMLESS_IN_CLUSTERS: dict[str, FaultOfCluster] = {"MOVED, followed": followed}
"""What nobody is to notice."""


@contextmanager
def _relayed() -> Iterator[Relay]:
    with valkey() as server, relay(server.port) as wire:
        yield wire


def _neighbours(there: Cluster) -> tuple[int, Node, Node]:
    """Return the slot, who has it, and another."""
    slot = slot_of(PREFIX)
    home = there.owner(slot)
    return slot, home, next(it for it in there.primaries if it is not home)


def _url(wire: Relay) -> str:
    return f"redis://127.0.0.1:{wire.port}/0"


def _sets(wire: Relay, way: Way) -> Callable[[], None]:
    def now() -> None:
        wire.way = way

    return now


def _tells(server: Valkey, *words: str | int) -> Callable[[], None]:
    def now() -> None:
        tell(server, *words)

    return now


def _turns_away(server: Valkey) -> bool:
    try:
        return server.ask("PING").startswith(b"-ERR max")
    except ConnectionResetError:  # before its reply was read: it does not read ours
        return True


def _until_it_answers(server: Valkey) -> None:
    until(lambda: server.ask("PING").startswith(b"+PONG"))
