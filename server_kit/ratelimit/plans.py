"""Which quotas a request counts against."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from starlette.requests import HTTPConnection

from server_kit.ratelimit.enforcement import Named
from server_kit.ratelimit.fields import POLICY, check_name
from server_kit.ratelimit.keys import client_key
from server_kit.ratelimit.quota import Quota, check_cost, check_limit, check_window

_T = TypeVar("_T")

KeyFunc: TypeAlias = Callable[[Any], str | Awaitable[str]]
"""Tells whose quota a request counts against."""

CostFunc: TypeAlias = Callable[[Any], int | Awaitable[int]]
"""Tells how many units a request takes."""

QuotaFunc: TypeAlias = Callable[[Any], Quota | Awaitable[Quota | None] | None]
"""Tells one of the quotas that a request counts against; None: not against this."""

QuotasFunc: TypeAlias = Callable[
    [Any], Iterable[Quota] | Awaitable[Iterable[Quota] | None] | None
]
"""Tells all of them; None: the usual one."""

Quotas: TypeAlias = QuotasFunc | Mapping[str, QuotaFunc]
"""All at once, or each under the name that responses give it."""


# Compared by value, and so hashable: see `RateLimitDependency`.
@dataclass(frozen=True, slots=True)
class Plan:
    """What a request counts against: one quota, unless `quotas` say otherwise.

    The functions are called with the `Request`, of a websocket with its
    `HTTPConnection`. They may be async.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of its range.

    """

    limit: int
    """Units that a window of the usual quota holds."""

    window: float
    """Seconds."""

    key_func: KeyFunc | None = None
    """Tells whose it is. None: the client's, by its address."""

    cost: int | CostFunc = 1
    """How many units of it a request takes."""

    quotas: Quotas | None = None
    """Tell which quotas there are instead. No quota at all: there is no limit."""

    _by_name: tuple[tuple[str, QuotaFunc], ...] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_limit("limit", self.limit)
        check_window("window", self.window)
        check_function("key_func", self.key_func)
        if not callable(self.cost):
            check_cost(self.cost, self.limit)
        if isinstance(self.quotas, Mapping):
            for name, one in self.quotas.items():
                check_function(f"quotas[{check_name(name)!r}]", one, optional=False)
            object.__setattr__(self, "_by_name", tuple(self.quotas.items()))
            object.__setattr__(self, "quotas", None)
        else:
            check_function("quotas", self.quotas)

    async def of(self, connection: HTTPConnection, prefix: str = "") -> list[Named]:
        """Return the quotas of a request, keys with `prefix`, and their names.

        Raises:
            TypeError: A function has returned what it may not.
            ValueError: As above.

        """
        named = await self._found(connection)
        if not prefix:
            return named
        return [
            (name, Quota(prefix + it.key, it.limit, it.window, it.cost))
            for name, it in named
        ]

    async def _found(self, connection: HTTPConnection) -> list[Named]:
        if self._by_name is not None:
            found = [
                (name, await settled(one(connection))) for name, one in self._by_name
            ]
            return [
                (name, _checked(quota)) for name, quota in found if quota is not None
            ]
        if callable(self.quotas):
            given = await settled(self.quotas(connection))
            if given is not None:
                return [(POLICY, _checked(quota)) for quota in given]
        return [(POLICY, await self._usual(connection))]

    async def _usual(self, connection: HTTPConnection) -> Quota:
        cost = self.cost
        if callable(cost):
            cost = await settled(cost(connection))
        return Quota(await self._whose(connection), self.limit, self.window, cost)

    async def _whose(self, connection: HTTPConnection) -> str:
        if self.key_func is None:
            return client_key(connection.scope)
        key = await settled(self.key_func(connection))
        if not isinstance(key, str):
            # Written into a key, None would be one quota for all the world.
            raise TypeError(f"key_func must return a string, got {key!r}")
        return key


async def settled(value: _T | Awaitable[_T]) -> _T:
    """Return what a function has returned that may be async."""
    return await value if inspect.isawaitable(value) else value


def check_function(name: str, value: object, *, optional: bool = True) -> None:
    """Refuse what cannot be called."""
    if not callable(value) and not (optional and value is None):
        raise TypeError(f"{name} must be callable, got {value!r}")


def _checked(quota: object) -> Quota:
    if not isinstance(quota, Quota):
        raise TypeError(f"quotas must return a Quota or None, got {quota!r}")
    return quota
