"""Putting something around a function, async or plain, without hiding what it is."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Decorator(Protocol):
    """Gives back a function of the same signature."""

    def __call__(self, func: Callable[_P, _T], /) -> Callable[_P, _T]:
        """Wrap `func`."""


def is_async(func: object) -> bool:
    """Say whether calling `func` gives something to await."""
    # An object may have an async __call__, for which inspect does not look.
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 - its kind is asked, not its being
    )


def decorate(
    func: Callable[_P, _T],
    run: Callable[[Callable[[], Any]], Any],
    arun: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
) -> Callable[_P, _T]:
    """Return a function like `func` that is called by `run`, or by `arun` if async.

    Raises:
        TypeError: `func` is a generator, a class, or nothing that can be called.

    """
    _check(func)
    if is_async(func):

        @wraps(func)
        async def awaited(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            return await arun(partial(cast("Any", func), *args, **kwargs))

        return cast("Callable[_P, _T]", awaited)

    @wraps(func)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        result: _T = run(partial(func, *args, **kwargs))
        _check_result(func, result)
        return result

    return called


def _check(func: object) -> None:
    if not callable(func) or inspect.isclass(func):
        raise TypeError(f"{func!r} is not a function: it cannot be decorated")
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise TypeError(f"{func!r} is a generator: it would fail after it has returned")


def _check_result(func: object, result: object) -> None:
    if not inspect.isawaitable(result):
        return
    if inspect.iscoroutine(result):
        result.close()  # or Python warns that nobody awaited it
    raise TypeError(f"{func!r} is not async, and yet what it returned is to be awaited")
