"""A hop played by hand, and the machines of the origin it goes to."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from resilient_http._core.breaker import Breaker
from resilient_http._core.hop import Plan
from resilient_http._core.lane import Lane
from resilient_http._core.limits import Limits
from resilient_http._core.origin import Origin
from resilient_http._core.pacer import Pacer
from resilient_http._core.steps import (
    Done,
    Ended,
    Ending,
    Failure,
    Flow,
    Pending,
    Reply,
    Send,
    Woke,
)
from resilient_http._core.verdict import Answer, Fault, Request
from resilient_http.events import Event, Trail
from resilient_http.policy import BreakerConfig, Policy, RetryConfig

RETRY = RetryConfig(max_attempts=3, base_delay=1, max_delay=8)
CUT = Fault(retryable=True)
BARE: dict[str, Any] = {"retry": RETRY, "breaker": None, "budget": None}
"""A policy of retries alone."""


class LongestWait(Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)

    def random(self) -> float:
        return 0.5


class Play:
    """A hop under way.

    Args:
        origin: Where it goes; None for one that nobody has called yet.
        now: When it begins.
        deadline: Of the call.
        request: What about it decides whether it may be sent again.
        nested: Whether a call around it does the retries.
        pacer: What the server announced.
        wake: Called when its slot is there.
        policy: Fields of the policy that differ from retries alone.

    """

    def __init__(  # noqa: PLR0913 - what a hop depends on, each by its name
        self,
        origin: Origin | None = None,
        *,
        now: float = 0,
        deadline: float = 30,
        request: Request = Request(idempotent=True),  # noqa: B008 - it is frozen
        nested: bool = False,
        pacer: Pacer | None = None,
        wake: Callable[[], object] = print,
        **policy: Any,
    ) -> None:
        asked = Policy(**{**BARE, **policy})
        self.origin = Origin() if origin is None else origin
        self.origin.equip(asked, LongestWait())
        self.lane = Lane(self.origin, asked, pacer, is_new_call=True)
        self.trail = Trail("http://a:80", "GET")
        self.flow: Flow = Plan(
            facts=lambda: request,
            retry=None if nested else asked.retry,
            nested=nested,
            lane=self.lane,
            limits=Limits(0, deadline=deadline, attempt=10, longest_phase=0),
            rng=LongestWait(),
            wake=wake,
            trail=self.trail,
        ).run(now)

    def end(self, last: Ended | Woke | Pending | None = None) -> Ending:
        with pytest.raises(StopIteration) as stopped:
            self.flow.send(last)  # type: ignore[arg-type]  # None starts it
        ending: Ending = stopped.value.value
        return ending

    def events(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.trail.take() if isinstance(event, kind)]

    @property
    def breaker(self) -> Breaker:
        assert self.origin.breaker is not None
        return self.origin.breaker


def reply(now: float, status: int, wait: float | None = None, copy: int = 0) -> Reply:
    return Reply(now, Answer(status=status, retry_after=wait), copy=copy)


def breaker(**config: float) -> BreakerConfig:
    known = {"failure_threshold": 2, "ramp": None, **config}
    return BreakerConfig(**known)  # type: ignore[arg-type]  # by name


def fail(origin: Origin, times: int, config: BreakerConfig, now: float = 0) -> None:
    for _ in range(times):
        play = Play(origin, breaker=config, retry=None, now=now)
        assert next(play.flow) == Send()
        assert play.end(Failure(now, CUT)) == Done()
