"""The budget against anything Hypothesis can think of."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilient_http._core.budget import Budget, Payment
from resilient_http.policy import RetryBudget

CONFIG = RetryBudget(capacity=50, cost=14, throttled_cost=5)


class AnyCalls(RuleBasedStateMachine):
    """Calls fail, pay, give up or succeed, in any order, beside a plain number."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(CONFIG)
        self.tokens = 50.0
        self.last: list[Payment] = []
        self.successes = 0
        self.paid = 0
        self.room = 10

    @rule(why=st.sampled_from(["failed", "throttled", "shed"]), again=st.booleans())
    def a_send_fails(self, *, why: str, again: bool) -> None:
        price = 5 if why == "throttled" else 14
        if why == "shed":
            self.room = max(0, self.room - 1)
        paid = self.budget.spend(throttled=why == "throttled", shed=why == "shed")
        is_hopeless = why == "shed" and self.room <= 5
        assert (paid is None) == (self.tokens < price or is_hopeless)
        if paid is None:
            return
        self.tokens -= price
        self.paid += 1
        if again and self.last:
            self.last.pop()  # what it paid before is gone
        self.last.append(paid)

    @rule(crowd=st.integers(1, 20))
    def calls_succeed_at_once(self, crowd: int) -> None:
        for _ in range(crowd):
            self.budget.succeed()
            self.tokens = min(50.0, self.tokens + 1)
            self.room = min(10, self.room + 1)
            self.successes += 1

    @precondition(lambda self: self.last)
    @rule()
    def a_call_succeeds_in_the_end(self) -> None:
        last = self.last.pop(0)
        self.budget.succeed(last)
        self.tokens = min(50.0, self.tokens + last.tokens)
        self.room = min(10, self.room + 1)
        self.successes += 1

    @precondition(lambda self: self.last)
    @rule()
    def a_call_gives_up_or_is_cancelled(self) -> None:
        self.last.pop(0)

    @invariant()
    def holds_what_the_number_says(self) -> None:
        assert self.budget.tokens == self.tokens
        assert 0 <= self.budget.tokens <= 50

    @invariant()
    def retries_are_paid_by_successes(self) -> None:
        assert 5 * self.paid <= 50 + 14 * self.successes

    def teardown(self) -> None:
        """Whatever happened, a healthy origin gets its retries back."""
        for _ in range(50):
            self.budget.succeed()
        assert self.budget.tokens == 50
        assert self.budget.spend(shed=True) is not None


TestAnyCalls = pytest.mark.property(AnyCalls.TestCase)
