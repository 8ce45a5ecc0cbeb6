"""A way to one Redis: one script at a time, in bounded time.

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
from collections.abc import Callable, Coroutine
from typing import Any, Final

from server_kit.redis.clients import Clients
from server_kit.redis.connection import Then
from server_kit.redis.scripts import Call

logger: Final = logging.getLogger("server_kit")

_PAUSE: Final = 0.1  # seconds between two tries of what is insisted on
_MOST_TASKS: Final = 1_000  # past that nothing is insisted on
_STALL: Final = 0.005  # seconds: a timer this late had no chance to see the reply
_GRACE: Final = 0.01


class RedisUnavailableError(Exception):
    """Redis did not do what it was told, or it is not known whether it did.

    Attributes:
        may_have_run: It was told, and gave no answer.

    """

    def __init__(self, why: str, *, may_have_run: bool) -> None:
        super().__init__(why)
        self.may_have_run = may_have_run


class RedisLink:
    """A way to one Redis, or cluster.

    Args:
        at: A URL, or a `redis.asyncio` client, which is not closed here.
        timeout: Seconds for one call, connecting included.
        what: What is kept there, for the log.
        on_change: Called with what is wrong when that begins, and with None when it is
            over.

    Raises:
        TypeError: `at` is neither.
        ValueError: The URL is none of Redis'.

    """

    def __init__(
        self,
        at: object,
        *,
        timeout: float,
        what: str,
        on_change: Callable[[str | None], None] | None = None,
    ) -> None:
        self._clients = Clients(at, timeout=timeout, what=what)
        self._timeout = timeout
        self._what = what
        self._on_change = on_change
        self._tasks = set[asyncio.Task[Any]]()
        self._is_probing = False
        self.is_down = False
        """Whether the last call failed."""

    async def run(self, call: Call) -> Any:
        """Run a script, and return its reply, strings as bytes.

        Raises:
            RedisUnavailableError: It may have run all the same.
            RuntimeError: This is not asyncio.

        """
        self._clients.here()
        if self.is_down and self._is_probing:
            why = f"Redis is down, {self._what} with it"
            raise RedisUnavailableError(why, may_have_run=False)
        asked = self.spawn(self.ask(call))
        if self.is_down:
            self._is_probing = True
            asked.add_done_callback(self._probed)
        return await asyncio.shield(asked)

    async def probe(self, call: Call, within: float) -> bool:
        """Run a script on a new connection, and tell whether that went well.

        In a task that nobody cancels. Old connections may lead nowhere: what was lost
        on the way is not sent again, and a firewall forgets.
        """
        try:
            await self._clients.drop_idle()
            await self.ask(call, within=within)
        except RedisUnavailableError:
            return False
        return True

    async def ask(self, call: Call, *, within: float | None = None) -> Any:
        """Run a script at once, whatever the state, in a task that nobody cancels.

        Args:
            call: What to run.
            within: Seconds; None for the time that every call has.

        Raises:
            RedisUnavailableError: It may have run all the same.
            RuntimeError: This is not asyncio.

        """
        from redis.exceptions import ResponseError  # noqa: PLC0415 - slow, here alone

        limit = _Limit(self._timeout if within is None else within)
        try:
            reply = await self._clients.evaluate(call)
        except asyncio.CancelledError as error:
            if not limit.is_over:
                raise
            limit.uncancel()
            self._clients.doubt()
            late = _late(limit.seconds)
            self.failed(late)
            raise RedisUnavailableError(_said_by(late), may_have_run=True) from error
        except Exception as error:  # whatever is wrong, it cannot be relied on
            self.failed(error)
            may_have_run = not isinstance(error, ResponseError)
            why = _said_by(error)
            raise RedisUnavailableError(why, may_have_run=may_have_run) from error
        finally:
            limit.end()
        self.worked()
        return reply

    def begin(self, call: Call, *, within: float, then: Then) -> None:
        """Do as `ask` does, but without a task where there is an open connection.

        `then` is called once, with the reply or with what is wrong.
        """
        connection = self._clients.connection()
        if connection is not None:
            begun = _Begun(self, then)
            connection.run(call, begun.told)
            begun.end_after(within)  # what can wait does so while Redis works
            return
        asked = self.spawn(self.ask(call, within=within))
        asked.add_done_callback(lambda done: then(_outcome(done)))

    def insist(self, span: float, call: Call) -> None:
        """Run a script in the background, as often as it takes.

        Args:
            span: Seconds after which it is given up.
            call: It may run several times.

        """
        if len(self._tasks) < _MOST_TASKS:
            self.spawn(self._try_for(span, call))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Do `work` in the background, until `aclose`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # or nobody would hold it
        task.add_done_callback(self._is_over)
        return task

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
        await self._clients.aclose()

    def _is_over(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # or asyncio logs what a cancelled caller did not hear

    def _probed(self, _: object) -> None:
        self._is_probing = False

    def worked(self) -> None:
        """Note that Redis did what it was told."""
        if self.is_down:
            self._note(None)

    def failed(self, error: Exception) -> None:
        """Note that it did not, or may not have."""
        # First of all: who else waits on the connection fails of its end.
        self._note(error)
        # A reply may be on its way; or another server be in charge by now.
        self._clients.drop()

    def _note(self, error: Exception | None) -> None:
        was_down, self.is_down = self.is_down, error is not None
        if was_down == self.is_down:
            return
        if error is not None:
            logger.error("Redis is down, %s with it: %s", self._what, _said_by(error))
        else:
            logger.warning("Redis is back, %s with it", self._what)
        if self._on_change is not None:
            self._on_change(None if error is None else _said_by(error))

    async def _try_for(self, span: float, call: Call) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + span
        while loop.time() < ends:
            # First of all: what has just failed, or was cancelled, may be on its way.
            await asyncio.sleep(_PAUSE)
            try:
                await self.run(call)
            except RedisUnavailableError:
                continue
            return


class _Timer:
    """Calls `over` after so many seconds.

    `loop.call_later` would do, but for a loop that stalls: its timer goes off in the
    very round in which the loop first sees the reply.
    """

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = over
        self._timer = self._loop.call_later(seconds, self._late)

    def end(self) -> None:
        self._timer.cancel()

    def _late(self) -> None:
        if self._loop.time() - self._timer.when() > _STALL:
            self._timer = self._loop.call_later(_GRACE, self._over)
        else:
            self._over()


class _Limit:
    """So many seconds for the current task, which is cancelled after them."""

    def __init__(self, seconds: float) -> None:
        self._task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment] # a call runs in a task
        self.seconds = seconds
        self.is_over = False
        self._timer = _Timer(seconds, self._cancel)
        self.end = self._timer.end

    def uncancel(self) -> None:
        self._task.uncancel()

    def _cancel(self) -> None:
        self.is_over = True
        self._task.cancel()


class _Begun:
    """A script that runs on an open connection, for so many seconds."""

    def __init__(self, link: RedisLink, then: Then) -> None:
        self._link = link
        self._then: Then | None = then
        self._seconds = 0.0
        self._timer: _Timer | None = None

    def end_after(self, seconds: float) -> None:
        if self._then is not None:
            self._seconds = seconds
            self._timer = _Timer(seconds, self._late)

    def told(self, reply: object) -> None:
        then, self._then = self._then, None
        if then is None:
            return
        if self._timer is not None:
            self._timer.end()
        try:
            if isinstance(reply, Exception):
                self._link.failed(reply)
            else:
                self._link.worked()
        finally:
            then(reply)

    def _late(self) -> None:
        self.told(_late(self._seconds))


def _outcome(asked: "asyncio.Task[Any]") -> object:
    if asked.cancelled():
        return asyncio.CancelledError()
    return asked.exception() or asked.result()


def _late(seconds: float) -> Exception:
    return TimeoutError(f"no answer in {seconds:g} s")


def _said_by(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
