"""Trying again, around anything that can be called, also behind a breaker."""

import inspect
import time
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, ParamSpec, TypeVar, overload

import anyio

from resilient_http._core import backoff
from resilient_http.patterns.breaker import CircuitBreaker
from resilient_http.patterns.decorate import Decorator, decorate, is_async
from resilient_http.patterns.kinds import NOT_RETRIED, Kinds, is_one
from resilient_http.policy import RetryConfig

_P = ParamSpec("_P")
_T = TypeVar("_T")
OnRetry = Callable[[int, Exception, float], object]
Sleep = Callable[[float], object]


class _Retry:
    """Calls again what failed, while that makes sense.

    The two loops are the same but for `await`, and hold no state between calls: one
    object serves all the calls of a decorated function at once.
    """

    def __init__(
        self,
        config: RetryConfig,
        *,
        on_retry: OnRetry | None,
        sleep: Sleep | None,
        rng: Random | None,
    ) -> None:
        kinds = config.retryable_exceptions
        self._config = config
        self._kinds: Kinds = (Exception,) if kinds is None else kinds
        self._on_retry = on_retry
        self._sleep = sleep
        self._rng = Random() if rng is None else rng  # noqa: S311 - jitter, no secrets

    def run(self, call: Callable[[], Any], stands: Callable[[], bool]) -> Any:
        attempt = 1
        while True:
            try:
                return call()
            except self._kinds as error:
                wait = self._wait(error, attempt, stands)
                if wait is None:
                    raise
                if self._on_retry is not None:
                    self._on_retry(attempt, error, wait)
            (self._sleep or time.sleep)(wait)
            attempt += 1

    async def arun(
        self, call: Callable[[], Awaitable[Any]], stands: Callable[[], bool]
    ) -> Any:
        attempt = 1
        while True:
            try:
                return await call()
            except self._kinds as error:
                wait = self._wait(error, attempt, stands)
                if wait is None:
                    raise
                if self._on_retry is not None:
                    await _awaited(self._on_retry(attempt, error, wait))
            await _awaited((self._sleep or anyio.sleep)(wait))
            attempt += 1

    def _wait(
        self, error: Exception, attempt: int, stands: Callable[[], bool]
    ) -> float | None:
        """Return how long to wait before another attempt; None if there is none."""
        if attempt >= self._config.max_attempts or not stands():
            return None
        if not is_one(error, self._kinds, unless_named=NOT_RETRIED):
            return None
        return backoff.delay(self._config, attempt, self._rng)

    def check(self, func: Callable[..., Any]) -> None:
        """Refuse a callback that a plain function could not wait for."""
        waits = any(is_async(given) for given in (self._on_retry, self._sleep))
        if waits and not is_async(func):
            raise TypeError(f"{func!r} is not async, so on_retry may not be either")


@overload
def with_retry(func: Callable[_P, _T], /) -> Callable[_P, _T]: ...


@overload
def with_retry(
    max_attempts: int = 3,
    base_delay: float = 0.05,
    max_delay: float = 5.0,
    retryable_exceptions: Kinds = (Exception,),
    on_retry: OnRetry | None = None,
    *,
    sleep: Sleep | None = None,
    rng: Random | None = None,
) -> Decorator: ...


def with_retry(  # noqa: PLR0913 - one knob each
    max_attempts: Any = 3,
    base_delay: float = 0.05,
    max_delay: float = 5.0,
    retryable_exceptions: Kinds = (Exception,),
    on_retry: OnRetry | None = None,
    *,
    sleep: Sleep | None = None,
    rng: Random | None = None,
) -> Any:
    """Return a decorator that calls a function again when it has raised.

    Waits grow as `RetryConfig` says. The last error is raised as it is, at once. What
    refuses work on purpose (an open breaker, a rate or concurrency limit) and an
    expired deadline are never retried, unless their classes are named in
    `retryable_exceptions`. Also works bare: ``@with_retry``.

    Args:
        max_attempts: Calls of the function, the first included.
        base_delay: Ceiling of the first wait, in seconds; it doubles with each retry.
        max_delay: Ceiling of every wait, in seconds.
        retryable_exceptions: What may not happen next time.
        on_retry: Called before each wait with the number of the attempt that failed,
            from 1, the error and the wait; may be async where the function is. What it
            raises ends the call.
        sleep: What waits, instead of `anyio.sleep` or `time.sleep`.
        rng: What the waits are drawn from.

    Raises:
        TypeError: An argument is of the wrong type, or what is decorated is a
            generator, a class, or nothing that can be called.
        ValueError: A number makes no sense.

    """
    if callable(max_attempts):
        return with_retry()(max_attempts)
    config = RetryConfig(
        max_attempts=max_attempts,
        base_delay=base_delay,
        max_delay=max_delay,
        retryable_exceptions=retryable_exceptions,
    )
    retry = _Retry(config, on_retry=on_retry, sleep=sleep, rng=rng)

    def wrap(func: Callable[_P, _T]) -> Callable[_P, _T]:
        retry.check(func)
        run = partial(retry.run, stands=_always)
        return decorate(func, run, partial(retry.arun, stands=_always))

    return wrap


def combine_circuit_breaker_and_retry(
    breaker: CircuitBreaker,
    config: RetryConfig | None = None,
    *,
    on_retry: OnRetry | None = None,
    sleep: Sleep | None = None,
    rng: Random | None = None,
) -> Decorator:
    """Return a decorator that retries behind `breaker`.

    The breaker is outside: it is asked once, and the call counts once, as its last
    attempt ended. Retries go on only while the breaker stays as it was when it let the
    call in: once others have opened it, the error at hand is the answer.

    Args:
        breaker: Shared with whatever else calls the same dependency.
        config: None: `RetryConfig()`. What it says of HTTP does not apply here.
        on_retry: As for `with_retry`.
        sleep: As for `with_retry`.
        rng: As for `with_retry`.

    """
    if not isinstance(breaker, CircuitBreaker):
        raise TypeError(f"breaker must be a CircuitBreaker, got {breaker!r}")
    if not isinstance(config, RetryConfig | None):
        raise TypeError(f"config must be a RetryConfig or None, got {config!r}")
    chosen = RetryConfig() if config is None else config
    retry = _Retry(chosen, on_retry=on_retry, sleep=sleep, rng=rng)

    def run(call: Callable[[], Any]) -> Any:
        with breaker.admit() as passage:
            return retry.run(call, passage.stands)

    async def arun(call: Callable[[], Awaitable[Any]]) -> Any:
        with breaker.admit() as passage:
            return await retry.arun(call, passage.stands)

    def wrap(func: Callable[_P, _T]) -> Callable[_P, _T]:
        retry.check(func)
        return decorate(func, run, arun)

    return wrap


def _always() -> bool:
    return True


async def _awaited(result: object) -> None:
    if inspect.isawaitable(result):
        await result
