"""What is known of one origin: its machines, each made when it is first asked for."""

from dataclasses import asdict
from random import Random
from typing import Any, Final

from resilient_http._core.breaker import Breaker, BreakerState, Mode, Permit, Refusal
from resilient_http._core.bucket import Bucket
from resilient_http._core.budget import Budget
from resilient_http._core.concurrency import Limiter
from resilient_http._core.pacer import Pacer
from resilient_http._core.quantile import Latencies
from resilient_http._core.throttle import Throttler
from resilient_http.policy import Policy

MOST_PARTITIONS: Final = 64
"""Credentials told apart at one origin; the one that was quiet longest makes room."""


class Origin:
    """One scheme, host and port, and what calls to it came to."""

    __slots__ = (
        *("breaker", "bucket", "budget", "latencies", "limiter", "pacers", "throttler"),
        *("calls", "expired", "is_plain", "made_for", "refused", "sends"),
    )

    def __init__(self) -> None:
        self.breaker: Breaker | None = None
        self.budget: Budget | None = None
        self.bucket: Bucket | None = None
        self.throttler: Throttler | None = None
        self.limiter: Limiter | None = None
        self.latencies: Latencies | None = None
        self.pacers: dict[bytes, Pacer] | None = None
        self.calls = 0
        """Calls begun."""
        self.sends = 0
        """Sends of all calls; more than `calls` by retries and hedges."""
        self.refused = 0
        """Calls that were refused here, without a send."""
        self.expired = 0
        """Calls whose deadline passed."""
        self.made_for: Policy | None = None
        """The policy that was last equipped for."""
        self.is_plain = False
        """Whether it asks for no more than a breaker and a budget."""

    def equip(self, policy: Policy, rng: Random) -> None:
        """Make the machines that `policy` asks for and that are not there yet.

        The first policy to ask for a machine makes it, and it stays as it was made.
        """
        self.made_for = policy
        more = policy.rate_limit, policy.throttle, policy.concurrency, policy.hedge
        self.is_plain = more == (None, None, None, None)
        if self.breaker is None and policy.breaker is not None:
            self.breaker = Breaker(policy.breaker, rng)
        if self.budget is None and policy.budget is not None:
            self.budget = Budget(policy.budget)
        if self.bucket is None and policy.rate_limit is not None:
            self.bucket = Bucket(policy.rate_limit)
        if self.throttler is None and policy.throttle is not None:
            self.throttler = Throttler(policy.throttle)
        if self.limiter is None and policy.concurrency is not None:
            self.limiter = Limiter(policy.concurrency)
        hedge = policy.hedge
        if self.latencies is None and hedge is not None and hedge.delay is None:
            self.latencies = Latencies(hedge.quantile)

    def admit(self, policy: Policy, now: float) -> Permit | Refusal | None:
        """Ask for leave to send where all is plain; None where nobody is asked."""
        if self.breaker is None or policy.breaker is None:
            return None
        return self.breaker.admit(now)

    def succeed(self, policy: Policy, permit: Permit | None, now: float) -> None:
        """Take in that such a call went well at once."""
        if self.breaker is not None and permit is not None:
            self.breaker.settle(permit, failed=False, now=now)
        if self.budget is not None and policy.budget is not None:
            self.budget.succeed()

    def abandon(self, permit: Permit | None, now: float) -> None:
        """Take back leave of which nothing came."""
        if self.breaker is not None and permit is not None:
            self.breaker.abandon(permit, now)

    def pacer(self, partition: bytes) -> Pacer:
        """Return what the server told one partition of its clients."""
        if self.pacers is None:
            self.pacers = {}
        found = self.pacers.pop(partition, None)
        if found is None:
            if len(self.pacers) >= MOST_PARTITIONS:
                del self.pacers[next(iter(self.pacers))]
            found = Pacer()
        self.pacers[partition] = found
        return found

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return what is known, as plain data of this moment."""
        return {
            "calls": self.calls,
            "sends": self.sends,
            "refused": self.refused,
            "expired": self.expired,
            "breaker": self.breaker and asdict(self.breaker.snapshot(now)),
            "budget": self.budget and self.budget.tokens,
            "concurrency": self.limiter and asdict(self.limiter.snapshot()),
            "held_back": self.throttler and self.throttler.share_held_back(now),
            "hedge_after": self.latencies and self.latencies.estimate(now),
        }

    def is_harmless(self, now: float) -> bool:
        """Whether forgetting it would let nothing bad through."""
        if self.limiter is not None and self.limiter.is_busy:
            return False
        if self.breaker is None:
            return True
        if self.breaker.mode in (Mode.FORCED_OPEN, Mode.FORCED_CLOSED):
            return False
        known = self.breaker.snapshot(now)
        closed = known.state is BreakerState.CLOSED
        return closed and not (known.failures or known.failed_in_row or known.in_flight)
