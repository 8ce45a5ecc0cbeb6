"""Quotas counted in Redis, Valkey or a cluster of them. asyncio only.

A decision is one script, by Redis' own clock, over the accounts it is about; see the
scripts beside this file. All accounts of a limiter are in one slot of a cluster, as any
of them may be part of any decision.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from resilient_http.loops import running_loop
from server_kit.ratelimit.events import RedisBack, RedisDown
from server_kit.ratelimit.leases import Ahead
from server_kit.ratelimit.machines import Algorithm
from server_kit.ratelimit.outage import Fallback
from server_kit.ratelimit.quota import Decision, Quota, microseconds
from server_kit.ratelimit.refusals import Refusals, Standing
from server_kit.ratelimit.stores import Reserving, tightest
from server_kit.ratelimit.stores.lane import Answers, Lane
from server_kit.ratelimit.stores.wire import Part, Request, Stood, pack, unpack
from server_kit.redis import ByLoop, Call, RedisLink, RedisUnavailableError, Script

_HERE: Final = Path(__file__).parent


def _script(algorithm: Algorithm, action: str) -> Script:
    parts = (f"{algorithm}.lua", "holds.lua", "account.lua", f"{action}.lua")
    return Script.of(*[_HERE / part for part in parts])


DECIDE: Final[dict[Algorithm, Script]] = {
    "sliding_window": _script("sliding_window", "decide"),
    "token_bucket": _script("token_bucket", "decide"),
}
AMEND: Final[dict[Algorithm, Script]] = {
    "sliding_window": _script("sliding_window", "amend"),
    "token_bucket": _script("token_bucket", "amend"),
}
FORGET: Final = Script("return redis.call('DEL', KEYS[1])")

SCHEMA: Final = 1
"""Of what is in Redis. Another one has keys of its own."""

PROBE_EVERY: Final = 0.25
"""Seconds between two looks at a Redis that is down."""

_PROBE_TAKES: Final = 0.5  # seconds at most; longer than a call has, for connecting
_PROBE: Final = ("", 1_000_000, 1.0, 1)  # a quota that nobody has
_BEAT_EVERY: Final = 1.0
_SECOND: Final = 1_000_000


class RedisStore:
    """Accounts in Redis, and what is done while there is none.

    Args:
        redis: A URL or a `redis.asyncio` client.
        algorithm: How quotas run out and come back.
        timeout: Seconds after which a decision is made without Redis.
        fallback: Decides then.
        prefix: What keys in Redis begin with.
        clock: Gives the time in seconds, for what is remembered here.
        tell: Called with an event for each change.

    """

    def __init__(  # noqa: PLR0913 - what a limiter is told, each by its name
        self,
        redis: object,
        *,
        algorithm: Algorithm,
        timeout: float,
        fallback: Fallback,
        prefix: str,
        clock: Callable[[], float],
        tell: Callable[[RedisDown | RedisBack], None],
    ) -> None:
        self._link = RedisLink(
            redis, timeout=timeout, what="rate limits", on_change=self._changed
        )
        self._decide_script = DECIDE[algorithm]
        self._amend_script = AMEND[algorithm]
        self._timeout = timeout
        self._fallback = fallback
        self._refusals = Refusals()
        self._clock = clock
        self._tell = tell
        space = f"{{{prefix}}}:{SCHEMA}:{algorithm}"
        self._replicas = f"{space}:replicas"
        # The same keys come again and again.
        kept = lru_cache(maxsize=10_000)
        self._address = kept(_Addresses(space))
        self._request = kept(self._charging)
        self._alone = kept(lambda request: self._call([request], ""))
        self._me = uuid4().hex
        self._beat_at = -_BEAT_EVERY
        self._lanes: ByLoop[Lane] = ByLoop()
        self._probers: ByLoop[asyncio.Task[None]] = ByLoop()
        self._down_at = 0.0
        self._now = ""  # for tests: the time, in microseconds, in place of Redis' own

    async def decide(
        self, quotas: Sequence[Quota], reserving: Reserving | None = None
    ) -> Sequence[Decision | None]:
        """Charge all of `quotas` if all have room, else none; no two are the same."""
        addresses = self.addresses(quotas)
        known = self.decide_here(quotas, addresses)
        if known is not None:
            return known
        request = Request(parts(quotas, addresses))
        if reserving is not None:
            expires = microseconds(reserving.expires)
            request = Request(request.parts, reserving.name, expires)
        return self.told(quotas, addresses, await self.ask(request))

    async def decide_one(
        self, key: str, limit: int, window: float, cost: int
    ) -> Decision:
        """Decide about the one quota that most requests have."""
        if self._link.is_down or self._refusals:
            return tightest(await self.decide([Quota(key, limit, window, cost)]))
        request = self._request(key, limit, window, cost)
        stood = await self._lane().decide(request)
        if stood is None:
            return self._without([Quota(key, limit, window, cost)])[0]
        address = request.parts[0].address
        return self._decision(limit, window, cost, address, stood[0])

    def addresses(self, quotas: Sequence[Quota]) -> list[str]:
        """Return where the accounts are, in the order of their quotas."""
        return [self._address(it.key, it.limit, it.window) for it in quotas]

    def decide_here(
        self, quotas: Sequence[Quota], addresses: Sequence[str]
    ) -> Sequence[Decision | None] | None:
        """Decide without Redis, where that can or must be; None elsewhere.

        Of a refusal that was foreseen only the quotas that refuse are told.
        """
        if self._link.is_down:
            return self._without(quotas)
        if not self._refusals:
            return None
        now = self._clock()
        foreseen = [
            self._foreseen(quota, address, now)
            for quota, address in zip(quotas, addresses, strict=True)
        ]
        return foreseen if any(foreseen) else None

    def _foreseen(self, quota: Quota, address: str, now: float) -> Decision | None:
        told = self._refusals.of(address, quota.cost, now) if quota.cost else None
        if told is None:
            return None
        return Decision(
            allowed=False,
            limit=quota.limit,
            remaining=told.remaining,
            reset_after=told.reset_after,
            retry_after=told.retry_after,
            window=quota.window,
        )

    async def ask(self, request: Request) -> list[Stood] | None:
        """Return how the accounts stood; None if Redis is not to be had."""
        return await self._lane().decide(request)

    def told(
        self,
        quotas: Sequence[Quota],
        addresses: Sequence[str],
        stood: Sequence[Stood] | None,
    ) -> list[Decision]:
        """Return what that means."""
        if stood is None:
            return self._without(quotas)
        return [
            self._decision(quota.limit, quota.window, quota.cost, address, it)
            for quota, address, it in zip(quotas, addresses, stood, strict=True)
        ]

    def settle_later(self, quota: Quota, hold: str, cost: int) -> None:
        """Settle a lease in the background; if that fails, it expires as used."""
        if not self._link.is_down:
            (address,) = self.addresses([quota])
            args = self._amending(hold, quota, cost)
            self._link.spawn(self._run(Call(self._amend_script, [address], args)))

    async def settle(
        self, quotas: Sequence[Quota], costs: Sequence[int], reserving: Reserving
    ) -> None:
        """Charge what became of the costs that were set aside.

        Where Redis is not to be had it is tried again, as long as the hold would have
        lasted.
        """
        addresses = [self._address(it.key, it.limit, it.window) for it in quotas]
        args: list[str | int] = [self._now, reserving.name, 0]
        for quota, cost in zip(quotas, costs, strict=True):
            args += (quota.limit, microseconds(quota.window), cost)
        call = Call(self._amend_script, addresses, args)
        try:
            await self._link.run(call)
        except RedisUnavailableError:
            self._look_after()
            self._link.insist(reserving.expires, call)
        for address in addresses:
            self._refusals.forget(address)

    async def refund(self, quota: Quota, cost: int) -> None:
        """Undo the latest charges, as far as `cost` units or as there are any."""
        address = self._address(quota.key, quota.limit, quota.window)
        args = self._amending("", quota, cost)
        await self._run(Call(self._amend_script, [address], args))

    async def reset(self, quota: Quota) -> None:
        """Forget all that was used or set aside."""
        address = self._address(quota.key, quota.limit, quota.window)
        await self._run(Call(FORGET, [address], ()))

    async def aclose(self) -> None:
        """Close the connections, those of a client that was handed in excepted."""
        lane = self._lanes.pop()
        if lane is not None:
            lane.close()
        await self._link.aclose()

    def _decision(
        self, limit: int, window: float, cost: int, address: str, stood: Stood
    ) -> Decision:
        wait, used, reset, _, held = stood
        decision = Decision(
            wait == 0,
            limit,
            limit - used if used < limit else 0,
            reset / _SECOND,
            wait / _SECOND,
            window,
        )
        if wait and not held:
            waits = decision.retry_after, decision.reset_after
            told = Standing(*waits, decision.remaining)
            self._refusals.note(address, cost, told, self._clock())
        elif cost and self._refusals:
            self._refusals.forget(address)  # with less left, others wait longer
        return decision

    def _amending(self, hold: str, quota: Quota, cost: int) -> tuple[str | int, ...]:
        counts_as_used = 1
        window = microseconds(quota.window)
        return (self._now, hold, counts_as_used, quota.limit, window, cost)

    async def _run(self, call: Call) -> None:
        for address in call.keys:
            self._refusals.forget(address)
        try:
            await self._link.run(call)
        except RedisUnavailableError:
            self._look_after()

    # How a decision is made.

    def _lane(self) -> Lane:
        lane = self._lanes.here()
        if lane is not None:
            return lane
        if running_loop() is None:
            raise RuntimeError(
                "rate limits in Redis need asyncio, and this is another event loop:"
                " keep them in memory there (redis=None)"
            )
        return self._lanes.put(Lane(self._ask, self._timeout))

    def _ask(
        self,
        requests: list[Request],
        within: float,
        then: Callable[[Answers | None], None],
    ) -> None:
        beat = self._beat() if self._fallback.needs_replicas else ""
        if len(requests) > 1 or requests[0].hold or beat or self._now:
            call = self._call(requests, beat)
        else:
            call = self._alone(requests[0])

        def told(reply: Any) -> None:
            answers = None
            try:
                if isinstance(reply, BaseException):
                    self._look_after()
                    return
                living, answers = unpack(requests, reply)
                if beat:
                    self._fallback.replicas = living
            finally:
                then(answers)

        self._link.begin(call, within=within, then=told)

    def _charging(self, key: str, limit: int, window: float, cost: int) -> Request:
        address = self._address(key, limit, window)
        return Request((Part(address, limit, microseconds(window), cost),))

    def _call(self, requests: Sequence[Request], beat: str) -> Call:
        keys, args = pack(requests, beat=beat, replicas=self._replicas, now=self._now)
        return Call(self._decide_script, keys, args)

    def _beat(self) -> str:
        """Return who is alive, now and then."""
        now = self._clock()
        if now - self._beat_at < _BEAT_EVERY:
            return ""
        self._beat_at = now
        return self._me

    # Without Redis.

    def _without(self, quotas: Sequence[Quota]) -> list[Decision]:
        self._look_after()
        return self._fallback.decide(quotas)

    def _changed(self, why: str | None) -> None:
        now = self._clock()
        if why is None:
            self._fallback.begin_anew()
            self._tell(RedisBack(now - self._down_at))
        else:
            self._down_at = now
            self._tell(RedisDown(why))

    def _look_after(self) -> None:
        """See to it that somebody looks whether Redis is back."""
        prober = self._probers.here()
        if prober is None or prober.done():
            self._probers.put(self._link.spawn(self._probe()))

    async def _probe(self) -> None:
        call = self._call([self._charging(*_PROBE)], "")
        while self._link.is_down:
            if not await self._link.probe(call, _PROBE_TAKES):
                await asyncio.sleep(PROBE_EVERY)


def parts(
    quotas: Sequence[Quota],
    addresses: Sequence[str],
    wants: Sequence[Ahead] | None = None,
) -> tuple[Part, ...]:
    """Return what is asked of the accounts."""
    aheads = [None] * len(quotas) if wants is None else wants
    return tuple(
        Part(address, it.limit, microseconds(it.window), it.cost, ahead)
        for it, address, ahead in zip(quotas, addresses, aheads, strict=True)
    )


class _Addresses:
    """Where accounts are: nobody can read there whose they are."""

    def __init__(self, space: str) -> None:
        self._space = space

    def __call__(self, key: str, limit: int, window: float) -> str:
        whose = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16)
        return f"{self._space}:{limit}:{microseconds(window)}:{whose.hexdigest()}"
