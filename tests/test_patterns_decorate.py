"""What the patterns may be put around, and what they refuse."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest

from resilient_http.patterns import (
    CircuitBreaker,
    RetryConfig,
    combine_circuit_breaker_and_retry,
    with_retry,
)
from resilient_http.patterns.decorate import Decorator


def ways_to_decorate() -> list[Any]:
    breaker = CircuitBreaker("dep")
    both = combine_circuit_breaker_and_retry(breaker, RetryConfig(base_delay=0))
    return [
        pytest.param(breaker, id="breaker"),
        pytest.param(with_retry(base_delay=0), id="with_retry"),
        pytest.param(with_retry, id="bare with_retry"),
        pytest.param(both, id="combined"),
    ]


each_decorator = pytest.mark.parametrize("decorator", ways_to_decorate())


@each_decorator
async def test_what_is_decorated_keeps_its_name_arguments_and_self(
    decorator: Decorator,
) -> None:
    class Client:
        factor = 2

        @decorator
        def sync(self, number: int, *, plus: int = 0) -> int:
            """Multiply."""
            return self.factor * number + plus

        @decorator
        async def later(self, number: int, *, plus: int = 0) -> int:
            return self.factor * number + plus

    assert (Client.sync.__name__, Client.later.__name__) == ("sync", "later")
    assert Client.sync.__doc__ == "Multiply."
    assert Client().sync(3, plus=1) == 7
    assert await Client().later(3, plus=1) == 7


@each_decorator
async def test_what_is_async_in_disguise_is_awaited(decorator: Decorator) -> None:
    class Callable_:  # noqa: N801 - not typing's
        async def __call__(self) -> int:
            return 7

    async def add(a: int, b: int) -> int:
        return a + b

    assert await decorator(Callable_())() == 7
    assert await decorator(partial(add, 3))(4) == 7
    assert await decorator(AsyncMock(return_value=7))() == 7


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.case("C24")
@each_decorator
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (generator, "is a generator"),
        (async_generator, "is a generator"),
        (partial(generator), "is a generator"),
        (dict, "cannot be decorated"),
        ("text", "cannot be decorated|max_attempts must be an int"),
    ],
)
def test_what_cannot_be_guarded_is_refused(
    decorator: Decorator, function: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        decorator(function)


@pytest.mark.case("C24")
@each_decorator
def test_a_plain_function_that_returns_a_coroutine_is_refused(
    decorator: Decorator,
) -> None:
    async def later() -> None:
        raise OSError("nobody would see this")

    def in_disguise() -> Awaitable[None]:
        return later()

    with pytest.raises(TypeError, match="not async"):
        decorator(in_disguise)()
