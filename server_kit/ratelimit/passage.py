"""A block, or a function, that goes on only within its quota."""

import math
from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import anyio

from resilient_http.loops import running_loop
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
        decision = await self._ask(ends)
        if decision.allowed:
            return decision
        # One of those that wait here asks again, in turn; the others wait for it.
        turn = _turn_of(self._quota)
        with anyio.move_on_at(ends) as queue:
            await turn.acquire()
        if queue.cancelled_caught:
            raise _refusal(decision)
        try:
            while not decision.allowed:
                await anyio.sleep(decision.retry_after)
                decision = await self._ask(ends)
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

    async def _ask(self, ends: float) -> Decision:
        decision = await self._limiter.check_all([self._quota])
        if anyio.current_time() + decision.retry_after > ends:
            raise _refusal(decision)
        return decision


_turns: Final[WeakValueDictionary[tuple[int, str, int, float], anyio.Lock]] = (
    WeakValueDictionary()
)


def _turn_of(quota: Quota) -> anyio.Lock:
    # Alive as long as somebody waits, and so is the loop in which.
    name = (id(running_loop()), quota.key, quota.limit, quota.window)
    return _turns.setdefault(name, anyio.Lock())


def _refusal(decision: Decision) -> RateLimitException:
    seconds = math.ceil(decision.retry_after)
    return RateLimitException(
        f"Rate limit exceeded. Retry after {seconds} seconds",
        retry_after=seconds,
        limit=decision.limit,
        remaining=decision.remaining,
    )


def _patience(wait: float) -> float:
    if isinstance(wait, bool):
        return math.inf if wait else 0.0
    if not isinstance(wait, int | float):
        raise TypeError(f"wait must be True, False or seconds, got {wait!r}")
    if not wait >= 0:
        raise ValueError(f"wait must be at least 0 seconds, got {wait!r}")
    return float(wait)
