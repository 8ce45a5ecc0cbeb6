"""What responses say of quotas: the usual headers, and those of the IETF's draft."""

import math
import time
from typing import Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse

from resilient_http._core.announced import Announcement, parse
from server_kit import wrap
from server_kit.asgi import RawHeaders, Scope
from server_kit.ratelimit import (
    Decision,
    Quota,
    RateLimiter,
    RateLimitMiddleware,
    client_key,
)
from server_kit.ratelimit.fields import check_name, fields, names, with_fields
from server_kit.ratelimit.quota import Charge
from tests.server.apps import serve
from tests.server.limited import client, counted

STANDARD = {"ratelimit", "ratelimit-policy"}
USUAL = {f"x-ratelimit-{part}" for part in ("limit", "remaining", "reset")}

text = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)


def decision_of(quota: Quota, **more: Any) -> Decision:
    """Return how a fresh quota stands, but for what is told."""
    whole = {"allowed": True, "remaining": quota.limit, "reset_after": 0.0}
    told = {**whole, "retry_after": 0.0, **more}
    return Decision(limit=quota.limit, window=quota.window, **told)


@st.composite
def charges_of(draw: st.DrawFn, most: int = 3, largest: int = 10**18) -> list[Charge]:
    seconds = st.floats(0, largest)
    charges = []
    for _ in range(draw(st.integers(1, most))):
        window = draw(st.floats(0.001, largest))
        quota = Quota("k", draw(st.integers(1, largest)), window)
        decision = decision_of(
            quota,
            allowed=draw(st.booleans()),
            remaining=draw(st.integers(0, quota.limit)),
            reset_after=draw(seconds),
            retry_after=draw(seconds),
        )
        charges.append(Charge(draw(text), quota, decision))
    return charges


def charged(
    limit: int = 100, window: float = 60.0, policy: str = "default", **more: Any
) -> Charge:
    quota = Quota("k", limit, window)
    return Charge(policy, quota, decision_of(quota, **more))


def items(value: str) -> dict[str, dict[str, Any]]:
    """Return the items of a list whose members are strings with parameters."""
    return dict(http_sf.parse(value.encode(), tltype="list"))  # type: ignore[arg-type] # or the test fails


@pytest.mark.property
@pytest.mark.case("RL-1", "RL-2", "RL-3", "RL-4", "RL-5", "RL-7", "RL-8", "RL-10")
@pytest.mark.case("RL-12", "RL-14")
@given(charges=charges_of(), wall=st.floats(0, 4e9), status=st.integers(200, 599))
def test_any_decisions_can_be_written(
    charges: list[Charge], wall: float, status: int
) -> None:
    said = fields(charges, wall, status)
    policies, limits = (
        items(said.get(it, "")) for it in ("RateLimit-Policy", "RateLimit")
    )
    assert list(policies) == names(charges)
    assert limits.keys() <= policies.keys()
    for policy in policies.values():
        assert policy.keys() == {"q", "w"}  # and no `qu`: they count requests
        assert type(policy["q"]) is type(policy["w"]) is int
        assert policy["w"] >= 1
    for left in limits.values():
        assert left.keys() == {"r", "t"}
        assert type(left["r"]) is type(left["t"]) is int
        assert left["r"] >= 0 <= left["t"]
    assert all(said[f"X-RateLimit-{part}"].isdigit() for part in ("Limit", "Reset"))


@pytest.mark.property
@pytest.mark.case("RL-18")
@given(charges=charges_of(largest=10_000))
def test_no_more_is_offered_in_less_time_than_the_quota_allows(
    charges: list[Charge],
) -> None:
    said = fields(charges, 0.0)
    policies = items(said["RateLimit-Policy"])
    for name, left in items(said["RateLimit"]).items():
        quota, window = policies[name]["q"], policies[name]["w"]
        assert left["r"] * window <= quota * left["t"]


@pytest.mark.case("RL-18")
def test_what_is_about_to_come_back_is_not_offered_at_once() -> None:
    one = charged(10_000, 1_000, remaining=9_999, reset_after=9.5)
    assert fields([one], 0.0)["RateLimit"] == '"default";r=9999;t=1000'
    refused = charged(10_000, 1_000, remaining=9_000, allowed=False, retry_after=9.5)
    assert fields([refused], 0.0)["RateLimit"] == '"default";r=100;t=10'


def test_the_fields_look_as_the_design_shows_them() -> None:
    assert fields([charged(remaining=50, reset_after=29.1)], wall=1_000.5) == {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "50",
        "X-RateLimit-Reset": "1030",
        "RateLimit-Policy": '"default";q=100;w=60',
        "RateLimit": '"default";r=50;t=30',
    }


@pytest.mark.case("RL-11", "RL-21")
def test_all_quotas_are_told_and_the_usual_headers_are_of_the_tightest() -> None:
    address = charged(10, 1, "address", remaining=9, reset_after=1.0)
    user = charged(100, 60, "user", remaining=3, reset_after=60.0)
    assert fields([address, user], wall=0.0) == {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "3",
        "X-RateLimit-Reset": "60",
        "RateLimit-Policy": '"address";q=10;w=1, "user";q=100;w=60',
        "RateLimit": '"address";r=9;t=1, "user";r=3;t=60',
    }


@pytest.mark.case("RL-15", "RL-17")
def test_a_refusal_tells_of_what_refuses_and_of_all_policies() -> None:
    address = charged(10, 1, "address", remaining=9, reset_after=1.0)
    user = charged(
        100, 60, "user", allowed=False, remaining=0, reset_after=60.0, retry_after=6.5
    )
    day = charged(9, 86_400, "day", remaining=2, reset_after=80_000.0)
    said = fields([address, user, day], wall=0.0, status=429)
    assert said["RateLimit"] == '"user";r=0;t=7'
    assert said["X-RateLimit-Reset"] == "7"
    policies = '"address";q=10;w=1, "user";q=100;w=60, "day";q=9;w=86400'
    assert said["RateLimit-Policy"] == policies
    alone = [address._replace(decision=None), user, day._replace(decision=None)]
    assert fields(alone, wall=0.0, status=429) == said


@pytest.mark.parametrize("outage", ["open", "local"])
def test_what_was_decided_without_redis_is_no_figure(outage: Any) -> None:
    assert fields([charged(remaining=50, reset_after=9.0, outage=outage)], 0.0) == {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Degraded": outage,
        "RateLimit-Policy": '"default";q=100;w=60',
    }


def test_beside_what_was_decided_without_redis_the_others_are_told() -> None:
    address = charged(10, 1, "address", remaining=0, outage="open")
    user = charged(100, 60, "user", remaining=50, reset_after=30.0)
    assert fields([address, user], wall=0.0) == {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "50",
        "X-RateLimit-Reset": "30",
        "X-RateLimit-Degraded": "open",
        "RateLimit-Policy": '"address";q=10;w=1, "user";q=100;w=60',
        "RateLimit": '"user";r=50;t=30',
    }


def test_what_no_field_can_hold_is_told_as_the_most_that_it_can() -> None:
    most = 999_999_999_999_999
    said = fields([charged(10**18, 1e18, remaining=10**18, reset_after=1e18)], 0.0)
    assert said["RateLimit-Policy"] == f'"default";q={most};w={most}'
    assert said["RateLimit"] == f'"default";r={most};t={most}'


@pytest.mark.case("RL-12")
def test_policies_of_one_name_are_told_apart() -> None:
    assert names([charged(), charged(policy="x"), charged(), charged()]) == [
        *("default", "x", "default-2", "default-3")
    ]
    assert names([charged(policy=it) for it in ("a", "a-2", "a")])[2] == "a-3"


@pytest.mark.case("RL-13")
def test_a_name_is_escaped() -> None:
    said = fields([charged(policy='a"b\\c')], wall=0.0)
    assert said["RateLimit-Policy"] == '"a\\"b\\\\c";q=100;w=60'
    assert list(items(said["RateLimit"])) == ['a"b\\c']


@pytest.mark.case("RL-13")
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("é", ValueError),
        ("a\n", ValueError),
        ("\x7f", ValueError),
        ("", ValueError),
        (None, TypeError),
        (b"a", TypeError),
    ],
)
def test_a_name_that_cannot_be_written_is_refused(
    name: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="names of quotas"):
        check_name(name)
    with pytest.raises(error, match="names of quotas"):
        counted(quotas={name: lambda _: None})


@pytest.mark.case("RL-22")
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_redirect_does_not_say_that_nothing_is_left(*, wrapped: bool) -> None:
    async def moved(scope: Scope, receive: Any, send: Any) -> None:
        await RedirectResponse("/there")(scope, receive, send)

    app: Any = counted(moved)
    async with client(wrap(app) if wrapped else app) as http:
        one, none = [(await http.get("/")).headers for _ in range(2)]
    assert one["ratelimit"] == '"default";r=1;t=60'
    assert "ratelimit" not in none
    assert none["ratelimit-policy"] == '"default";q=2;w=60'


@pytest.mark.case("RL-22")
@pytest.mark.parametrize(
    ("status", "said"), [(299, True), (300, False), (399, False), (400, True)]
)
def test_only_a_redirect_does_not_say_that_nothing_is_left(
    status: int, *, said: bool
) -> None:
    none = charged(remaining=0, reset_after=9.0)
    assert ("RateLimit" in fields([none], 0.0, status)) == said


@pytest.mark.property
@given(charges=charges_of(most=1), wall=st.floats(1.6e9, 4e9), wait=st.floats(0, 1e9))
def test_our_own_client_reads_what_is_written(
    charges: list[Charge], wall: float, wait: float
) -> None:
    (charge,) = charges
    assert charge.decision is not None
    decision = charge.decision._replace(reset_after=wait, retry_after=wait)
    written = fields([charge._replace(policy="p", decision=decision)], wall)
    said = {name.lower(): value for name, value in written.items()}
    left = items(said["ratelimit"])["p"]
    assert left["r"] <= decision.remaining
    assert left["t"] >= min(math.ceil(wait), 10**15 - 1)
    policy = items(said["ratelimit-policy"])["p"]
    told = Announcement(left["r"], left["t"], (policy["q"], policy["w"]))
    assert parse(said, status=200, wall=wall) == told
    usual = {name: said[name] for name in said if name.startswith("x-")}
    found = parse(usual, status=429, wall=wall)
    if decision.remaining < 10**15:
        assert found is not None
        assert found.remaining == decision.remaining
        assert wait - 1e-6 <= found.reset <= wait + 1


@pytest.mark.case("RL-17", "RA-1", "RA-2")
async def test_all_headers_of_a_refusal_ask_for_the_same_wait() -> None:
    times = [0.0, 50.0, 50.7]
    limiter = RateLimiter(clock=lambda: times.pop(0))
    app = RateLimitMiddleware(Starlette(), limiter=limiter, default_limit=2)
    async with client(app) as http:
        *_, refused = [await http.get("/") for _ in range(3)]
    reset = int(refused.headers["x-ratelimit-reset"]) - time.time()
    assert refused.headers["retry-after"] == "10"  # 9.3 s, rounded up
    assert refused.headers["ratelimit"] == '"default";r=0;t=10'
    assert 0 <= reset <= 11
    assert refused.json()["retry_after"] == 10


@pytest.mark.case("RL-17")
async def test_a_wait_of_somebody_elses_is_not_put_off() -> None:
    async def busy(scope: Scope, receive: Any, send: Any) -> None:
        headers = {"Retry-After": "1"}
        await PlainTextResponse("later", 503, headers)(scope, receive, send)

    async with client(counted(busy)) as http:
        answer = await http.get("/")
    assert "ratelimit" not in answer.headers
    assert answer.headers["x-ratelimit-remaining"] == "1"


@pytest.mark.case("RL-19")
async def test_windows_begin_with_whoever_begins_and_so_end_apart() -> None:
    now = [0.0]
    app = counted(limiter=RateLimiter(clock=lambda: now[0]))
    resets = []
    for start, address in ((0.0, "192.0.2.1"), (20.0, "192.0.2.2")):
        now[0] = start
        async with client(app, address) as http:
            await http.get("/")
    now[0] = 30.0
    for address in ("192.0.2.1", "192.0.2.2"):
        async with client(app, address) as http:
            last = [await http.get("/") for _ in range(2)][-1]
        resets.append(last.headers["ratelimit"])
    assert resets == ['"default";r=0;t=30', '"default";r=0;t=50']


@pytest.mark.case("RL-15", "RL-16")
@pytest.mark.parametrize("wrapped", [False, True])
async def test_the_policy_is_the_same_on_every_response(*, wrapped: bool) -> None:
    async def by_path(scope: Scope, receive: Any, send: Any) -> None:
        status = int(scope["path"][1:])
        await PlainTextResponse("x", status)(scope, receive, send)

    app: Any = counted(by_path, default_limit=3)
    async with client(wrap(app) if wrapped else app) as http:
        answers = [await http.get(f"/{status}") for status in (200, 404, 503, 200)]
    assert [answer.status_code for answer in answers] == [200, 404, 503, 429]
    policies = {answer.headers["ratelimit-policy"] for answer in answers}
    assert policies == {'"default";q=3;w=60'}
    left = [answer.headers["ratelimit"].split(";")[1] for answer in answers]
    assert left == ["r=2", "r=1", "r=0", "r=0"]


@pytest.mark.case("RL-33")
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("name", "family", "others"),
    [
        ("RateLimit", STANDARD, USUAL),
        ("RateLimit-Policy", STANDARD, USUAL),
        ("X-RateLimit-Limit", USUAL, STANDARD),
        ("X-RateLimit-Remaining", USUAL, STANDARD),
        ("X-RateLimit-Reset", USUAL, STANDARD),
    ],
)
async def test_what_an_upstream_says_is_passed_on_and_not_loosened(
    name: str, family: set[str], others: set[str], *, wrapped: bool
) -> None:
    async def gateway(scope: Scope, receive: Any, send: Any) -> None:
        headers = {name: "theirs"}
        await PlainTextResponse("ok", headers=headers)(scope, receive, send)

    app: Any = counted(gateway)
    async with client(wrap(app) if wrapped else app) as http:
        answer = await http.get("/")
    said = [value for key, value in answer.headers.multi_items() if key in family]
    assert said == ["theirs"]
    assert others <= answer.headers.keys()


@pytest.mark.case("RL-33")
def test_where_others_have_begun_both_families_nothing_is_added() -> None:
    theirs = [(b"RateLimit-Policy", b'"p";q=1;w=1'), (b"X-RateLimit-Limit", b"7")]
    assert with_fields(theirs, [charged()], wall=0.0, status=200) == theirs


REFUSED: dict[str, Any] = {"allowed": False, "remaining": 0, "retry_after": 7.0}


@pytest.mark.case("RL-17", "RL-33")
@pytest.mark.parametrize(
    ("charges", "is_told"),
    [
        ([charged()], False),
        ([charged(**REFUSED)], True),
        ([charged(), charged(**REFUSED)], True),
    ],
)
def test_only_a_refusal_tells_its_time_beside_a_retry_after(
    charges: list[Charge], *, is_told: bool
) -> None:
    headers: RawHeaders = [(b"Retry-After", b"7")]
    told = with_fields(headers, charges, wall=0.0, status=200)
    assert told[0] == headers[0]
    added = {name.decode() for name, _ in told[1:]}
    left = {"ratelimit"} if is_told else set()
    assert added == USUAL | {"ratelimit-policy"} | left


@pytest.mark.case("RL-9")
async def test_trailers_are_left_as_they_are() -> None:
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send({"type": "http.response.body", "body": b"ok"})
        await send(trailers)

    for limited in (counted(app), wrap(counted(app))):
        served = await serve(limited)
        assert served.sent[-1] == trailers


SECRET = b"0123456789abcdef"


@pytest.mark.case("RL-6", "RL-15", "RL-20")
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_partition_is_known_by_a_keyed_hash(*, wrapped: bool) -> None:
    def both(request: Any) -> list[Quota]:
        return [Quota(client_key(request.scope), 2, 60), Quota("all", 9, 60)]

    said = []
    for secret in (SECRET, SECRET[::-1]):
        app: Any = counted(quotas=both, partition_keys=secret)
        app = wrap(app) if wrapped else app
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
            async with client(app, address) as http:
                headers = (await http.get("/")).headers
            policies, limits = (
                [it["pk"] for it in items(headers[name]).values()] for name in STANDARD
            )
            assert policies == limits
            assert {type(pk) for pk in policies} == {bytes}
            said.append(policies)
    (ann, everyone), again, (bob, _), (other, _), *_ = said
    assert again == [ann, everyone]
    assert len({ann, everyone, bob, other}) == 4


def test_without_a_secret_no_partition_is_told() -> None:
    assert "pk" not in str(fields([charged()], wall=0.0))


@pytest.mark.parametrize(
    ("secret", "error"),
    [
        (b"short", ValueError),
        (b"x" * 65, ValueError),
        ("hunter2", TypeError),
    ],
)
def test_a_secret_that_is_none_is_not_shown(secret: Any, error: Any) -> None:
    with pytest.raises(error, match="partition_keys must be") as caught:
        counted(partition_keys=secret)
    assert str(secret) not in str(caught.value)
