"""A block, or a function, that goes on only within its quota."""

import math
from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Final, ParamSpec, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import anyio
from anyio.lowlevel import RunVar

from resilient_http.problems import RateLimitException
from server_kit.ratelimit.quota import Decision, Quota

if TYPE_CHECKING:
    from server_kit.ratelimit.limiter import RateLimiter

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Passage:
    """What `RateLimiter.limit` returns. It may be used any number of times.

    As a decorator of a coroutine function, each call is counted.

    Raises:
        RateLimitException: On entering, if the quota is used up.

    """

    def __init__(
        self,
        limiter: "RateLimiter",
        quota: Quota,
        wait: float,
    ) -> None:
        self._limiter = limiter
        self._quota = quota
        self._patience = _patience(wait)

    async def __aenter__(self) -> Decision:
        """Take the cost, and wait for it if that was asked for."""
        ends = anyio.current_time() + self._patience
        turn = _turn_of(self._limiter, self._quota)
        # Units are for who has waited for them; who does not wait takes its chance.
        if not turn.is_taken or not self._patience:
            decision = await self._ask(turn, ends)
            if decision.allowed:
                return decision
        if turn.frees > ends:  # and who is ahead waits until then
            raise turn.refusal()
        # One of those that wait here asks again, in turn; the others wait for it.
        with anyio.move_on_at(ends) as queue:
            await turn.acquire()
        if queue.cancelled_caught:
            raise turn.refusal()
        try:
            # At once: the wait that was told may be another's, or of long ago.
            decision = await self._ask(turn, ends)
            while not decision.allowed:
                await anyio.sleep(decision.retry_after)
                decision = await self._ask(turn, ends)
            return decision
        finally:
            turn.release()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do nothing: what was taken stays taken."""

    def __call__(
        self, function: Callable[_P, Awaitable[_T]]
    ) -> Callable[_P, Awaitable[_T]]:
        """Return `function` with each of its calls counted."""

        @wraps(function)
        async def counted(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            async with self:
                return await function(*args, **kwargs)

        return counted

    async def _ask(self, turn: "_Turn", ends: float) -> Decision:
        decision = await self._limiter.check_all([self._quota])
        if not decision.allowed:
            turn.told(decision)
            if turn.frees > ends:
                raise turn.refusal()
        return decision


class _Turn:
    """The queue of those that wait for one quota, and what the first was told."""

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        self._told: Decision
        self.frees = 0.0
        """When there may be units again, on the clock of the loop."""

    @property
    def is_taken(self) -> bool:
        """Whether somebody waits; who was told of a refusal then."""
        return self._lock.locked()

    async def acquire(self) -> None:
        """Wait until it is one's turn."""
        await self._lock.acquire()

    def release(self) -> None:
        """Let the next have its turn."""
        self._lock.release()

    def told(self, decision: Decision) -> None:
        """Take in a refusal."""
        self._told = decision
        self.frees = anyio.current_time() + decision.retry_after

    def refusal(self) -> RateLimitException:
        """Return the error for who cannot wait for its turn."""
        left = self.frees - anyio.current_time()
        seconds = max(1, math.ceil(left))
        return RateLimitException(
            f"Rate limit exceeded. Retry after {seconds} seconds",
            retry_after=seconds,
            limit=self._told.limit,
            remaining=self._told.remaining,
        )


_Turns: TypeAlias = WeakValueDictionary[tuple[int, str, int, float], _Turn]

_turns: Final[RunVar[_Turns]] = RunVar("turns")


def _turn_of(limiter: "RateLimiter", quota: Quota) -> _Turn:
    # Alive as long as somebody waits, and so is the limiter.
    try:
        turns = _turns.get()
    except LookupError:
        turns = WeakValueDictionary()
        _turns.set(turns)
    name = (id(limiter), quota.key, quota.limit, quota.window)
    return turns.setdefault(name, _Turn())


def _patience(wait: float) -> float:
    if isinstance(wait, bool):
        return math.inf if wait else 0.0
    if not isinstance(wait, int | float):
        raise TypeError(f"wait must be True, False or seconds, got {wait!r}")
    if not wait >= 0:
        raise ValueError(f"wait must be at least 0 seconds, got {wait!r}")
    return float(wait)
