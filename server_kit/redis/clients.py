"""Clients of Redis, one for each event loop."""

import asyncio
from importlib import import_module
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import ref

from resilient_http.loops import running_loop
from server_kit.redis.connection import Connection, connect
from server_kit.redis.loops import ByLoop
from server_kit.redis.scripts import Call, evaluate

CLUSTER: Final = ("redis+cluster://", "rediss+cluster://")
SENTINEL: Final = "redis+sentinel://"
SCHEMES: Final = ("redis://", "rediss://", "unix://", *CLUSTER, SENTINEL)

_CONNECTIONS: Final = 32  # a script is over in less than a millisecond
_SENTINEL_PORT: Final = 26_379
_SENTINEL_ANSWERS: Final = 0.1  # seconds, or it is passed over


class Clients:
    """A client for whichever loop runs, as connections belong to the loop they are of.

    Args:
        at: A URL, or a `redis.asyncio` client, which is not closed here. The loop that
            uses it first has it to itself; others get copies, where it has a pool that
            can be copied.
        timeout: Seconds to wait for a connection out of a pool.
        what: What is kept there, for errors.

    """

    def __init__(self, at: object, *, timeout: float, what: str) -> None:
        check_redis("redis", at)
        import_module("redis.asyncio")  # before there is a loop that waits for it
        self._at: Any = at
        self._timeout = timeout
        self._what = what
        self._ours: ByLoop[Any] = ByLoop()
        self._connections: ByLoop[Connection] = ByLoop()
        self._opening: ByLoop[asyncio.Lock] = ByLoop()
        self._can_connect = isinstance(at, str)
        self._in_doubt: ByLoop[bool] = ByLoop()
        self._first: ref[Any] | None = None

    def here(self) -> Any:
        """Return the client of the running loop.

        Raises:
            RuntimeError: This is not asyncio.

        """
        client = self._ours.here()
        if client is not None:
            return client
        loop = running_loop()
        if loop is None:
            raise RuntimeError(
                f"{self._what} in Redis need asyncio, and this is another event loop:"
                " keep them in memory there"
            )
        if isinstance(self._at, str):
            return self._ours.put(_connected_to(self._at, self._timeout))
        first = self._first and self._first()
        if first is None or first is loop or not _can_be_copied(self._at):
            self._first = ref(loop)
            return self._at
        return self._ours.put(_copy_of(self._at))

    async def evaluate(self, call: Call) -> Any:
        """Run a script in the running loop, and return its reply, strings as bytes."""
        client = self.here()
        if self._in_doubt.here():
            nodes = getattr(client, "nodes_manager", None)
            if nodes is not None:
                await nodes.initialize()
            self._in_doubt.pop()
        connection = await self._connected(client)
        if connection is None:
            return await evaluate(client, call)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def told(reply: object) -> None:
            if answer.done():
                return
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

        connection.run(call, told)
        return await answer

    def doubt(self) -> None:
        """Ask next time who is in charge: who was asked in this loop does not answer.

        A client of a cluster does so by itself where it hears of a failure, but a call
        has ended here before the client's own time is up.
        """
        self._in_doubt.put(True)  # noqa: FBT003 - a mark

    def connection(self) -> Connection | None:
        """Return what is open in the running loop, to be used without waiting."""
        found = self._connections.here()
        return found if found is not None and found.is_open else None

    def drop(self) -> None:
        """Close at once what is open in the running loop: it may lead nowhere."""
        found = self._connections.pop()
        if found is not None:
            found.close()

    async def drop_idle(self) -> None:
        """Close connections that nobody uses: all of them may lead nowhere now."""
        pool = getattr(self.here(), "connection_pool", None)
        if pool is not None:
            await pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        """Close the connections of the running loop, unless they were handed in."""
        self.drop()
        client = self._ours.pop()
        if client is not None:
            await client.aclose()
            pool = getattr(client, "connection_pool", None)
            manager = getattr(pool, "sentinel_manager", None)
            for sentinel in [] if manager is None else manager.sentinels:
                await sentinel.aclose()

    async def _connected(self, client: Any) -> Connection | None:
        """Return our own connection; None beside a user's client, or a cluster.

        Who closes a client of theirs means all of its connections, and would not know
        of ours.
        """
        if not self._can_connect:
            return None
        found = self.connection()
        if found is not None:
            return found
        pool = getattr(client, "connection_pool", None)
        if pool is None:
            self._can_connect = False
            return None
        async with self._opening.here() or self._opening.put(asyncio.Lock()):
            found = self.connection()
            if found is None:
                found = await connect(pool)
                if found is None:
                    self._can_connect = False
                else:
                    self._connections.put(found)
            return found


def check_redis(name: str, at: object) -> None:
    """Let pass a URL of Redis, or a client of `redis.asyncio`.

    Raises:
        TypeError: It is neither; the message shows its type, as a URL holds a password.
        ValueError: It is a URL of something else.

    """
    if isinstance(at, str):
        if not at.startswith(SCHEMES):
            known = ", ".join(SCHEMES)
            raise ValueError(f"{name} must be a URL that begins with one of {known}")
        if at.startswith(SENTINEL):
            _sentinels(name, at)
        return
    from redis.asyncio import Redis, RedisCluster  # noqa: PLC0415 - slow, and only here

    if not isinstance(at, Redis | RedisCluster):
        kind = type(at).__name__
        raise TypeError(f"{name} must be a URL or a redis.asyncio client, got a {kind}")


def _connected_to(url: str, timeout: float) -> Any:
    from redis.asyncio import (  # noqa: PLC0415 - as above
        BlockingConnectionPool,
        Redis,
        RedisCluster,
    )
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - as above
    from redis.backoff import NoBackoff  # noqa: PLC0415 - as above

    if url.startswith(CLUSTER):
        # It learns of a slot that has moved by that slot. To learn of all at once it
        # would close what is in use, and then ask, and charge, a second time.
        return RedisCluster.from_url(
            url.replace("+cluster", "", 1), reinitialize_steps=0
        )
    if url.startswith(SENTINEL):
        return _watched_by_sentinels(url)
    # Again at once, as a server that was started anew has closed what was open. There
    # is no time to wait, and callers are told.
    again = Retry(NoBackoff(), 1)
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=timeout,
        retry=again,
        socket_timeout=None,  # calls have a limit of their own
    )
    return Redis.from_pool(pool)


def _watched_by_sentinels(url: str) -> Any:
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - as above
    from redis.asyncio.sentinel import Sentinel  # noqa: PLC0415 - as above
    from redis.backoff import NoBackoff  # noqa: PLC0415 - as above

    hosts, service, options = _sentinels("redis", url)
    # They are asked one after the other, and the next in time for a probe.
    brief = {
        "socket_timeout": _SENTINEL_ANSWERS,
        "socket_connect_timeout": _SENTINEL_ANSWERS,
        "retry": Retry(NoBackoff(), 0),
    }
    sentinel: Any = Sentinel
    return sentinel(hosts, sentinel_kwargs=brief).master_for(service, **options)


def _sentinels(name: str, url: str) -> tuple[list[tuple[str, int]], str, Any]:
    """Read `redis+sentinel://[user:password@]host[:port],.../service[/db]`.

    User and password are the server's; `?sentinel_password=` is not known.
    """
    parts = urlsplit(url)
    credentials, _, places = parts.netloc.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    if not places or not service or (db and not db.isdigit()) or parse_qs(parts.query):
        raise ValueError(
            f"{name} must be redis+sentinel://host:port,host:port/service/db"
        )
    hosts = [_host_and_port(place) for place in places.split(",")]
    user, _, password = credentials.partition(":")
    options = {
        "db": int(db or 0),
        "username": unquote(user) or None,
        "password": unquote(password) or None,
    }
    return hosts, service, options


def _host_and_port(place: str) -> tuple[str, int]:
    at = urlsplit(f"//{place}")
    return at.hostname or "", at.port or _SENTINEL_PORT


def _can_be_copied(client: Any) -> bool:
    from redis.asyncio import (  # noqa: PLC0415 - as above
        BlockingConnectionPool,
        ConnectionPool,
    )

    kinds = (ConnectionPool, BlockingConnectionPool)
    return type(getattr(client, "connection_pool", None)) in kinds


def _copy_of(client: Any) -> Any:
    from redis.asyncio import Redis  # noqa: PLC0415 - as above

    pool = client.connection_pool
    twin = type(pool)(
        connection_class=pool.connection_class,
        max_connections=pool.max_connections,
        **pool.connection_kwargs,
    )
    return Redis.from_pool(twin)
