"""Who may go on, who waits and who is refused, as a machine that is told the time.

::

            a place is free                        -> Permit
    admit   none, but one will be soon enough      -> Ticket -> Permit
            none                                   -> Refusal

Within a priority the first goes first, and nobody is let in to wait who would wait for
longer than the target. Newest-first, which is often advised for crowded queues (Maurer,
"Fail at Scale", ACM Queue 2015), serves some at once and lets all others wait in vain;
here those others are told at once, and may ask elsewhere.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from server_kit.shedding.adaptive import AdaptiveLimit


class Priority(IntEnum):
    """What is refused last has the least number (SRE book, "Handling Overload")."""

    CRITICAL = 0
    NORMAL = 1
    SHEDDABLE = 2


@dataclass(slots=True, eq=False)
class Permit:
    """Leave to be in flight. To be given to `release` when the response is over.

    A permit is itself and equal to no other, so that giving it back twice does nothing.
    """

    admitted_at: float
    era: int
    is_answered: bool = False


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the queue, to be waited with, and given to `leave` if in vain."""

    priority: Priority
    wake: Callable[[], object]
    """For the machine to call when it gives the permit."""

    permit: Permit | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """No leave, and no hope of one within the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSnapshot:
    """An admission at one moment, as plain data."""

    limit: int
    in_flight: int
    waiting: int


class Admission:
    """The requests in flight, and those that wait. Not safe from threads.

    Args:
        limit: How many may be in flight.
        target: Seconds that a request may wait.

    """

    def __init__(self, limit: AdaptiveLimit, target: float) -> None:
        self._limit = limit
        self._target = target
        self._out: set[Permit] = set()
        self._begun = 0
        """Of those out, how many have been answered and are not over yet."""
        self._waiting: dict[Priority, deque[Ticket]] = {
            one: deque() for one in Priority
        }
        self._in_line = 0
        """Of all priorities together: most of the time there is nobody."""
        self._is_late = [False] * len(Priority)
        """By priority, whether the last that waited have done so in vain."""

    def admit(
        self, now: float, priority: Priority, wake: Callable[[], object], left: float
    ) -> Permit | Ticket | Refusal:
        """Decide on a request.

        Args:
            now: Seconds on any monotonic clock, never less than in an earlier call.
            priority: Whom it goes before.
            wake: Called if it is given a ticket, and the ticket a permit.
            left: Seconds that it has for waiting and for being served.

        """
        self._limit.look(now)
        self._hand_over(now)  # the limit may have grown
        if len(self._out) < self._limit.value:  # then nobody waits
            self._was_in_time(Priority.SHEDDABLE)
            return self._take(now)
        if self._is_late[priority] or not self._has_room(priority, left):
            return Refusal()
        ticket = Ticket(priority, wake)
        self._waiting[priority].append(ticket)
        self._in_line += 1
        return ticket

    def answered(self, permit: Permit, now: float) -> None:
        """Take in that the response to a request begins; only the first time counts."""
        if permit.is_answered or permit not in self._out:
            return
        permit.is_answered = True
        seconds = now - permit.admitted_at
        unanswered = len(self._out) - self._begun
        self._limit.answered(seconds, permit.era, len(self._out), unanswered, now)
        self._begun += 1
        self._hand_over(now)  # the limit may have grown

    def release(self, permit: Permit, now: float) -> bool:
        """Take a permit back. Returns whether it was still out."""
        if permit not in self._out:
            return False
        self.answered(permit, now)
        self._out.remove(permit)
        self._begun -= 1
        self._hand_over(now)
        return True

    def leave(self, ticket: Ticket, now: float, *, in_vain: bool) -> None:
        """Give up waiting, and what was given in the meantime.

        Args:
            ticket: Whose place it was.
            now: When.
            in_vain: Whether the target has passed. If so, newcomers that would wait
                behind it need not try before somebody has been in time.

        """
        if ticket.permit is not None:
            self._out.discard(ticket.permit)
            self._hand_over(now)
        elif ticket in self._waiting[ticket.priority]:
            self._waiting[ticket.priority].remove(ticket)
            self._in_line -= 1
            if in_vain:
                for priority in range(ticket.priority, len(self._is_late)):
                    self._is_late[priority] = True

    def snapshot(self) -> AdmissionSnapshot:
        """Return the admission as it stands."""
        return AdmissionSnapshot(
            limit=self._limit.value,
            in_flight=len(self._out),
            waiting=self._in_line,
        )

    def _take(self, now: float) -> Permit:
        permit = Permit(now, self._limit.era)
        self._out.add(permit)
        return permit

    def _hand_over(self, now: float) -> None:
        while self._in_line and len(self._out) < self._limit.value:
            ticket = next(queue for queue in self._waiting.values() if queue).popleft()
            self._in_line -= 1
            self._was_in_time(ticket.priority)
            ticket.permit = self._take(now)
            ticket.wake()

    def _was_in_time(self, priority: Priority) -> None:
        if True in self._is_late:
            self._is_late[: priority + 1] = [False] * (priority + 1)

    def _has_room(self, priority: Priority, left: float) -> bool:
        """Tell whether a newcomer would be in time."""
        place = sum(len(self._waiting[one]) for one in Priority if one <= priority) + 1
        latency = self._limit.latency
        if latency == 0:  # not known yet: as many may wait as may be in flight
            return place <= self._limit.value
        wait = place * self._limit.pace
        return wait <= min(self._target, left - latency)
