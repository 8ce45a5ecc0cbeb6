"""Units that were set aside, for what turns out to cost less or more."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from server_kit.ratelimit.quota import Decision, Quota, check_cost
from server_kit.ratelimit.stores import Reserving, Store


class Reservation:
    """What `RateLimiter.reserve` set aside, until it is settled or released.

    As a context manager it releases at the end what was not settled::

        async with await limiter.reserve(
            user, limit=90_000, window=60, cost=500
        ) as tokens:
            if tokens.allowed:
                answer = await complete(prompt)
                await tokens.settle(answer.usage)

    """

    def __init__(
        self,
        store: Store,
        quotas: Sequence[Quota],
        decision: Decision,
        reserving: Reserving,
    ) -> None:
        self._store = store
        self._quotas = quotas
        self._reserving = reserving
        # Without Redis nothing was set aside there.
        self._is_over = not decision.allowed or decision.outage is not None
        self.decision = decision
        """How the tightest quota stood afterwards."""

    @property
    def allowed(self) -> bool:
        """Whether the units were set aside."""
        return self.decision.allowed

    async def settle(self, *costs: int) -> None:
        """Take what it came to, one cost for each quota, in their order.

        More than was set aside is taken all the same, even beyond the limit: others
        wait until it has come back. A reservation is settled once; after that, and if
        it was refused, nothing happens.

        Raises:
            TypeError: A cost is no integer.
            ValueError: A cost is below 0, or there are more or fewer than quotas.

        """
        for cost in costs:
            check_cost(cost)
        if len(costs) != len(self._quotas):
            raise ValueError(
                f"costs must be {len(self._quotas)}, one for each quota, got {costs!r}"
            )
        if self._is_over:
            return
        self._is_over = True
        await self._store.settle(self._quotas, costs, self._reserving)

    async def release(self) -> None:
        """Give back all that was set aside, as if nobody had asked."""
        await self.settle(*[0 for _ in self._quotas])

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release what was not settled."""
        await self.release()
