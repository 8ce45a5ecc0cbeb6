"""One send of a request, from its first byte to what became of it."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Final, TypeVar

from resilient_http import errors, events
from resilient_http._core import announced, retry_after
from resilient_http._core.attempt import Attempt
from resilient_http._core.steps import Ended, Expired, Failure, Reply, outcome_of
from resilient_http._core.verdict import Answer, Outcome
from resilient_http.bodies import Upload
from resilient_http.call import Call
from resilient_http.events import Trail
from resilient_http.problems.contract import is_typed
from resilient_http.response import FIRST_ERROR, Response, adopt, carries_problem

TOO_MANY: Final = 429
TICK: Final = 1e-3
"""Seconds within which two readings of the clock are one moment."""


def nothing() -> None:
    """Nobody keeps a timer."""


_Seen = TypeVar("_Seen", bound=Ended)


class Sending:
    """One send of a hop, while it is out, and what came of it.

    Args:
        call: It is part of.
        request: What is sent.
        upload: Its body, where that is watched.
        number: Which send of the call it is, from 1.
        copy: 0, or 1 where it goes beside another.
        trail: Takes note of what happens; None if nobody wants to know.

    """

    # Defaults of the class, and not set for each: there is one of these for each send.
    rearm: Callable[[], None] = staticmethod(nothing)
    """Called when a limit has moved, by whoever keeps the timer."""
    busy: Any = None
    """What it reads or writes at this moment, if another thread may cut that."""
    is_dropped = False
    """Whether nobody wants to know any more what comes of it."""
    has_failed = False
    """Whether it ended without an answer."""
    seen: Reply | None = None
    """How it was answered."""
    response: Response | None = None
    error: Exception | None = None

    def __init__(  # noqa: PLR0913, PLR0917 - made once for each send, in order
        self,
        call: Call,
        request: Any,
        upload: Upload | None,
        number: int,
        copy: int,
        trail: Trail | None,
    ) -> None:
        self.call = call
        self.request = request
        self.copy = copy
        self._number = number
        self._trail = trail
        self._began = call.now()
        limits = call.limits.begin_send(self._began, beside=copy > 0)
        self._chosen, self._default = limits
        if upload is not None:
            upload.moved = self.moved
            request.stream = upload
        if trail is not None:
            trail.add(events.Sent, attempt=number, hedge=copy > 0)

    def left(self) -> float:
        """Return what is left before it is given up, in seconds."""
        call = self.call
        return call.limits.at(self._chosen, self._default) - call.now()

    def moved(self, count: int) -> None:
        """Note that bytes of a body went out or came in."""
        self.call.limits.moved(count, self.call.now())
        self.rearm()

    def head(self, response: Any) -> Response:
        """Take in the head of an answer.

        Raises:
            ReadTimeout: It came too late.

        """
        call = self.call
        if self.left() <= 0:
            raise self._timeout("given up")
        self._chosen = self._default = math.inf
        if call.streamed:
            call.limits.lift_default()
        self.rearm()
        return adopt(response, call.family, call.settings.contract)

    def check_time(self) -> None:
        """Raise `ReadTimeout` if it is to be given up."""
        if self.left() <= 0:
            raise self._timeout("given up")

    def wants_peek(self, response: Response) -> bool:
        """Whether a streamed answer is to be looked into before the caller gets it.

        Those that may be sent again are: once their connection is free for the wait,
        what was seen is all that is left of them.
        """
        retry = self.call.policy.retry
        may_go = retry is not None and response.status_code in retry.statuses
        return may_go or carries_problem(response)

    def replied(self, response: Response) -> Reply:
        """Take in an answer, with its body unless the caller reads that."""
        call = self.call
        now = call.now()
        seconds = now - self._began
        self.response = response
        status = response.status_code
        answer = _plain(status) if status < FIRST_ERROR else _answer(response)
        unread = call.streamed and not response.is_closed
        attempt = Attempt(seconds, status)
        self.seen = seen = Reply(now, answer, seconds, unread, self.copy)
        if not self.is_dropped:
            call.attempts += (attempt,)
            if self._trail is not None:
                self._note(attempt, outcome_of(seen))
        return seen

    def failed(self, error: Exception, *, stalled: bool = False) -> Failure | Expired:
        """Take in what was raised in place of an answer; see `gave_up`."""
        if self.is_time_up(error):
            return self.gave_up(stalled=stalled)
        return self._failed(error)

    def is_time_up(self, error: Exception) -> bool:
        """Whether `error` says that the send ran out of the time we gave it."""
        is_timeout = isinstance(error, self.call.family.http.TimeoutException)
        return is_timeout and self.left() <= TICK

    def drop(self) -> None:
        """Take in that nobody wants to know any more what comes of it."""
        if self.response is None and not self.has_failed and not self.is_dropped:
            attempt = Attempt(self.call.now() - self._began, None, "Dropped")
            self.call.attempts += (attempt,)
            self._note(attempt, Outcome.NEUTRAL)
        self.is_dropped = True
        self._chosen = -math.inf

    def gave_up(self, *, stalled: bool = False) -> Failure | Expired:
        """Take in that the limit of the send or of the call has passed.

        Args:
            stalled: Whether that was seen so late that nobody knows whose fault it is.

        """
        call = self.call
        if call.left() > TICK:
            # What it was given and not what it took, which is a tick less or more.
            seconds = call.limits.at(self._chosen, self._default) - self._began
            error = self._timeout(f"no response within {seconds:.3g} s")
            return self._failed(error, stalled=stalled)
        now = call.now()
        attempt = Attempt(now - self._began, None, "DeadlineExceededException")
        return self._ended(attempt, Expired(now, self.copy, stalled))

    def blame(self, error: BaseException) -> None:
        """Name the request in an error of the family that has none."""
        of_family = isinstance(error, self.call.family.http.RequestError)
        if of_family and vars(error).get("_request") is None:
            vars(error)["_request"] = self.request

    def _failed(self, error: Exception, *, stalled: bool = False) -> Failure:
        call = self.call
        now = call.now()
        self.error = error
        retry = call.policy.retry
        kinds = None if retry is None else retry.retryable_exceptions
        fault = errors.fault_of(error, kinds, call.family)
        if stalled:
            fault = replace(fault, callers_own=True)
        attempt = Attempt(now - self._began, None, type(error).__name__)
        return self._ended(attempt, Failure(now, fault, self.copy))

    def _ended(self, attempt: Attempt, seen: _Seen) -> _Seen:
        self.has_failed = True
        if not self.is_dropped:
            self.call.attempts += (attempt,)
            if self._trail is not None:
                self._note(attempt, outcome_of(seen))
        return seen

    def _note(self, attempt: Attempt, outcome: Outcome) -> None:
        if self._trail is not None:
            self._trail.add(
                events.Ended,
                attempt=self._number,
                seconds=attempt.seconds,
                status=attempt.status,
                error=attempt.error,
                outcome=outcome,
            )

    def _timeout(self, text: str) -> Exception:
        error: Exception = self.call.family.http.ReadTimeout(text, request=self.request)
        return error


@cache
def _plain(status: int) -> Answer:
    return Answer(status=status)


def _answer(response: Response) -> Answer:
    asked = retry_after.parse(
        response.headers.get_list("retry-after"),
        date=response.headers.get("date"),
        wall=time.time(),
    )
    if asked is None and response.status_code == TOO_MANY:
        # What else says when, if nothing is left until then.
        told = announced.parse(response.headers, status=TOO_MANY, wall=time.time())
        asked = told.reset if told is not None and told.remaining == 0 else None
    if not carries_problem(response):
        return Answer(status=response.status_code, retry_after=asked)
    problem = response.problem()
    known = is_typed(problem)
    return Answer(
        status=response.status_code,
        retry_after=asked if problem.retry_after is None else problem.retry_after,
        problem_retry=problem.retry if known else None,
        work_not_started=known and problem.work_not_started,
    )
