"""What ended sends mean, for the breaker, for the load, and for the wait."""

import pytest

from resilient_http._core.attempt import Attempt
from resilient_http._core.steps import (
    Done,
    Ended,
    Expired,
    Failure,
    Pending,
    Reply,
    Send,
    Woke,
    asked_of,
    ended,
    load_of,
    outcome_of,
)
from resilient_http._core.verdict import Answer, Fault, Load, Outcome

SERVED = Reply(1, Answer(status=200))
BUSY = Reply(1, Answer(status=503, retry_after=7))
CUT = Failure(1, Fault(retryable=True))
LATE = Expired(1)
STALLED = Expired(1, stalled=True)


@pytest.mark.parametrize(
    ("seen", "outcome", "load", "asked"),
    [
        (SERVED, Outcome.SUCCESS, Load.FINE, 0),
        (BUSY, Outcome.FAILURE, Load.HIGH, 7),
        (CUT, Outcome.FAILURE, Load.HIGH, 0),
        (LATE, Outcome.FAILURE, Load.HIGH, 0),
        (STALLED, Outcome.NEUTRAL, Load.UNKNOWN, 0),  # nobody knows what it did
    ],
)
def test_what_an_ended_send_means(
    seen: Ended, outcome: Outcome, load: Load, asked: float
) -> None:
    assert ended(seen) is seen
    assert outcome_of(seen) is outcome
    assert load_of(seen) is load
    assert asked_of(seen) == asked


@pytest.mark.parametrize("seen", [Pending(1), Woke(1)])
def test_what_ends_no_send_is_shown(seen: Pending | Woke) -> None:
    with pytest.raises(TypeError, match=r"^a send does not end so: "):
        ended(seen)


def test_what_is_not_said_is_the_first_copy_read_whole_and_in_time() -> None:
    assert (SERVED.copy, CUT.copy, LATE.copy, SERVED.seconds) == (0, 0, 0, 0)
    assert SERVED.unread is LATE.stalled is Done().is_final is False
    assert Send().hedge_after is None
    assert Done().passed is None
    assert Attempt(1.0) == (1.0, None, None)
