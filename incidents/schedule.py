"""What is called, and what goes wrong when: a schedule, drawn from a seed.

Each leaves out most of what there is, at random: what goes wrong alone hides nothing,
and what goes wrong together meets. Times are seconds from the start.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, Literal

from incidents.network import How
from resilient_http.policy import (
    BreakerConfig,
    ConcurrencyLimit,
    Hedge,
    Policy,
    RateLimit,
    RetryBudget,
    RetryConfig,
    Throttle,
)

Kind = Literal["get", "stream", "order"]
Going = Literal["slow", "fail", "raise", "refuse", "hang"]

QUIET: Final = 8.0
"""When the last fault is over."""
CALLS: Final = (8, 28)
STORE: Final = "store"
LONGEST_BREAK: Final = 2.0
WINDOW: Final = 4.0
"""Seconds that a client looks back: of its breaker, its throttle and its limits."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Cancelling a call: once it has waited so many times, or after so long."""

    steps: int | None = None
    after: float | None = None
    scope: bool = False
    """Whether by a scope of anyio, which goes on cancelling, and not by the task."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one client."""

    number: int
    at: float
    client: int
    kind: Kind
    deadline: float
    size: int = 100
    work: float = 0.01
    """Seconds that serving it takes."""
    key: int | None = None
    """Whose order it is; another call may repeat it. None: it has no key."""
    chunks: int = 1
    reads: int | None = None
    """Chunks of a stream that are read before it is closed; None for all."""
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class Slow:
    """Bytes take longer."""

    at: float
    until: float
    ends: tuple[str, str]
    extra: float


@dataclass(frozen=True, slots=True)
class Partition:
    """What comes from some does not arrive at the other end."""

    at: float
    until: float
    ends: tuple[str, str]
    silent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Damage:
    """Connections end: those that are open, and those that are opened meanwhile."""

    at: float
    until: float
    ends: tuple[str, str]
    how: How
    after: int
    back: bool


@dataclass(frozen=True, slots=True)
class Crash:
    """A process dies, or its machine, and another takes its place."""

    at: float
    until: float
    process: int
    silent: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the app does is slow, or goes wrong."""

    at: float
    until: float
    process: int
    how: Going
    share: float


@dataclass(frozen=True, slots=True)
class Leap:
    """Time passes in which nothing runs: the machine was suspended."""

    at: float
    by: float


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody sets the wall clock."""

    at: float
    by: float


Fault = Slow | Partition | Damage | Crash | Trouble | Leap | Step


@dataclass(frozen=True, slots=True)
class Service:
    """How the server is set up."""

    processes: int = 1
    store: Literal["redis", "memory"] = "redis"
    lease: float = 1.0
    wait: float = 0.0
    shedding: tuple[int, int] | None = None
    """Limit and greatest limit; None for no shedding."""
    maximum: float | None = None
    cancels: bool = False
    """Whether a handler is cancelled when its caller goes away."""
    rate: tuple[int, float] | None = None
    """Units and seconds of the rate limit; None for none."""
    keep_alive: float = 2.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that is drawn."""

    seed: int
    policy: Policy
    service: Service
    family: Literal["httpx", "httpx2"]
    clients: int
    places: int
    """Connections in each client's pool."""
    bursts: tuple[float, ...]
    """Around which times things happen: what is far from all else meets nothing."""
    calls: tuple[Call, ...]
    faults: tuple[Fault, ...] = field(default=())

    def parts(self) -> list["Call | Fault"]:
        """Return what can be left out."""
        return [*self.faults, *self.calls]

    def without(self, parts: list[Any]) -> "Schedule":
        """Return it with some of its parts left out."""
        return replace(
            self,
            calls=tuple(call for call in self.calls if call not in parts),
            faults=tuple(fault for fault in self.faults if fault not in parts),
        )


def client_name(number: int) -> str:
    """Return what a client's host is called."""
    return f"client-{number}"


def process_name(number: int) -> str:
    """Return what a server's host is called."""
    return f"server-{number}"


def draw(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    rng = Random(seed)
    service = _service(rng)
    clients = rng.randrange(1, 4)
    drawn = Schedule(
        seed=seed,
        policy=_policy(rng),
        service=service,
        family=rng.choice(["httpx", "httpx", "httpx", "httpx2"]),
        clients=clients,
        places=rng.choice([1, 2, 2, 3, 8]),
        bursts=tuple(rng.uniform(0, QUIET * 0.6) for _ in range(rng.randrange(1, 4))),
        calls=(),
    )
    about = rng.random()
    if about < 0.2:
        return _about_keys(rng, drawn)
    if about < 0.3:
        return _about_breakers(rng, drawn)
    if about < 0.45:
        return _about_pools(rng, drawn)
    calls = _calls(rng, drawn)
    return replace(drawn, calls=calls, faults=_faults(rng, drawn))


def _about_breakers(rng: Random, drawn: Schedule) -> Schedule:
    """Return a schedule in which breakers open, and many a probe is cancelled."""
    breaker = replace(
        _breaker(rng), failure_threshold=1, recovery_timeout=0.2, probe_lease=600.0
    )
    policy = replace(drawn.policy, breaker=breaker, deadline=2.0)
    drawn = replace(drawn, policy=policy, service=replace(drawn.service, rate=None))
    calls: list[Call] = []
    at = drawn.bursts[0]
    faults = [
        Trouble(
            round(at, 4), round(at + rng.uniform(0.2, 1.5), 4), process, "fail", 1.0
        )
        for process in range(drawn.service.processes)
    ]
    for number in range(1, 31):
        cut = Cut(after=round(rng.uniform(0, 0.1), 4), scope=rng.random() < 0.3)
        call = Call(
            number=number,
            at=round(at, 4),
            client=rng.randrange(drawn.clients),
            kind=rng.choice(["get", "get", "stream"]),
            deadline=rng.choice([0.05, 0.5]),
            work=round(rng.uniform(0, 0.2), 4),
            cuts=(cut,) if rng.random() < 0.6 else (),
        )
        calls.append(call)
        at += rng.uniform(0, 0.2)
    return replace(drawn, calls=_sorted(calls), faults=tuple(faults))


def _about_keys(rng: Random, drawn: Schedule) -> Schedule:
    """Return a schedule in which orders outlive their claims, and are repeated."""
    service = Service(processes=rng.randrange(2, 4), lease=rng.choice([0.2, 0.4]))
    drawn = replace(drawn, service=service)
    lease, calls = service.lease, list[Call]()
    for key in range(1, rng.randrange(2, 6)):
        at, work = rng.choice(drawn.bursts), round(rng.uniform(1, 6) * lease, 4)
        for _ in range(rng.randrange(2, 5)):
            calls.append(
                Call(
                    number=len(calls) + 1,
                    at=round(at, 4),
                    client=rng.randrange(drawn.clients),
                    kind="order",
                    deadline=rng.choice([2.0, 4.0]),
                    work=work,
                    key=key,
                    cuts=_cuts(rng) if rng.random() < 0.2 else (),
                )
            )
            at += rng.uniform(0, 3) * lease
    faults: list[Fault] = []
    for _ in range(rng.randrange(1, 5)):
        at = round(rng.choice(drawn.bursts) + rng.uniform(0, 4) * lease, 4)
        leap = Leap(at, round(rng.uniform(0.5, 2) * lease, 4))
        faults.append(rng.choice([leap, _away(rng, drawn), _crash(rng, drawn)]))
    in_order = sorted(faults, key=lambda fault: fault.at)
    return replace(drawn, calls=_sorted(calls), faults=tuple(in_order))


def _about_pools(rng: Random, drawn: Schedule) -> Schedule:
    """Return a schedule in which few connections are used, and every call is cut."""
    service = replace(drawn.service, rate=None, shedding=None)
    policy = replace(drawn.policy, breaker=None, rate_limit=None, throttle=None)
    drawn = replace(drawn, service=service, policy=policy, places=rng.choice([1, 2, 4]))
    at, calls = drawn.bursts[0], list[Call]()
    for number in range(1, rng.randrange(12, 30)):
        cuts = [Cut(steps=rng.randrange(1, 40))]
        cuts += [Cut(steps=rng.randrange(1, 4)) for _ in range(rng.randrange(3))]
        call = Call(
            number=number,
            at=round(at, 4),
            client=rng.randrange(drawn.clients),
            kind=rng.choice(["get", "stream"]),
            deadline=2.0,
            size=rng.choice([10, 10_000]),
            work=rng.choice([0.0, 0.001]),
            chunks=rng.randrange(1, 3),
            reads=rng.choice([None, 0, 1]),
            cuts=tuple(cuts),
        )
        calls.append(
            replace(call, chunks=1, reads=None) if call.kind == "get" else call
        )
        at += rng.choice([0.0, 0.001, 0.05])
    faults = _faults(rng, drawn) if rng.random() < 0.5 else ()
    return replace(drawn, calls=_sorted(calls), faults=faults)


def _policy(rng: Random) -> Policy:
    return Policy(
        deadline=rng.choice([1.0, 2.0, 4.0]),
        attempt_timeout=rng.choice([None, None, 0.3, 1.0]),
        retry=_maybe(
            rng,
            0.85,
            RetryConfig(max_attempts=rng.randrange(2, 5), base_delay=0.05, max_delay=1),
        ),
        budget=_maybe(rng, 0.7, RetryBudget()),
        breaker=_maybe(rng, 0.6, _breaker(rng)),
        concurrency=_maybe(
            rng,
            0.5,
            ConcurrencyLimit(
                limit=rng.choice([1, 2, 4]),
                adaptive=rng.choice([None, None, "aimd", "gradient2"]),
                queue=rng.choice([0, 2, 8]),
            ),
        ),
        hedge=_maybe(rng, 0.3, Hedge(delay=rng.choice([0.02, 0.1]))),
        rate_limit=_maybe(
            rng,
            0.2,
            RateLimit(
                rng.choice([4, 20]), 1.0, burst=4, mode=rng.choice(["wait", "reject"])
            ),
        ),
        throttle=_maybe(rng, 0.15, Throttle(window=WINDOW)),
    )


def _breaker(rng: Random) -> BreakerConfig:
    return BreakerConfig(
        minimum_calls=rng.choice([3, 10]),
        window=WINDOW,
        failure_threshold=rng.choice([1, 2, 5]),
        recovery_timeout=rng.choice([0.2, 1.0]),
        max_recovery_timeout=LONGEST_BREAK,
        success_threshold=rng.choice([1, 2]),
        half_open_max_calls=rng.choice([1, 2]),
        # Longer than a run: what comes back by itself is not found to be lost.
        probe_lease=rng.choice([1.0, 600.0]),
        ramp=rng.choice([None, 1.0]),
    )


def _service(rng: Random) -> Service:
    processes = rng.choice([1, 2, 2, 3])
    return Service(
        processes=processes,
        store="memory" if processes == 1 and rng.random() < 0.5 else "redis",
        lease=rng.choice([0.2, 0.3, 1.0]),
        wait=rng.choice([0.0, 0.0, 0.5]),
        shedding=_maybe(rng, 0.5, rng.choice([(1, 1), (2, 4), (4, 40)])),
        maximum=rng.choice([None, None, 0.5, 2.0]),
        cancels=rng.random() < 0.3,
        rate=_maybe(rng, 0.3, (rng.choice([5, 20]), 1.0)),
        keep_alive=rng.choice([0.2, 2.0]),
    )


def _maybe(rng: Random, share: float, thing: Any) -> Any:
    return thing if rng.random() < share else None


def _calls(rng: Random, drawn: Schedule) -> tuple[Call, ...]:
    count, cut_share = rng.randrange(*CALLS), rng.choice([0.0, 0.2, 0.6])
    again_share = rng.choice([0.2, 0.9])
    kinds: list[Kind] = ["get", "stream", "order"]
    kinds.append(rng.choice(kinds))
    slowest = rng.choice([0.02, 0.3, 3 * drawn.service.lease, 5 * drawn.service.lease])
    calls: list[Call] = []
    keys = 0
    for number in range(1, count + 1):
        kind = rng.choice(kinds)
        spread = rng.choice([0.0, 0.05, 1.0])
        chunks = rng.randrange(1, 5)
        call = Call(
            number=number,
            at=round(rng.choice(drawn.bursts) + rng.uniform(0, spread), 4),
            client=rng.randrange(drawn.clients),
            kind=kind,
            deadline=rng.choice([0.05, 0.5, 2.0, 4.0]),
            size=rng.choice([10, 1_000, 100_000]),
            work=round(rng.uniform(0, slowest), 4),
            chunks=chunks if kind == "stream" else 1,
            reads=rng.choice([None, 0, 1, chunks]) if kind == "stream" else None,
            cuts=_cuts(rng) if rng.random() < cut_share else (),
        )
        if kind == "order":
            keys += 1
            call = replace(call, key=_maybe(rng, 0.85, keys))
        calls.append(call)
        if call.key is not None and rng.random() < again_share:
            again = replace(
                call,
                number=count + keys,
                at=round(
                    call.at
                    + rng.uniform(0, rng.choice([0.01, 4 * drawn.service.lease])),
                    4,
                ),
                client=rng.randrange(drawn.clients),
                cuts=(),
            )
            calls.append(again)
    return _sorted(calls)


def _sorted(calls: list[Call]) -> tuple[Call, ...]:
    return tuple(sorted(calls, key=lambda call: (call.at, call.number)))


def _cuts(rng: Random) -> tuple[Cut, ...]:
    first = Cut(
        steps=rng.randrange(1, 40) if rng.random() < 0.6 else None,
        after=round(rng.uniform(0, 0.5), 4),
        scope=rng.random() < 0.3,
    )
    more = [Cut(steps=rng.randrange(1, 5)) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
    return first, *more


def _faults(rng: Random, drawn: Schedule) -> tuple[Fault, ...]:
    kinds = [kind for kind in _DRAWN if rng.random() < 0.45]
    if not kinds:
        return ()
    count = rng.randrange(1, 13)
    faults = [rng.choice(kinds)(rng, drawn) for _ in range(count)]
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _ends(rng: Random, drawn: Schedule) -> tuple[str, str]:
    process = process_name(rng.randrange(drawn.service.processes))
    if drawn.service.store == "redis" and rng.random() < 0.3:
        return process, STORE
    return client_name(rng.randrange(drawn.clients)), process


def _span(rng: Random, drawn: Schedule) -> tuple[float, float]:
    at = rng.choice(drawn.bursts) + rng.uniform(0, rng.choice([0.05, 0.5, 2.0]))
    return round(at, 4), round(min(QUIET, at + rng.choice([0.05, 0.5, 3.0])), 4)


def _slow(rng: Random, drawn: Schedule) -> Fault:
    return Slow(*_span(rng, drawn), _ends(rng, drawn), rng.choice([0.02, 0.1, 0.5]))


def _partition(rng: Random, drawn: Schedule) -> Fault:
    ends = _ends(rng, drawn)
    silent = rng.choice([ends, ends[:1], ends[1:]])
    return Partition(*_span(rng, drawn), ends, silent)


def _away(rng: Random, drawn: Schedule) -> Fault:
    """A process cannot renew its claims, for longer than they are held."""
    at, _ = _span(rng, drawn)
    until = min(QUIET, at + rng.uniform(1, 3) * drawn.service.lease)
    process = process_name(rng.randrange(drawn.service.processes))
    return Partition(at, round(until, 4), (process, STORE), (process, STORE))


def _damage(rng: Random, drawn: Schedule) -> Fault:
    how: How = rng.choice(["reset", "cut", "stall"])
    after = rng.choice([0, 1, 50, 200, 1_000, 60_000])
    return Damage(*_span(rng, drawn), _ends(rng, drawn), how, after, rng.random() < 0.6)


def _crash(rng: Random, drawn: Schedule) -> Fault:
    process = rng.randrange(drawn.service.processes)
    return Crash(*_span(rng, drawn), process, rng.random() < 0.4)


def _trouble(rng: Random, drawn: Schedule) -> Fault:
    how = rng.choice(_GOING)
    share = rng.choice([0.3, 1.0])
    return Trouble(
        *_span(rng, drawn), rng.randrange(drawn.service.processes), how, share
    )


def _leap(rng: Random, drawn: Schedule) -> Fault:
    lease = drawn.service.lease
    return Leap(_span(rng, drawn)[0], rng.choice([0.01, 0.3, 1.5 * lease, 10.0]))


def _step(rng: Random, drawn: Schedule) -> Fault:
    return Step(
        _span(rng, drawn)[0], rng.choice([-86_400.0, -30.0, -0.5, 0.5, 30.0, 86_400.0])
    )


_GOING: Final[list[Going]] = ["slow", "fail", "raise", "refuse", "hang"]
_DRAWN: Final = (
    *(_slow, _partition, _away, _crash, _trouble, _leap, _step),
    *(_damage, _damage, _damage),  # most of these meet no connection
)
