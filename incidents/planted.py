"""Bugs that the search has to find: each puts one back that somebody has had.

`python -m incidents --plant NAME` searches with one of them in place.
"""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import resilient_http.client
from resilient_http._core.breaker import Breaker, Permit
from resilient_http._core.hop import Plan
from resilient_http._core.verdict import Outcome
from resilient_http._hands import pool
from server_kit.idempotency.ledger import Ledger
from server_kit.idempotency.rules import Claim, Kept
from server_kit.shedding import stage

Make = Callable[[Any], Any]
"""From the right function, the wrong one."""


@dataclass(frozen=True, slots=True)
class Bug:
    """What is replaced, and the invariant that breaks."""

    places: tuple[tuple[Any, str, Make], ...]
    """A class or module, the name of a function in it, and what takes its place."""
    breaks: str

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have it in what runs."""
        with ExitStack() as stack:
            for owner, name, make in self.places:
                wrong = make(getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, wrong))
            yield


@contextmanager
def with_bug(name: str | None) -> Iterator[None]:
    """Have one bug, or none, in what runs."""
    if name is None:
        yield
        return
    with BUGS[name].planted():
        yield


def _keeping_slots(_: Any) -> Any:
    def abandon(plan: Any, out: Any, now: float) -> None:
        for passed in out:
            plan._lane.settle(passed, Outcome.NEUTRAL, now)

    return abandon


def _without_fence(settle: Any) -> Any:
    def keep_what_comes_last(
        ledger: Any, claim: Claim, answer: Kept | None, now: float
    ) -> bool:
        for held in (ledger._claimed, ledger._served):
            held.pop(claim.name, None)
        settled: bool = settle(ledger, claim, answer, now)
        return settled

    return keep_what_comes_last


def _holding_nothing(_: Any) -> Any:
    return lambda _ledger, _claim, _now: True


def _forgetting_nothing(_: Any) -> Any:
    return lambda _owner, _traces: False


def _keeping_probes(abandon: Any) -> Any:
    def keep(
        breaker: Any, permit: Permit, now: float, *, answered: bool = False
    ) -> None:
        if not permit.is_probe:
            abandon(breaker, permit, now, answered=answered)

    return keep


def _whatever_the_time(again: Any) -> Any:
    def wait(plan: Any, seen: Any) -> Any:
        limits = plan._limits
        ends, limits.call_at = limits.call_at, math.inf
        try:
            return again(plan, seen)
        finally:
            limits.call_at = ends

    return wait


def _never(timer: Any) -> Any:
    return lambda _left: timer(lambda: math.inf)


def _unless_it_fails(end: Any) -> Any:
    def stay(visit: Any) -> None:
        if sys.exc_info()[0] is None:
            end(visit)

    return stay


BUGS: Final = {
    "permit_lost_on_cancellation": Bug(
        ((Plan, "_abandon", _keeping_slots),), "permits_are_given_back"
    ),
    "claim_written_twice_after_its_lease": Bug(
        ((Ledger, "settle", _without_fence),), "a_key_has_one_answer"
    ),
    "claim_not_renewed": Bug(
        ((Ledger, "renew", _holding_nothing),), "nothing_is_written_twice"
    ),
    "place_lost_on_a_cut_close": Bug(
        ((pool, "_forget_cut", _forgetting_nothing),), "pools_are_whole"
    ),
    "probe_lost_on_cancellation": Bug(
        ((Breaker, "abandon", _keeping_probes),), "permits_are_given_back"
    ),
    "deadline_slept_past": Bug(
        (
            (Plan, "_again", _whatever_the_time),
            (resilient_http.client, "timer", _never),
        ),
        "calls_end_in_time",
    ),
    "slot_lost_on_failure": Bug(
        ((stage._Visit, "end", _unless_it_fails),), "permits_are_given_back"
    ),
}
