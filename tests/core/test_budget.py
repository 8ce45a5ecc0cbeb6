"""What a retry costs, and what pays for it."""

from random import Random

import pytest

from resilient_http._core.budget import Budget, Payment
from resilient_http.policy import RetryBudget


def test_is_full_at_first() -> None:
    assert Budget(RetryBudget()).tokens == 500


def test_a_retry_pays_when_it_is_scheduled() -> None:
    budget = Budget(RetryBudget())
    assert budget.spend() == Payment(14)
    assert budget.tokens == 486


def test_a_retry_of_a_throttled_answer_pays_less() -> None:
    budget = Budget(RetryBudget())
    assert budget.spend(throttled=True) == Payment(5)
    assert budget.tokens == 495


def test_an_outage_is_sent_35_retries_and_no_more() -> None:
    budget = Budget(RetryBudget())
    assert sum(budget.spend() is not None for _ in range(1_000)) == 35
    assert budget.tokens == 10


def test_who_cannot_pay_in_full_pays_nothing() -> None:
    budget = Budget(RetryBudget(capacity=13))
    assert budget.spend() is None
    assert budget.tokens == 13
    assert budget.spend(throttled=True) is not None


def test_the_last_token_can_be_spent() -> None:
    budget = Budget(RetryBudget(capacity=14))
    assert budget.spend() is not None
    assert budget.tokens == 0


def test_a_call_that_succeeds_on_a_retry_gets_its_last_payment_back() -> None:
    budget = Budget(RetryBudget())
    budget.spend(throttled=True)
    last = budget.spend()
    budget.succeed(last)
    assert budget.tokens == 500 - 5


def test_a_call_that_succeeds_at_once_earns_one() -> None:
    budget = Budget(RetryBudget())
    budget.spend()
    budget.succeed()
    assert budget.tokens == 487


def test_never_holds_more_than_its_capacity() -> None:
    budget = Budget(RetryBudget())
    budget.succeed()
    assert budget.tokens == 500
    paid = budget.spend()
    for _ in range(10):
        budget.succeed()
    budget.succeed(paid)
    assert budget.tokens == 500


def test_a_free_retry_earns_nothing_when_it_succeeds() -> None:
    budget = Budget(RetryBudget(cost=0))
    budget.spend(throttled=True)
    budget.succeed(budget.spend())
    assert budget.tokens == 495


def test_without_capacity_nothing_is_retried() -> None:
    budget = Budget(RetryBudget(capacity=0))
    budget.succeed()
    assert budget.spend() is None


def shed(budget: Budget) -> bool:
    """Let a send be refused for want of room; return whether it is repeated."""
    return budget.spend(shed=True) is not None


def test_a_few_that_are_refused_are_sent_again_and_no_more() -> None:
    budget = Budget(RetryBudget())
    assert [shed(budget) for _ in range(8)] == [True] * 4 + [False] * 4


def test_what_is_refused_in_vain_pays_nothing() -> None:
    budget = Budget(RetryBudget())
    for _ in range(8):
        shed(budget)
    assert budget.tokens == 500 - 4 * 14


def test_a_failure_is_sent_again_however_many_are_refused() -> None:
    budget = Budget(RetryBudget())
    for _ in range(100):
        budget.spend(shed=True)
    assert budget.spend() is not None
    assert budget.spend(throttled=True) is not None


def test_refusals_are_sent_again_when_as_many_calls_have_succeeded() -> None:
    budget = Budget(RetryBudget())
    for _ in range(100):
        budget.spend(shed=True)
    for _ in range(6):
        budget.succeed()
    assert not shed(budget)
    budget.succeed()
    budget.succeed()
    assert shed(budget)


def test_successes_do_not_add_up_to_more_refusals_than_at_first() -> None:
    budget = Budget(RetryBudget())
    for _ in range(100):
        budget.succeed()
    assert [shed(budget) for _ in range(8)] == [True] * 4 + [False] * 4


@pytest.mark.parametrize(("refused", "most"), [(0.25, 1.0), (0.8, 0.05)])
def test_where_most_are_refused_few_are_sent_again(refused: float, most: float) -> None:
    budget, rng = Budget(RetryBudget(cost=0)), Random(1)
    refusals = again = 0
    for _ in range(1_000):
        if rng.random() >= refused:
            budget.succeed()
            continue
        refusals += 1
        again += shed(budget)
    assert most - 0.05 < again / refusals <= most


@pytest.mark.parametrize("failing", [0.05, 0.2])
def test_failures_here_and_there_pay_for_themselves(failing: float) -> None:
    budget, rng, refused = Budget(RetryBudget()), Random(1), 0
    for _ in range(10_000):
        last, sends = None, 1
        while (failed := rng.random() < failing) and sends < 3:
            paid = budget.spend()
            if paid is None:
                refused += 1
                break
            last, sends = paid, sends + 1
        if not failed:
            budget.succeed(last)
    assert refused == 0
