"""What would be done with a request, and why: for a person who wonders."""

import math
from dataclasses import dataclass

from resilient_http._core.breaker import BreakerState, Mode
from resilient_http._core.lane import Lane
from resilient_http._core.origin import Origin
from resilient_http._core.verdict import Fault, Reason, may_repeat
from resilient_http.events import Part
from resilient_http.hop import Hop
from resilient_http.policy import BreakerConfig, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would be done with a request at this moment. Nothing was sent or changed.

    `str()` says it in sentences.
    """

    origin: str
    """Whose breaker, budget and limits count: scheme, host and port."""
    method: str
    policy: Policy
    """The one that decides: the request's own, its route's, or the client's."""
    refused_by: Part | None
    """What would refuse it; None if it would be sent."""
    wait: float
    """Seconds it would wait for its turn, or before it is worth asking again."""
    max_attempts: int
    """Sends at most, hedges included."""
    may_be_repeated: bool
    """Whether a send that fails midway is made again."""
    why: str
    """Why it may be repeated, or why not."""
    hedge_after: float | None
    """Seconds after which a second send goes beside the first; None: none does."""
    budget: float | None
    """Tokens there are for retries and hedges; None: they cost nothing."""
    deadline: float
    """Seconds the call has; infinity for no end."""
    told: bool
    """Whether the origin shares our contract, and is told of deadline and request."""

    def __str__(self) -> str:
        """Say it in sentences."""
        parts = (self._sending, self._repeating, self._timing, self._telling)
        return " ".join(part() for part in parts)

    def _sending(self) -> str:
        what = f"{self.method} to {self.origin}"
        wait = "" if self.wait in (0, math.inf) else f" for another {self.wait:.3g} s"
        if self.refused_by is not None:
            return f"{what} would be refused by the {self.refused_by}{wait}."
        return f"{what} would wait{wait}." if wait else f"{what} would be sent at once."

    def _repeating(self) -> str:
        if not self.may_be_repeated:
            return f"It would not be sent again after a failure: {self.why}."
        hedge = ""
        if self.hedge_after is not None:
            hedge = f", with a second copy after {self.hedge_after:.3g} s"
        return f"Up to {self.max_attempts} sends ({self.why}){hedge}."

    def _timing(self) -> str:
        if self.deadline == math.inf:
            return "It has no deadline."
        return f"It has {self.deadline:.3g} s for all of it."

    def _telling(self) -> str:
        if not self.told:
            return "Nothing is added to its headers."
        return "Its origin is told the deadline, the attempt and the request id."


def why_not_sent(
    known: Origin, policy: Policy, now: float
) -> tuple[Part | None, float]:
    """Return what would refuse a call, and what it would have to wait, in seconds."""
    if known.breaker is not None and policy.breaker is not None:
        wait = known.breaker.retry_after(now)
        if wait > 0 or _is_full_of_probes(known, policy.breaker, now):
            return "breaker", wait
    limiter = known.limiter
    if limiter is not None and policy.concurrency is not None:
        seen = limiter.snapshot()
        no_room = seen.waiting >= policy.concurrency.queue
        if seen.in_flight >= seen.limit and no_room:
            return "concurrency", 0.0
    if known.bucket is not None and policy.rate_limit is not None:
        wait = known.bucket.wait(now)
        if wait > 0:
            refused = policy.rate_limit.mode == "reject"
            return ("rate_limit" if refused else None), wait
    return None, 0.0


def _is_full_of_probes(known: Origin, config: BreakerConfig, now: float) -> bool:
    if known.breaker is None or known.breaker.mode is not Mode.NORMAL:
        return False
    seen = known.breaker.snapshot(now)
    half_open = seen.state is BreakerState.HALF_OPEN
    return half_open and seen.in_flight >= config.half_open_max_calls


def explain(hop: Hop) -> Explanation:
    """Say what would be done with a hop that is not begun."""
    call, policy = hop.call, hop.call.policy
    state = call.settings.state
    facts = hop.facts()
    reason = Reason.NESTED if call.is_nested else Reason.SWITCHED_OFF
    allowed = False
    if policy.retry is not None and not call.is_nested:
        repeat = may_repeat(facts, Fault(retryable=True), policy.retry)
        allowed, reason = repeat.allowed, repeat.reason
    now = call.now()
    with state.lock:
        known = state.peek(hop.key, policy)
        refused_by, wait = why_not_sent(known, policy, now)
        lane = Lane(known, policy, None, is_new_call=False)
        hedge_after = lane.hedge_after(now) if facts.hedgeable else None
        budget = None if known.budget is None else known.budget.tokens
    return Explanation(
        origin=hop.key,
        method=hop.request.method,
        policy=policy,
        refused_by=refused_by,
        wait=wait,
        max_attempts=policy.retry.max_attempts if policy.retry and allowed else 1,
        may_be_repeated=allowed,
        why=reason.value.replace("_", " "),
        hedge_after=hedge_after,
        budget=None if policy.budget is None else budget,
        deadline=call.left(),
        told=hop.key in call.settings.ours,
    )
