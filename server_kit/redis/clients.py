"""Clients of Redis, one for each event loop."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import WeakKeyDictionary, ref

from server_kit.redis.connection import OwnConnection
from server_kit.redis.scripts import Script, evaluate

CLUSTER: Final = ("redis+cluster://", "rediss+cluster://")
SENTINEL: Final = "redis+sentinel://"
SCHEMES: Final = ("redis://", "rediss://", "unix://", *CLUSTER, SENTINEL)

_CONNECTIONS: Final = 32  # a script is over in less than a millisecond
_SENTINEL_PORT: Final = 26_379


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
        self._at: Any = at
        self._timeout = timeout
        self._what = what
        self._ours: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._own: WeakKeyDictionary[Any, OwnConnection] = WeakKeyDictionary()
        self._first: ref[Any] | None = None

    def here(self) -> Any:
        """Return the client of the running loop.

        Raises:
            RuntimeError: This is not asyncio.

        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"{self._what} in Redis need asyncio, and this is another event loop:"
                " keep them in memory there"
            ) from None
        client = self._ours.get(loop)
        if client is not None:
            return client
        if isinstance(self._at, str):
            client = self._ours[loop] = _connected_to(self._at, self._timeout)
            return client
        first = self._first and self._first()
        if first is None or first is loop or not _can_be_copied(self._at):
            self._first = ref(loop)
            return self._at
        client = self._ours[loop] = _copy_of(self._at)
        return client

    async def evaluate(
        self, script: Script, keys: Sequence[str], args: Sequence[Any]
    ) -> Any:
        """Run `script` in the running loop, and return its reply, strings as bytes."""
        client = self.here()
        own = self._own_connection(client)
        if own is None or own.is_busy:
            return await evaluate(client, script, keys, args)
        return await own.evaluate(script, keys, args)

    def _own_connection(self, client: Any) -> OwnConnection | None:
        """Return that of the running loop; None beside a user's client, or a cluster.

        Who closes a client of theirs means all of its connections, and would not know
        of ours.
        """
        loop = asyncio.get_running_loop()
        own = self._own.get(loop)
        if own is None and isinstance(self._at, str):
            pool = getattr(client, "connection_pool", None)
            if pool is not None:
                own = self._own[loop] = OwnConnection(pool)
        return own

    async def drop_idle(self) -> None:
        """Close connections that nobody uses: all of them may lead nowhere now."""
        pool = getattr(self.here(), "connection_pool", None)
        if pool is not None:
            await pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        """Close the connections of the running loop, unless they were handed in."""
        loop = asyncio.get_running_loop()
        own = self._own.pop(loop, None)
        if own is not None:
            await own.aclose()
        client = self._ours.pop(loop, None)
        if client is not None:
            await client.aclose()


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
        return RedisCluster.from_url(url.replace("+cluster", "", 1))
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
    from redis.asyncio.sentinel import Sentinel  # noqa: PLC0415 - as above

    hosts, service, options = _sentinels("redis", url)
    sentinel: Any = Sentinel
    return sentinel(hosts).master_for(service, **options)


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
