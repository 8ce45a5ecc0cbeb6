"""Servers that know one another: a cluster, a primary with a replica, Sentinels.

Each is ready when it is given: whoever asks any of the servers hears the same.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import redis.asyncio
from redis import Redis
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.crc import key_slot

from tests.server.valkey import QUIET, Valkey, free_port, valkey

SERVICE = "kit"
"""What Sentinels know the primary as."""

Client: TypeAlias = redis.asyncio.Redis | redis.asyncio.RedisCluster

_AT_ONCE = ("--repl-diskless-sync-delay", "0")  # a replica is served as it comes
_SLOTS = 16_384
_SECONDS_TO_AGREE = 30


class Node(Valkey):
    """A server of a cluster, and what the others know it as."""

    def __init__(self, port: int, directory: str) -> None:
        self.bus = free_port()
        own = ("--dir", directory, "--cluster-config-file", f"{port}.conf")
        bus = ("--cluster-enabled", "yes", "--cluster-port", str(self.bus))
        # Nobody is given up, or promoted, by the cluster itself.
        patient = ("--cluster-node-timeout", "60000")
        super().__init__(port, (*QUIET, *_AT_ONCE, *own, *bus, *patient))
        self.name = str(tell(self, "CLUSTER MYID"))


@dataclass(slots=True)
class Cluster:
    """Primaries that share the slots evenly, and at most one replica."""

    primaries: list[Node]
    spare: Node | None
    """A replica of the first primary."""

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.primaries[0].port}"

    @property
    def nodes(self) -> list[Node]:
        return [*self.primaries, *([self.spare] if self.spare else [])]

    def owner(self, slot: int) -> Node:
        """Return who has a slot now, as the last of the primaries knows it."""
        shards: Any = tell(self.primaries[-1], "CLUSTER SLOTS")
        (port,) = [node[1] for first, last, node, *_ in shards if first <= slot <= last]
        return next(node for node in self.nodes if node.port == port)

    def begin_to_move(self, slot: int, to: Node) -> None:
        """From now on whoever asks for a key that is not there is told to ask `to`."""
        source = self.owner(slot)
        tell(to, "CLUSTER SETSLOT", slot, "IMPORTING", source.name)
        tell(source, "CLUSTER SETSLOT", slot, "MIGRATING", to.name)

    def move(self, slot: int, to: Node) -> None:
        """Give a slot, with what is in it, to another primary."""
        source = self.owner(slot)
        if source is to:
            return
        self.begin_to_move(slot, to)
        while keys := tell(source, "CLUSTER GETKEYSINSLOT", slot, 100):
            where = ("127.0.0.1", to.port, "", 0, 5_000, "KEYS")
            tell(source, "MIGRATE", *where, *keys)
        for node in (to, source, *self.primaries):
            tell(node, "CLUSTER SETSLOT", slot, "NODE", to.name)
        until(lambda: self.owner(slot) is to)

    def promote(self) -> None:
        """Have the spare and the first primary change places, whatever that one does.

        The slots stay where they are among `primaries`.
        """
        assert self.spare is not None
        first, spare = self.primaries[0], self.spare
        tell(spare, "CLUSTER FAILOVER", "TAKEOVER")
        self.primaries[0], self.spare = spare, first
        until(lambda: all(_is_led(node, self.primaries) for node in self.primaries))

    def wait(self) -> None:
        """Wait until all agree, and the spare has all that its primary has."""
        until(lambda: all(_is_led(node, self.primaries) for node in self.nodes))
        spare = self.spare
        if spare is not None:
            until(lambda: "master_link_status:up" in _info(spare))


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary, and a replica of it."""

    primary: Valkey
    replica: Valkey

    def synchronise(self) -> None:
        """Wait until the replica has all that the primary has."""
        with Redis(port=self.primary.port, single_connection_client=True) as client:
            client.set("synchronised", "now")  # a client waits for its own writes
            assert client.wait(1, 20_000) == 1

    def cut_off(self) -> None:
        """Let the replica hear of nothing more, until it is resumed."""
        self.synchronise()
        self.replica.pause()
        tell(self.primary, "CLIENT KILL TYPE REPLICA")

    def promote(self) -> None:
        """Make the replica a primary."""
        tell(self.replica, "REPLICAOF", "NO", "ONE")


class SentinelServer(Valkey):
    """One that watches a primary, and says which server that is."""

    def __init__(self, directory: str, primary: Valkey, quorum: int) -> None:
        port = free_port()
        settings = Path(directory, f"{port}.conf")
        settings.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\n"
            f"sentinel failover-timeout {SERVICE} 2000\n"
        )
        options = (str(settings), "--sentinel", "--dir", directory)
        super().__init__(port, (*options, "--loglevel", "warning"))

    def knows(self) -> dict[str, str]:
        """Return what it says of the primary."""
        told: Any = tell(self, "SENTINEL", "MASTER", SERVICE)
        return dict(zip(told[::2], told[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Watched:
    """A pair, and the Sentinels that watch it."""

    pair: Pair
    sentinels: list[SentinelServer]

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{it.port}" for it in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}"

    def fail_over(self) -> None:
        """Have the Sentinels promote the replica; it is done when all say so."""
        until(self._begins_to_fail_over)
        self.wait_for_promotion()

    def _begins_to_fail_over(self) -> bool:
        reply = self.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
        return reply.startswith(b"+OK")  # it may not have heard of the replica lately

    def wait_for_promotion(self) -> None:
        """Wait until all Sentinels say that the replica is the primary, and it is."""
        port = str(self.pair.replica.port)
        until(lambda: all(it.knows()["port"] == port for it in self.sentinels))
        until(lambda: tell(self.pair.replica, "ROLE")[0] == "master")


@contextmanager
def cluster(*, primaries: int = 3, spare: bool = True) -> Iterator[Cluster]:
    """Run a cluster, and end it.

    Args:
        primaries: How many share the slots.
        spare: Whether the first has a replica.

    """
    with TemporaryDirectory() as directory, ExitStack() as running:
        nodes = []
        for _ in range(primaries + spare):
            nodes.append(Node(free_port(), directory))
            running.callback(nodes[-1].stop)
        for epoch, node in enumerate(nodes, start=1):
            tell(node, "CLUSTER SET-CONFIG-EPOCH", epoch)  # or they have to find theirs
        owners = nodes[:primaries]
        ends = [_SLOTS * number // primaries for number in range(primaries + 1)]
        for node, first, end in zip(owners, ends, ends[1:], strict=False):
            tell(node, "CLUSTER ADDSLOTSRANGE", first, end - 1)
            for other in nodes:
                tell(node, "CLUSTER MEET", "127.0.0.1", other.port, other.bus)
        until(lambda: all(_knows_all(node, len(nodes)) for node in nodes))
        replica = nodes[-1] if spare else None
        if replica is not None:
            tell(replica, "CLUSTER REPLICATE", owners[0].name)
        running_as_one = Cluster(owners, replica)
        running_as_one.wait()
        yield running_as_one


@contextmanager
def pair() -> Iterator[Pair]:
    """Run a primary and a replica that has caught up with it, and end them."""
    with valkey(*_AT_ONCE) as primary:
        follows = ("--replicaof", f"127.0.0.1 {primary.port}")
        with valkey(*_AT_ONCE, *follows) as replica:
            until(lambda: "master_link_status:up" in _info(replica))
            yield Pair(primary, replica)


@contextmanager
def watched(sentinels: int = 1) -> Iterator[Watched]:
    """Run a pair with so many Sentinels that know it and one another, and end them."""
    quorum = sentinels // 2 + 1
    with TemporaryDirectory() as directory, ExitStack() as running:
        both = running.enter_context(pair())
        watching: list[SentinelServer] = []
        for _ in range(sentinels):
            watching.append(SentinelServer(directory, both.primary, quorum))
            running.callback(watching[-1].stop)
        known = {"num-slaves": "1", "num-other-sentinels": str(sentinels - 1)}
        until(lambda: all(known.items() <= it.knows().items() for it in watching))
        yield Watched(both, watching)


def at_sentinels(there: Watched) -> Client:
    """Return a client as users make it, with the settings that redis-py gives it."""
    places = [("127.0.0.1", it.port) for it in there.sentinels]
    client: Client = Sentinel(places).master_for(SERVICE)  # type: ignore[no-untyped-call] # redis-py
    return client


def at_cluster(there: Cluster) -> Client:
    """Return a client as users make it, with the settings that redis-py gives it."""
    return redis.asyncio.RedisCluster(host="127.0.0.1", port=there.primaries[0].port)


async def close(client: Client) -> None:
    """Close a client, with those that it asks where its server is."""
    await client.aclose()
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        await pool.sentinel_manager.aclose()


def tell(server: Valkey, *words: str | bytes | int) -> Any:
    """Return the reply to one command, strings as text."""
    with Redis(port=server.port, decode_responses=True, protocol=2) as client:
        name, *arguments = words
        return client.execute_command(*str(name).split(), *arguments)


def until(holds: Callable[[], bool]) -> None:
    """Wait for other processes, which have no events."""
    ends = time.monotonic() + _SECONDS_TO_AGREE
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def slot_of(prefix: str) -> int:
    """Return the slot of all that a limiter with `prefix` keeps."""
    return key_slot(prefix.encode())


def _info(server: Valkey) -> str:
    return server.ask("INFO", "replication").decode()


def _knows_all(node: Node, count: int) -> bool:
    told = node.ask("CLUSTER", "INFO").decode()
    return (
        f"cluster_known_nodes:{count}\r" in told
        and f"cluster_current_epoch:{count}\r" in told
    )


def _is_led(node: Node, by: list[Node]) -> bool:
    """Tell whether a node is content, and takes `by` for the primaries."""
    if b"cluster_state:ok" not in node.ask("CLUSTER", "INFO"):
        return False
    shards = tell(node, "CLUSTER SLOTS")
    return {it[2][1] for it in shards} == {owner.port for owner in by}
