"""One can see what a client did, would do, and is told to do."""

import logging
from typing import Any

import pytest

from resilient_http import (
    BreakerConfig,
    ConcurrencyLimit,
    Policy,
    RateLimit,
    RetryBudget,
    RetryConfig,
    State,
    events,
)
from resilient_http.events import Event
from resilient_http.problems import CircuitBreakerOpenException
from tests.client.world import Colour, World
from tests.family import AsyncClient, httpx, wrap

SECRETS = "http://user:password@a/path?token=secret"


def told(seen: list[Event]) -> list[tuple[Any, ...]]:
    """Return the events without origin and method, which are the same for all."""
    return [
        (
            type(event).__name__,
            *(
                value
                for name in type(event).__slots__
                if isinstance(value := getattr(event, name), int | str | None)
            ),
        )
        for event in seen
    ]


async def test_every_decision_is_told_with_its_reason(colour: Colour) -> None:
    world = World(503, httpx.ReadTimeout, 503)
    seen: list[Event] = []
    async with world.caller(colour, listeners=[seen.append]) as caller:
        await caller.get(SECRETS)
    assert told(seen) == [
        ("Sent", 1, False),
        ("Ended", 1, 503, None),
        ("RetryScheduled", 2, "idempotent"),
        ("Sent", 2, False),
        ("Ended", 2, None, "ReadTimeout"),
        ("RetryScheduled", 3, "idempotent"),
        ("Sent", 3, False),
        ("Ended", 3, 503, None),
        ("NotRetried", 3, "attempts_spent"),
    ]
    assert {(event.origin, event.method) for event in seen} == {("http://a:80", "GET")}
    assert [e.delay for e in seen if isinstance(e, events.RetryScheduled)] == [
        pytest.approx(0.05),
        pytest.approx(0.1),
    ]


@pytest.mark.parametrize(
    ("policy", "method", "step", "reason"),
    [
        (Policy(), "POST", 503, "not_idempotent"),
        (Policy(retry=None), "GET", 503, "switched_off"),
        (Policy(budget=RetryBudget(capacity=0)), "GET", 503, "budget_spent"),
        (Policy(breaker=BreakerConfig(minimum_calls=1)), "GET", 503, "breaker_open"),
        (Policy(), "GET", "asks for 60 s", "wait_too_long"),
        (Policy(deadline=0.01), "GET", 503, "no_time"),
        (Policy(), "GET", 404, "final"),
    ],
)
async def test_why_it_was_not_sent_again_is_told(
    colour: Colour, policy: Policy, method: str, step: Any, reason: str
) -> None:
    asking = httpx.Response(503, headers={"retry-after": "60"})
    world = World(step if isinstance(step, int) else asking)
    seen: list[Event] = []
    async with world.caller(colour, policy=policy, listeners=[seen.append]) as caller:
        await caller.request(method, "http://a/")
    found = [e.reason for e in seen if isinstance(e, events.NotRetried)]
    assert found == [reason]


async def test_a_breaker_that_moves_and_refuses_is_told(colour: Colour) -> None:
    world = World(503)
    seen: list[Event] = []
    policy = Policy(breaker=BreakerConfig(failure_threshold=1), retry=None)
    async with world.caller(colour, policy=policy, listeners=[seen.append]) as caller:
        await caller.get()
        with pytest.raises(CircuitBreakerOpenException):
            await caller.get()
        world.clock.time += 10
        world.script = [200]
        await caller.get()
        await caller.get()
    moved = [e for e in seen if isinstance(e, events.BreakerMoved)]
    assert [(e.state, e.cause) for e in moved] == [
        ("open", "calls_failed"),
        ("half_open", "break_over"),
        ("closed", "probes_passed"),
    ]
    (refused,) = [e for e in seen if isinstance(e, events.Refused)]
    assert refused.part == "breaker"
    assert refused.retry_after == pytest.approx(6)


async def test_waiting_and_running_out_of_time_are_told(colour: Colour) -> None:
    world = World(200)
    seen: list[Event] = []
    slow = Policy(rate_limit=RateLimit(1, 2.0), deadline=5.0)
    async with world.caller(colour, policy=slow, listeners=[seen.append]) as caller:
        await caller.get()
        await caller.get()
    (waiting,) = [e for e in seen if isinstance(e, events.Waiting)]
    assert (waiting.part, waiting.seconds) == ("rate_limit", 2)


@pytest.mark.case("C23")
async def test_a_listener_that_fails_or_looks_again_changes_nothing(
    colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(503, 200)
    states: list[str] = []

    def look(event: Event) -> None:
        known = caller.client.snapshot()["origins"]["http://a:80"]  # type: ignore[union-attr]  # ours
        states.append(known["breaker"]["state"])
        raise LookupError("in a listener")

    async with world.caller(colour, listeners=[look]) as caller:
        with caplog.at_level(logging.ERROR, "resilient_http"):
            assert (await caller.get()).status_code == 200
    assert states == ["closed"] * 5
    assert "in a listener" in caplog.text


async def test_nothing_secret_is_told(colour: Colour) -> None:
    world = World(httpx.ReadTimeout)
    seen: list[Event] = []
    headers = {"authorization": "Bearer secret"}
    policy = Policy(breaker=BreakerConfig(failure_threshold=1))
    async with world.caller(colour, policy=policy, listeners=[seen.append]) as caller:
        with pytest.raises(httpx.ReadTimeout):
            await caller.get(SECRETS, headers=headers)
        with pytest.raises(CircuitBreakerOpenException) as caught:
            await caller.get(SECRETS, headers=headers)
        request = caller.client.build_request("GET", SECRETS, headers=headers)
        explained = str(caller.client.explain(request))  # type: ignore[union-attr]  # ours
        text = f"{seen}{caught.value}{caller.client.snapshot()}{explained}"  # type: ignore[union-attr]  # ours
    assert "secret" not in text
    assert "password" not in text


async def test_explain_says_what_would_be_done_and_changes_nothing(
    colour: Colour,
) -> None:
    world = World(503)
    policy = Policy(breaker=BreakerConfig(failure_threshold=1), idempotency_keys=True)
    async with world.caller(colour, policy=policy) as caller:
        ours: Any = caller.client
        get = ours.build_request("GET", "http://a/")
        post = ours.build_request("POST", "http://a/", json={})
        assert str(ours.explain(get)) == (
            "GET to http://a:80 would be sent at once. Up to 3 sends (idempotent). "
            "It has 30 s for all of it. Nothing is added to its headers."
        )
        assert ours.explain(post).why == "idempotency key"
        assert "idempotency-key" not in post.headers
        assert ours.snapshot()["origins"] == {}
        await caller.get()
        refused = ours.explain(get)
        before = ours.snapshot()
        assert (refused.refused_by, refused.wait) == ("breaker", pytest.approx(6))
        assert "refused by the breaker for another" in str(refused)
        assert ours.snapshot() == before
    assert world.sends == 3


async def test_explain_knows_the_limits(colour: Colour) -> None:
    world = World(200)
    limits = Policy(
        rate_limit=RateLimit(1, 4.0),
        concurrency=ConcurrencyLimit(limit=1),
        retry=None,
        budget=None,
        deadline=None,
    )
    async with world.caller(colour, policy=limits) as caller:
        ours: Any = caller.client
        get = ours.build_request("GET", "http://a/")
        streamed = await caller.open()
        assert ours.explain(get).refused_by == "concurrency"
        await caller.close(streamed)
        waiting = ours.explain(get)
    assert (waiting.refused_by, waiting.wait) == (None, pytest.approx(4))
    assert (waiting.max_attempts, waiting.may_be_repeated) == (1, False)
    assert (waiting.budget, waiting.hedge_after) == (None, None)
    assert "switched off" in str(waiting)
    assert "no deadline" in str(waiting)


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_breaker_may_be_held_open_and_closed_by_hand(
    colour: Colour, *, asked_before: bool
) -> None:
    world = World(200)
    policy = Policy(breaker=BreakerConfig(failure_threshold=1), retry=None)
    async with world.caller(colour, policy=policy) as caller:
        if asked_before:
            await caller.get()
        world.state.force("http://a/", "open")
        with pytest.raises(CircuitBreakerOpenException, match="by hand") as caught:
            await caller.get()
        assert caught.value.retry_after is None
        world.state.force("http://a", "closed")
        world.script = [503]
        for _ in range(5):
            assert (await caller.get()).status_code == 503
        world.state.force("http://a:80", None)
        known = caller.client.snapshot()["origins"]["http://a:80"]["breaker"]  # type: ignore[union-attr]  # ours
        assert (known["mode"], known["failures"]) == ("normal", 0)
        await caller.get()
        with pytest.raises(CircuitBreakerOpenException):
            await caller.get()


@pytest.mark.parametrize("how", ["config", "by hand"])
async def test_a_breaker_may_count_and_refuse_nothing(colour: Colour, how: str) -> None:
    world = World(503)
    config = BreakerConfig(failure_threshold=1, metrics_only=how == "config")
    policy = Policy(breaker=config, retry=None)
    async with world.caller(colour, policy=policy) as caller:
        if how == "by hand":
            world.state.force("http://a", "metrics_only")
        for _ in range(3):
            assert (await caller.get()).status_code == 503
        known = caller.client.snapshot()["origins"]["http://a:80"]["breaker"]  # type: ignore[union-attr]  # ours
    assert (known["state"], known["mode"]) == ("open", "metrics_only")


@pytest.mark.parametrize("given", ["", "a", "ftp://a", "http://", "http://a:99999999"])
def test_what_is_no_origin_cannot_be_forced(given: str) -> None:
    with pytest.raises(ValueError, match="origin must be an http or https URL"):
        State().force(given, "open")
    with pytest.raises(ValueError, match=r"mode must be 'open' or .* got 'shut'"):
        State().force("http://a", "shut")  # type: ignore[arg-type]  # misuse


async def test_parts_of_what_is_called_have_policies_of_their_own(
    colour: Colour,
) -> None:
    world = World(503)
    routes = {
        "/reports": Policy(retry=None),
        "GET /reports/daily": Policy(retry=RetryConfig(max_attempts=2)),
        "http://b/": Policy(retry=RetryConfig(max_attempts=4)),
    }
    sends: dict[str, int] = {}
    options = {"routes": routes, "base_url": "http://a/v1"}
    async with world.caller(colour, **options) as caller:
        for url in ("/reports", "/reports/daily", "/reportsx", "http://b/reports"):
            before = world.sends
            await caller.get(url, extensions={})
            sends[url] = world.sends - before
        before = world.sends
        own = Policy(retry=RetryConfig(max_attempts=5), breaker=None)
        await caller.get("/reports", extensions={"policy": own})
        assert world.sends - before == 5
    assert sends == {
        "/reports": 1,
        "/reports/daily": 2,
        "/reportsx": 3,
        "http://b/reports": 4,
    }


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({"reports": Policy()}, "routes must be URLs or paths from /, got 'reports'"),
        ({"/reports": {"retry": None}}, r"routes\['/reports'\] must be a Policy"),
    ],
)
def test_routes_that_are_none_are_refused(routes: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        AsyncClient(routes=routes)


def test_a_listener_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="listeners must be callables, got 3"):
        AsyncClient(listeners=[3])  # type: ignore[list-item]  # misuse


def test_a_client_that_is_wrapped_takes_all_that_a_new_one_does() -> None:
    seen: list[Event] = []
    client = wrap(
        httpx.Client(transport=World(200).transport),
        routes={"/x": Policy(retry=None)},
        listeners=[seen.append],
    )
    with client:
        client.get("http://a/")
    assert [type(event) for event in seen] == [events.Sent, events.Ended]
