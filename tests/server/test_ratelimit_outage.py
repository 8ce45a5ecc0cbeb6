"""What is decided without Redis."""

import pytest

from server_kit.ratelimit.outage import Fallback
from server_kit.ratelimit.quota import Decision, Outage, Quota

WINDOW = 60.0
QUOTA = Quota("k", 10, WINDOW, 3)


class Local:
    """Fallbacks of several replicas, and a clock."""

    def __init__(self, replicas: int, limit: int = 10) -> None:
        self.now = 1_000.0
        self.quota = Quota("k", limit, WINDOW)
        self.fallbacks = [
            Fallback("local", "sliding_window", lambda: self.now, 100)
            for _ in range(replicas)
        ]
        for fallback in self.fallbacks:
            fallback.replicas = replicas

    def ask(self, cost: int = 1, who: int = 0) -> Decision:
        quota = Quota("k", self.quota.limit, WINDOW, cost)
        (decision,) = self.fallbacks[who].decide([quota])
        return decision

    def admitted(self, times: int = 100) -> int:
        """Return how many calls all of them admit."""
        everyone = range(len(self.fallbacks))
        return sum(self.ask(who=who).allowed for who in everyone for _ in range(times))


def fallback(policy: Outage) -> Fallback:
    return Fallback(policy, "sliding_window", lambda: 0.0, 100)


def test_open_lets_everyone_go_as_if_the_quota_were_fresh() -> None:
    for _ in range(20):
        (decision,) = fallback("open").decide([QUOTA])
        assert decision == Decision(
            allowed=True,
            limit=10,
            remaining=7,
            reset_after=0.0,
            retry_after=0.0,
            window=WINDOW,
            outage="open",
        )


def test_closed_lets_nobody_go_for_a_second() -> None:
    (decision,) = fallback("closed").decide([QUOTA])
    assert decision == Decision(
        allowed=False,
        limit=10,
        remaining=0,
        reset_after=1.0,
        retry_after=1.0,
        window=WINDOW,
        outage="closed",
    )


@pytest.mark.parametrize("policy", ["open", "closed", "local"])
def test_each_quota_is_decided_in_its_order(policy: Outage) -> None:
    quotas = [Quota("a", 5, WINDOW), Quota("b", 7, WINDOW)]
    decisions = fallback(policy).decide(quotas)
    assert [it.limit for it in decisions] == [5, 7]
    assert {it.outage for it in decisions} == {policy}


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_who_does_not_count_needs_to_know_of_no_replicas(policy: Outage) -> None:
    assert not fallback(policy).needs_replicas
    assert fallback("local").needs_replicas


@pytest.mark.case("S5")
@pytest.mark.parametrize(
    ("limit", "replicas", "admitted"),
    [(100, 1, 100), (100, 4, 100), (10, 3, 9), (1, 1, 1), (2, 4, 4)],
)
def test_all_replicas_together_admit_the_limit_or_one_call_each(
    limit: int, replicas: int, admitted: int
) -> None:
    assert Local(replicas, limit).admitted() == admitted


def test_a_share_is_told_as_the_quota_it_is_of() -> None:
    local = Local(replicas=2)
    assert (local.ask().limit, local.ask().remaining) == (10, 3)
    assert local.ask(cost=3).outage == "local"


def test_a_cost_above_the_share_takes_the_whole_of_it() -> None:
    local = Local(replicas=5)
    assert local.ask(cost=9).allowed
    refused = local.ask(cost=9)
    assert (refused.allowed, refused.retry_after) == (False, WINDOW)


def test_before_any_replica_was_seen_the_quota_is_whole() -> None:
    local = Local(replicas=1)
    local.fallbacks[0].replicas = 0
    assert local.admitted() == 10


def test_what_was_used_comes_back_in_an_outage_as_well() -> None:
    local = Local(replicas=1)
    local.admitted()
    local.now += WINDOW
    assert local.admitted() == 10


def test_if_one_quota_refuses_none_is_charged() -> None:
    it = fallback("local")
    full, free = Quota("full", 1, WINDOW), Quota("free", 10, WINDOW)
    it.decide([full])
    assert [one.allowed for one in it.decide([full, free])] == [False, True]
    (left,) = it.decide([Quota("free", 10, WINDOW, 0)])
    assert left.remaining == 10


def test_the_next_outage_begins_with_a_fresh_quota() -> None:
    local = Local(replicas=1)
    local.admitted()
    local.fallbacks[0].begin_anew()
    assert local.admitted() == 10
