"""Who goes on, who waits and who is refused. Time is a number."""

import math

from server_kit.shedding.adaptive import SAMPLES, AdaptiveLimit
from server_kit.shedding.admission import Admission, Permit, Priority, Refusal, Ticket

CRITICAL, NORMAL, SHEDDABLE = Priority
TARGET = 0.25


class Door:
    """An admission with a limit that does not adapt, and who was woken, in order."""

    def __init__(self, limit: int = 2) -> None:
        fixed = AdaptiveLimit(limit, limit, limit, slack=1)
        self.admission = Admission(fixed, TARGET)
        self.now = 0.0
        self.woken: list[str] = []
        self.limit = fixed

    def ask(
        self, name: str = "", priority: Priority = NORMAL, left: float = math.inf
    ) -> Permit | Ticket | Refusal:
        wake = lambda: self.woken.append(name)  # noqa: E731 - a name says less
        return self.admission.admit(self.now, priority, wake, left)

    def permit(self) -> Permit:
        answer = self.ask()
        assert isinstance(answer, Permit)
        return answer

    def ticket(self, name: str = "", priority: Priority = NORMAL) -> Ticket:
        answer = self.ask(name, priority)
        assert isinstance(answer, Ticket)
        return answer

    def release(self, permit: Permit | None) -> bool:
        assert permit is not None
        return self.admission.release(permit, self.now)

    @property
    def counts(self) -> tuple[int, int]:
        seen = self.admission.snapshot()
        return seen.in_flight, seen.waiting


def test_up_to_the_limit_go_on_and_the_next_waits() -> None:
    door = Door()
    first = door.permit()
    door.permit()
    ticket = door.ticket("third")
    assert (door.counts, ticket.permit) == ((2, 1), None)
    assert door.release(first)
    assert (door.counts, door.woken) == ((2, 0), ["third"])
    assert door.release(ticket.permit)
    assert door.counts == (1, 0)


def test_a_permit_is_given_back_once() -> None:
    door = Door()
    first = door.permit()
    door.permit()
    assert [door.release(first), door.release(first)] == [True, False]
    assert door.counts == (1, 0)


def test_within_a_priority_the_first_goes_first() -> None:
    door = Door(limit=3)
    permits = [door.permit() for _ in range(3)]
    for name in "abc":
        door.ticket(name)
    for permit in permits:
        door.release(permit)
    assert door.woken == ["a", "b", "c"]


def test_the_critical_go_before_all_others_and_the_sheddable_after() -> None:
    door = Door(limit=3)
    permits = [door.permit() for _ in range(3)]
    for priority in (SHEDDABLE, NORMAL, CRITICAL):
        door.ticket(priority.name, priority)
    for permit in permits:
        door.release(permit)
    assert door.woken == ["CRITICAL", "NORMAL", "SHEDDABLE"]


def known(door: Door, latency: float) -> None:
    """Let the door know how long requests take."""
    for _ in range(100):
        door.limit.answered(latency, 0, 1, 1, door.now)
        door.now += 0.01


def test_who_would_wait_longer_than_the_target_is_refused_at_once() -> None:
    door = Door()
    known(door, 0.2)  # a place is free every 0.1
    for _ in range(2):
        door.permit()
    door.ticket()
    door.ticket()
    assert isinstance(door.ask(), Refusal)


def test_a_newcomer_that_is_critical_waits_for_the_critical_alone() -> None:
    door = Door()
    known(door, 0.2)
    for _ in range(2):
        door.permit()
    door.ticket(priority=SHEDDABLE)
    door.ticket(priority=NORMAL)
    assert isinstance(door.ask(priority=SHEDDABLE), Refusal)
    door.ticket(priority=CRITICAL)
    door.ticket(priority=CRITICAL)
    assert isinstance(door.ask(priority=CRITICAL), Refusal)


def test_who_would_have_no_time_left_to_be_served_is_refused() -> None:
    door = Door()
    known(door, 0.2)
    for _ in range(2):
        door.permit()
    assert isinstance(door.ask(left=0.29), Refusal)  # 0.1 to wait, 0.2 to be served
    assert isinstance(door.ask(left=0.31), Ticket)


def test_before_anything_is_known_as_many_may_wait_as_may_be_in_flight() -> None:
    door = Door()
    for _ in range(2):
        door.permit()
    for _ in range(2):
        door.ticket()
    assert isinstance(door.ask(), Refusal)


def test_after_one_has_waited_in_vain_none_may_wait_until_one_is_in_time() -> None:
    door = Door()
    first = door.permit()
    second = door.permit()
    door.admission.leave(door.ticket(), TARGET, in_vain=True)
    assert isinstance(door.ask(), Refusal)
    assert isinstance(door.ask(priority=SHEDDABLE), Refusal)
    door.ticket("critical", CRITICAL)
    door.release(first)
    assert isinstance(door.ask(), Refusal)  # it was not their like that was in time
    door.release(second)
    door.permit()
    assert isinstance(door.ask(), Ticket)


def test_who_goes_away_on_its_own_shuts_no_door() -> None:
    door = Door()
    for _ in range(2):
        door.permit()
    door.admission.leave(door.ticket(), 0, in_vain=False)
    assert door.counts == (2, 0)
    door.ticket()


def test_who_goes_away_with_a_permit_just_given_hands_it_on() -> None:
    door = Door(limit=1)
    first = door.permit()
    gone, next_one = door.ticket("gone"), door.ask("next", left=9)
    # Nothing is known yet of how long requests take, so one may wait where one may be.
    assert isinstance(next_one, Refusal)
    door.release(first)
    assert door.woken == ["gone"]
    waiting = door.ticket("waiting")
    door.admission.leave(gone, 0, in_vain=False)
    assert waiting.permit is not None
    assert door.counts == (1, 0)


def test_latency_is_learnt_from_when_a_response_begins_and_once() -> None:
    limit = AdaptiveLimit(1, 1, 1, slack=1)
    admission = Admission(limit, TARGET)
    for number in range(30):
        permit = admission.admit(number, NORMAL, list, math.inf)
        assert isinstance(permit, Permit)
        admission.answered(permit, number + 0.25)
        admission.answered(permit, number + 0.75)
        admission.release(permit, number + 0.9)
    assert limit.latency == 0.25


def test_who_never_answers_is_learnt_from_at_the_end() -> None:
    limit = AdaptiveLimit(1, 1, 1, slack=1)
    admission = Admission(limit, TARGET)
    for number in range(30):
        permit = admission.admit(number, NORMAL, list, math.inf)
        assert isinstance(permit, Permit)
        admission.release(permit, number + 0.5)
    assert limit.latency == 0.5


def test_one_that_is_in_time_opens_the_door_to_its_like() -> None:
    door = Door()
    first = door.permit()
    door.permit()
    in_vain, in_time = door.ticket(), door.ticket()
    door.admission.leave(in_vain, TARGET, in_vain=True)
    assert isinstance(door.ask(), Refusal)
    door.release(first)
    assert in_time.permit is not None
    assert isinstance(door.ask(), Ticket)


def test_a_limit_that_grows_lets_those_in_who_wait() -> None:
    admission = Admission(AdaptiveLimit(1, 1, 10, slack=1), TARGET)
    woken: list[int] = []
    for number in range(SAMPLES):
        permit = admission.admit(number, NORMAL, list, math.inf)
        assert isinstance(permit, Permit)
        if number < SAMPLES - 1:
            admission.release(permit, number + 0.01)
    answer = admission.admit(SAMPLES, NORMAL, lambda: woken.append(1), math.inf)
    assert isinstance(answer, Ticket)
    assert isinstance(permit, Permit)
    admission.answered(permit, SAMPLES + 0.01)
    assert admission.snapshot().limit == 2
    assert woken == [1]


def test_who_waits_goes_before_who_comes_when_the_limit_grows_by_itself() -> None:
    class Grows(AdaptiveLimit):
        def look(self, now: float) -> None:
            self._value = 2.0 if now >= 1 else 1.0

    admission = Admission(Grows(1, 1, 2, slack=0.1), target=9.0)
    assert isinstance(admission.admit(0.0, Priority.NORMAL, list, math.inf), Permit)
    first = admission.admit(0.0, Priority.NORMAL, list, math.inf)
    later = admission.admit(1.0, Priority.CRITICAL, list, math.inf)
    assert isinstance(first, Ticket)
    assert first.permit is not None
    assert not isinstance(later, Permit)
