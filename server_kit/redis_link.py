"""How the kit talks to Redis: one script at a time, in bounded time, by asyncio.

Whatever is wrong with Redis ends in the same way, after `timeout` at most: with a
`RedisUnavailableError`, one line in the log when it begins and one when it is over.
While it lasts, one call at a time is let through to see whether it has ended; others
are refused without being sent, or they would pile up in front of a server that does not
answer.

A call runs in a task of its own. Who is cancelled stops waiting for it, and it runs to
its end: a connection with a reply unread would give that to whoever has it next.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Final
from weakref import WeakKeyDictionary

logger: Final = logging.getLogger("server_kit")

_PAUSE: Final = 0.1  # seconds between two tries of what is insisted on
_CONNECTIONS: Final = 32  # a script is over in less than a millisecond
_MOST_TASKS: Final = 1_000  # past that nothing is insisted on


class RedisUnavailableError(Exception):
    """Redis did not do what it was told, or it is not known whether it did.

    Attributes:
        may_have_run: It was told, and gave no answer.

    """

    def __init__(self, why: str, *, may_have_run: bool) -> None:
        super().__init__(why)
        self.may_have_run = may_have_run


@dataclass(frozen=True, slots=True)
class Script:
    """A script in Lua, and the name by which Redis has it."""

    text: str
    name: str = field(init=False)

    def __post_init__(self) -> None:
        # Redis' choice of a digest, and no secret.
        name = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "name", name)


class RedisLink:
    """A way to one Redis, or cluster.

    Args:
        at: A URL, or a `redis.asyncio` client, which is not closed here.
        timeout: Seconds for one call, connecting included.
        what: What is kept there, for the log.

    Raises:
        TypeError: `at` is neither.
        ValueError: The URL is none of Redis'.

    """

    def __init__(self, at: object, *, timeout: float, what: str) -> None:
        check_redis("store", at)
        self._at: Any = at
        self._timeout = timeout
        self._what = what
        # Connections belong to the loop in which they were made.
        self._clients: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._tasks = set[asyncio.Task[Any]]()
        self._is_down = False
        self._is_probing = False

    async def run(self, script: Script, key: str, *args: str | bytes | int) -> Any:
        """Run `script` on one key, and return its reply, strings as bytes.

        Raises:
            RedisUnavailableError: It may have run all the same.
            RuntimeError: This is not asyncio.

        """
        client = self._client()
        if self._is_down and self._is_probing:
            why = f"Redis is down, {self._what} with it"
            raise RedisUnavailableError(why, may_have_run=False)
        call = self._spawn(self._call(client, script, key, args))
        if self._is_down:
            self._is_probing = True
            call.add_done_callback(self._probed)
        return await asyncio.shield(call)

    def insist(
        self, span: float, script: Script, key: str, *args: str | bytes | int
    ) -> None:
        """Run `script` in the background, as often as it takes.

        Args:
            span: Seconds after which it is given up.
            script: It may run several times.
            key: As for `run`.
            args: As for `run`.

        """
        if len(self._tasks) < _MOST_TASKS:
            self._spawn(self._try_for(span, script, key, args))

    async def aclose(self) -> None:
        """End what runs in this loop's background, and close its connections."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nothing was opened in any other loop
            return
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        client = self._clients.pop(loop, None)
        if client is not None:
            await client.aclose()

    def _client(self) -> Any:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"{self._what} in Redis need asyncio, and this is another event loop:"
                " keep them in memory there (store=None)"
            ) from None
        if not isinstance(self._at, str):
            return self._at
        if loop not in self._clients:
            self._clients[loop] = _connected_to(self._at, self._timeout)
        return self._clients[loop]

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # or nobody would hold it
        task.add_done_callback(self._tasks.discard)
        return task

    def _probed(self, _: object) -> None:
        self._is_probing = False

    async def _call(
        self, client: Any, script: Script, key: str, args: tuple[Any, ...]
    ) -> Any:
        from redis.exceptions import ResponseError  # noqa: PLC0415 - as below

        try:
            async with asyncio.timeout(self._timeout):
                reply = await _evaluate(client, script, key, args)
        except Exception as error:  # whatever is wrong, it cannot be relied on
            self._note(error)
            may_have_run = not isinstance(error, ResponseError)
            why = _said_by(error)
            raise RedisUnavailableError(why, may_have_run=may_have_run) from error
        self._note(None)
        return reply

    def _note(self, error: Exception | None) -> None:
        was_down, self._is_down = self._is_down, error is not None
        if error is not None and not was_down:
            logger.error("Redis is down, %s with it: %s", self._what, _said_by(error))
        elif error is None and was_down:
            logger.warning("Redis is back, %s with it", self._what)

    async def _try_for(
        self, span: float, script: Script, key: str, args: tuple[Any, ...]
    ) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + span
        while loop.time() < ends:
            # First of all: what has just failed, or was cancelled, may be on its way.
            await asyncio.sleep(_PAUSE)
            try:
                await self.run(script, key, *args)
            except RedisUnavailableError:
                continue
            return


def check_redis(name: str, at: object) -> None:
    """Let pass a URL of Redis, or a client of `redis.asyncio`.

    Raises:
        TypeError: It is neither; the message shows its type, as a URL holds a password.
        ValueError: It is a URL of something else.

    """
    if isinstance(at, str):
        if not at.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError(f"{name} must be a redis://, rediss:// or unix:// URL")
        return
    from redis.asyncio import Redis, RedisCluster  # noqa: PLC0415 - slow, and only here

    if not isinstance(at, Redis | RedisCluster):
        kind = type(at).__name__
        raise TypeError(f"{name} must be a URL or a redis.asyncio client, got a {kind}")


def _connected_to(url: str, timeout: float) -> Any:
    from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415 - as above

    # A pool of its own does not try again: there is no time to, and callers are told.
    pool = BlockingConnectionPool.from_url(
        url, max_connections=_CONNECTIONS, timeout=timeout
    )
    return Redis.from_pool(pool)


async def _evaluate(
    client: Any, script: Script, key: str, args: tuple[Any, ...]
) -> Any:
    from redis.client import NEVER_DECODE  # noqa: PLC0415 - as above
    from redis.exceptions import NoScriptError  # noqa: PLC0415 - as above

    # Replies hold bytes, whatever a client was told to do with strings.
    raw = {NEVER_DECODE: True}
    try:
        return await client.execute_command(
            "EVALSHA", script.name, 1, key, *args, **raw
        )
    except NoScriptError:  # a new server, or its scripts were flushed
        return await client.execute_command("EVAL", script.text, 1, key, *args, **raw)


def _said_by(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
