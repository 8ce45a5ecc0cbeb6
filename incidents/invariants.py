"""What must hold after any incident: each a promise, by its name.

A check yields what breaks it. Safety is looked at over the whole run, liveness some
time after the last fault.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import httpx
import httpx2

from incidents.app import Run
from incidents.calling import Record
from incidents.schedule import STORE, Damage, Leap, Partition, Slow
from incidents.world import World

TICK: Final = 0.06
"""Seconds by which a call may end late: what is neither a send nor a wait is cut short
0.05 s after its deadline."""

_OK: Final = 200
_CREATED: Final = 201
_REFUSED: Final = (None, 429, 503)
"""Statuses of who was not let as far as its key; None: of whom the client refused."""
_OF_FAMILY: Final = (httpx.HTTPError, httpx2.HTTPError, httpx.StreamError)
_MOST_IN_WINDOW: Final = 1.1  # times the limit, as the sliding window promises
_STILL_HELD: Final = 0.6  # of a lease, that is left at least as long as it is renewed


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken."""

    name: str
    what: str


def broken(world: World) -> list[Violation]:
    """Return what was broken in a run that is over."""
    return [
        Violation(check.__name__, what) for check in CHECKS for what in check(world)
    ]


# Writes.


def nothing_is_written_twice(world: World) -> Iterator[str]:
    """An order is placed once, unless who placed it died or lost its claim."""
    for order, runs in _runs_by_order(world).items():
        written = [run for run in runs if run.written_at is not None]
        for first, second in pairwise(written):
            if first.key is None or not _has_lost_its_claim(world, first, second):
                both = f"runs {first.number} and {second.number}"
                yield f"{order} was placed by {both}"


def nothing_is_lost(world: World) -> Iterator[str]:
    """Who was told that an order is placed finds it there."""
    runs = {run.number: run for run in world.database.runs}
    for record in _all(world):
        if record.status == _CREATED:
            run = runs.get(record.run or 0)
            if run is None or run.written_at is None:
                yield f"{_name(record)} was told of run {record.run}: it wrote nothing"


def a_key_has_one_answer(world: World) -> Iterator[str]:
    """Whoever asks with one key is told of one run, where a repeat is promised it."""
    if _has_forgotten(world):
        return
    for key, records in _by_key(world).items():
        told = {record.run or 0 for record in records if _is_kept(record)}
        if len(told) > 1:
            yield f"key {key}: runs {sorted(told)} were both said to be the answer"


def what_was_answered_is_not_run_again(world: World) -> Iterator[str]:
    """Once an answer to a key is out, and is said to be kept, its handler rests."""
    if _has_forgotten(world):
        return
    for key, records in _by_key(world).items():
        kept = [record.ended for record in records if _is_kept(record)]
        for run in world.database.runs:
            if run.key == key and kept and run.began > min(kept):
                yield f"key {key}: run {run.number} began after it was answered"


def what_is_kept_is_given_again(world: World) -> Iterator[str]:
    """Who asks with a key that has an answer is given that."""
    if _has_forgotten(world):
        return
    by_key = _by_key(world)
    for again in world.audit:
        told = {
            record.run for record in by_key[again.call.key or 0] if _is_kept(record)
        }
        is_refused = again.status in _REFUSED
        if told and again.run not in told and not is_refused:
            yield f"key {again.call.key}: {again.outcome} in the place of run {told}"


def answers_belong_to_their_calls(world: World) -> Iterator[str]:
    """An answer is whole, and that to what was asked."""
    for record in _all(world):
        if record.wrong:
            yield f"{_name(record)}: {record.wrong}"


# Time.


def calls_end_in_time(world: World) -> Iterator[str]:
    """No call ends later than its deadline, by more than a tick."""
    for record in _all(world):
        late = _late(world, record.due, record.ended)
        if late > TICK:
            yield f"{_name(record)} ended {late:.3f} s late"


def cancelled_calls_end_at_once(world: World) -> Iterator[str]:
    """Nor does one that is cancelled."""
    for record in _all(world):
        if record.cancelled_at is not None:
            late = _late(world, record.cancelled_at, record.ended)
            if late > TICK:
                yield f"{_name(record)} ended {late:.3f} s after it was cancelled"


def handlers_end_in_time(world: World) -> Iterator[str]:
    """No handler works on when the time of its request is over."""
    for run in world.database.runs:
        if run.host.is_up and run.left < math.inf:
            ended = math.inf if run.ended_at is None else run.ended_at
            late = _late(world, run.began + run.left, ended)
            if late > TICK:
                yield f"run {run.number} ended {late:.3f} s late"


# What is lent.


def permits_are_given_back(world: World) -> Iterator[str]:
    """No slot, probe or place in a queue is held when nothing is under way."""
    for number, origins in enumerate(world.states):
        for known in origins.values():
            for part in ("breaker", "concurrency"):
                held = known[part] or {}
                for what in ("in_flight", "waiting"):
                    if held.get(what):
                        yield f"client {number}: {part} has {held[what]} {what}"
    for number, held_there in enumerate(world.held):
        for what, count in held_there.items():
            if count:
                yield f"process {number}: {count} {what}"


def pools_are_whole(world: World) -> Iterator[str]:
    """Each place of each pool can be used, and no connection is in limbo."""
    yield from world.pools


def keys_run_out(world: World) -> Iterator[str]:
    """No claim outlives its lease."""
    if world.claims:
        yield f"{world.claims} claims are held by nobody"


def nothing_is_left_running(world: World) -> Iterator[str]:
    """Once all is closed there is no task, timer or connection."""
    yield from world.left


def nothing_fails_unseen(world: World) -> Iterator[str]:
    """Nothing fails where nobody is told."""
    yield from world.unseen


# Bounds.


def errors_are_of_the_family(world: World) -> Iterator[str]:
    """What a call raises, `except httpx.HTTPError` catches."""
    for record in _all(world):
        if record.error is not None and not isinstance(record.error, _OF_FAMILY):
            yield f"{_name(record)}: {record.error!r}"


def sends_are_bounded(world: World) -> Iterator[str]:
    """A call is sent no more often than its policy allows, in hedges and retries."""
    policy = world.schedule.policy
    most = 1 if policy.retry is None else policy.retry.max_attempts
    most = max(most, 2 if policy.hedge is not None and policy.retry is None else 1)
    for record in _all(world):
        if record.sends > most:
            yield f"{_name(record)} was sent {record.sends} times of {most}"


def budgets_hold(world: World) -> Iterator[str]:
    """A budget is never overdrawn, nor more than full."""
    budget = world.schedule.policy.budget
    for number, origins in enumerate(world.states):
        for known in origins.values():
            tokens = known["budget"]
            if budget is None or tokens is None:
                continue
            if not 0 <= tokens <= budget.capacity:
                yield f"client {number} has {tokens} tokens"


def rate_limits_hold(world: World) -> Iterator[str]:
    """No process serves a client more than its limit, in any window."""
    if world.schedule.service.rate is None:
        return
    limit, window = world.schedule.service.rate
    for number, process in enumerate(world.processes):
        for client, times in process.app.seen.items():
            most = max(
                sum(1 for at in times if start <= at < start + window)
                for start in times
            )
            if most > max(limit, math.floor(_MOST_IN_WINDOW * limit)):
                yield f"process {number} served {client} {most} times in {window:g} s"


def crowds_are_bounded(world: World) -> Iterator[str]:
    """No process has more requests in its app than it may at most."""
    shedding = world.schedule.service.shedding
    for number, process in enumerate(world.processes):
        if shedding is not None and process.app.most > shedding[1]:
            yield f"process {number} served {process.app.most} at once"


# Liveness.


def traffic_is_back(world: World) -> Iterator[str]:
    """Some time after the last fault every plain call of every client succeeds."""
    for record in world.plain:
        if record.status != _OK:
            yield f"{_name(record)}: {record.error or record.outcome!r}"


CHECKS: Final = (
    nothing_is_written_twice,
    nothing_is_lost,
    a_key_has_one_answer,
    what_was_answered_is_not_run_again,
    what_is_kept_is_given_again,
    answers_belong_to_their_calls,
    calls_end_in_time,
    cancelled_calls_end_at_once,
    handlers_end_in_time,
    permits_are_given_back,
    pools_are_whole,
    keys_run_out,
    nothing_is_left_running,
    nothing_fails_unseen,
    errors_are_of_the_family,
    sends_are_bounded,
    budgets_hold,
    rate_limits_hold,
    crowds_are_bounded,
    traffic_is_back,
)


def _all(world: World) -> list[Record]:
    return [*world.records, *world.plain, *world.audit]


def _name(record: Record) -> str:
    return f"call {record.call.number}"


def _late(world: World, due: float, ended: float) -> float:
    """Return by how much something came late, less the time in which nothing ran."""
    return world.awake(ended) - world.awake(due)


def _by_key(world: World) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for record in _all(world):
        if record.call.key is not None:
            found.setdefault(record.call.key, []).append(record)
    return found


def _runs_by_order(world: World) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in world.database.runs:
        found.setdefault(run.order, []).append(run)
    return found


def _is_kept(record: Record) -> bool:
    return record.status == _CREATED and not record.is_marked


def _has_forgotten(world: World) -> bool:
    """Whether keys were in the memory of a process that died."""
    return world.schedule.service.store == "memory" and bool(world.crashes)


def _has_lost_its_claim(world: World, first: Run, second: Run) -> bool:
    """Whether something had happened by which a second run may begin."""
    lease = world.schedule.service.lease
    if _is_disturbed(world, first, second):
        return True
    for host, died in world.crashes:
        if host is first.host and died <= second.began:
            if world.schedule.service.store == "memory":
                return True
            # Its claim was renewed a third of a lease before that, at the earliest.
            return second.began - died > _STILL_HELD * lease
    return False


def _is_disturbed(world: World, first: Run, second: Run) -> bool:
    """Whether its process stalled, or could not reach the store, in between."""
    lease = world.schedule.service.lease
    start, end = world.awake(first.began), world.awake(second.began)
    for fault in _during(world.schedule.faults, start - lease, end):
        if isinstance(fault, Leap) and fault.by > _STILL_HELD * lease:
            return True
        is_of_network = isinstance(fault, Slow | Partition | Damage)
        if is_of_network and {*fault.ends} == {first.host.name, STORE}:
            return True
    return False


def _during(faults: Iterable[Any], start: float, end: float) -> Iterator[Any]:
    for fault in faults:
        if fault.at <= end and getattr(fault, "until", fault.at) >= start:
            yield fault
