"""A call under way: what was asked for, what has happened, and who is told.

Nothing here sends, sleeps or awaits: `transport.py` does, and tells.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from resilient_http import errors
from resilient_http._core import retry_after
from resilient_http._core.attempt import Attempt
from resilient_http._core.breaker import Refusal
from resilient_http._core.gates import Gate, Line, Purse, TooSoon
from resilient_http._core.hop import (
    Command,
    Done,
    Ended,
    Ending,
    Expired,
    Failure,
    Reply,
    Woke,
    hop,
)
from resilient_http._core.limits import Limits
from resilient_http._core.verdict import Answer, Outcome, Request, judge
from resilient_http.bodies import Upload, upload_of
from resilient_http.context import request_id, time_left
from resilient_http.policy import IDEMPOTENT
from resilient_http.problems.contract import is_typed
from resilient_http.response import FIRST_ERROR, Response, adopt, carries_problem
from resilient_http.settings import (
    Settings,
    deadline_of,
    is_said_idempotent,
    key_of,
    longest_phase_of,
    policy_of,
)
from resilient_http.state import Origin

TICK: Final = 1e-3
"""Seconds within which two readings of the clock are one moment."""

_OUR_KEY: Final = "resilient_http.idempotency_key"

_current: ContextVar["Call | None"] = ContextVar("current", default=None)


class Call:
    """What the caller asked for: one request, and the redirects it leads to.

    Args:
        settings: Of the client.
        request: The first request. Its extensions may hold a `policy` or a `deadline`
            of its own, or say that it is `idempotent`.
        streamed: Whether the caller reads the body, so that the defaults for time no
            longer apply to it.

    """

    def __init__(self, settings: Settings, request: Any, *, streamed: bool) -> None:
        policy, own = policy_of(request), deadline_of(request)
        self.settings = settings
        self.family = settings.family
        self.policy = settings.policy if policy is None else policy
        self.streamed = streamed
        self.attempts: tuple[Attempt, ...] = ()
        self.announced = False
        if self.policy.idempotency_keys and request.method in ("POST", "PATCH"):
            _give_key(request)
        self.began = settings.state.clock.now()
        self.limits = Limits(
            self.began,
            deadline=self.policy.deadline if own is None else own,
            attempt=self.policy.attempt_timeout,
            longest_phase=longest_phase_of(request),
            outer=time_left(),
        )

    def chosen(self) -> float:
        """Return what is left of the deadline that somebody chose, in seconds."""
        return self.limits.chosen - self.now()

    def now(self) -> float:
        """Return the time on the clock of the state."""
        return self.settings.state.clock.now()

    def left(self) -> float:
        """Return what is left before whatever is under way is given up, in seconds."""
        return self.limits.at - self.now()

    def is_over(self) -> bool:
        """Whether the time for the whole call is."""
        return self.now() >= self.limits.call_at - TICK

    def too_late(self, request: Any) -> Exception:
        """Return what ends a call whose time is over."""
        waited = self.now() - self.began
        return errors.deadline_exceeded(waited, request, self.attempts, self.family)

    @contextmanager
    def carried(self) -> Iterator[None]:
        """Let the hops that httpx makes inside find the call they belong to."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def current() -> Call:
    """Return the call whose hop is being made."""
    call = _current.get()
    if call is None:
        raise RuntimeError("a hop is part of a call; use the client's own methods")
    return call


class Hop:
    """One request of a call under way: the command it waits on, or how it ended.

    As a context manager it gives back every permit, however it is left.
    """

    def __init__(self, call: Call, request: Any, colour: type) -> None:
        self.call = call
        self.rearm: Callable[[], None] = _nothing
        """Called when a limit has moved, by whoever keeps the timer."""
        self.is_unread = False
        retry = call.policy.retry
        self._retryable = None if retry is None else retry.retryable_exceptions
        self.expected: tuple[type[Exception], ...] = (
            call.family.http.TransportError,
            *(self._retryable or ()),
        )
        """What a transport may raise in place of an answer."""
        self.request = request
        self.command: Command | None = None
        self.last: Response | Exception | None = None
        self._last_error: Exception | None = None
        self._ending: Ending | None = None
        self._state = call.settings.state
        self._key = key_of(request.url)
        self._upload = upload_of(request, colour, call.family)
        self._sent_at = 0.0
        self._announce()

    def __enter__(self) -> Self:
        policy, state = self.call.policy, self._state
        origin = state.origin(self._key, policy)
        self._counts = origin.counts
        self._gate = Gate(None if policy.breaker is None else origin.breaker)
        self._flow = hop(
            request=_repeatable(self.request, self._upload),
            retry=policy.retry,
            line=self._line(origin),
            gate=self._gate,
            purse=Purse(None if policy.budget is None else origin.budget),
            limits=self.call.limits,
            rng=state.rng,
            now=state.clock.now(),
        )
        self._counts.calls += 1
        self._advance(None)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._state.lock:
            self._flow.close()
        if self._upload is not None:
            self.request.stream = self._upload.stream

    def sending(self) -> None:
        """Get the request ready to be sent, once more or for the first time."""
        self._counts.sends += 1
        self._sent_at = self.call.now()
        if self._upload is not None:
            self._upload.rewind()
            self._upload.moved = self.moved
            self.request.stream = self._upload

    def moved(self, count: int) -> None:
        """Note that bytes of a body went out or came in."""
        self.call.limits.moved(count, self.call.now())
        self.rearm()

    def head(self, response: Any) -> Response:
        """Take in the head of an answer.

        Raises:
            ReadTimeout: It came too late.

        """
        self.check_time()
        self.call.limits.end_head()
        if self.call.streamed:
            self.call.limits.lift_default()
        self.rearm()
        return self._adopt(response)

    def check_time(self) -> None:
        """Raise `ReadTimeout` if what is under way is to be given up."""
        if self.call.left() <= 0:
            raise self._timeout("given up")

    def wants_peek(self, response: Response) -> bool:
        """Whether a streamed answer is to be looked into before the caller gets it.

        Those that may be sent again are: once their connection is free for the wait,
        what was seen is all that is left of them.
        """
        retry = self.call.policy.retry
        may_go = retry is not None and response.status_code in retry.statuses
        return may_go or carries_problem(response)

    def replied(self, response: Response) -> None:
        """Take in an answer, with its body unless the caller reads that."""
        self._note(Attempt(self._took(), status=response.status_code))
        self._adopt(response)
        self.last = response
        answer = _answer(response)
        self._judged = judge(answer)
        self.is_unread = self.call.streamed and not response.is_closed
        self._advance(Reply(self.call.now(), answer, unread=self.is_unread))

    def failed(self, error: Exception) -> None:
        """Take in what was raised in place of an answer."""
        self._note(Attempt(self._took(), error=type(error).__name__))
        self.last = self._last_error = error
        vars(error)["attempts"] = self.call.attempts
        fault = errors.fault_of(error, self._retryable, self.call.family)
        self._advance(Failure(self.call.now(), fault))

    def gave_up(self) -> None:
        """Take in that the limit of the send or of the call has passed."""
        if not self.call.is_over():
            # What it was given and not what it took, which is a tick less or more.
            seconds = self.call.limits.at - self._sent_at
            self.failed(self._timeout(f"no response within {seconds:.3g} s"))
            return
        self._note(Attempt(self._took(), error="DeadlineExceededException"))
        self._advance(Expired(self.call.now()))

    def woke(self) -> None:
        """Take in that a wait is over."""
        self._advance(Woke(self.call.now()))

    def body_ended(self) -> None:
        """Take in that an unread body came whole, or that nobody wants the rest."""
        self._conclude(self._judged)

    def body_failed(self, error: Exception) -> None:
        """Take in that an unread body broke off. It is not asked for again."""
        vars(error)["attempts"] = self.call.attempts
        self._conclude(Outcome.FAILURE)

    def result(self) -> Response:
        """Return the answer that the hop ended with, or raise what it ended with."""
        last, self.last = self.last, None  # or an error would hold on to itself
        cause, self._last_error = self._last_error, None
        if isinstance(self._ending, Done):
            if isinstance(last, Exception):
                try:
                    raise last
                finally:
                    del last, cause
            if last is not None:
                return last
        raise self._refusal() from cause

    def _line(self, origin: Origin) -> Line:
        config = self.call.policy.rate_limit
        if config is None or self.call.attempts:  # a redirect is no new call
            return Line(None, may_wait=True)
        return Line(origin.bucket, may_wait=config.mode == "wait")

    def _timeout(self, text: str) -> Exception:
        error: Exception = self.call.family.http.ReadTimeout(text, request=self.request)
        return error

    def _refusal(self) -> Exception:
        if isinstance(self._ending, TooSoon):
            self._counts.refused += 1
            return errors.rate_limited(
                self._key, self._ending.retry_after, self.request, self.call.family
            )
        if isinstance(self._ending, Refusal):
            self._counts.refused += 1
            wait = self._ending.retry_after
            return errors.breaker_open(self._key, wait, self.request, self.call.family)
        self._counts.expired += 1
        return self.call.too_late(self.request)

    def _conclude(self, outcome: Outcome) -> None:
        now = self.call.now()
        with self._state.lock:
            self._gate.settle(outcome, now)
            self._gate.conclude(outcome, now)

    def _advance(self, seen: Ended | Woke | None) -> None:
        # The lock is held for a step of the flow and never across I/O, which is why
        # the machines in `_core` need none.
        with self._state.lock:
            try:
                self.command = (
                    next(self._flow) if seen is None else self._flow.send(seen)
                )
            except StopIteration as end:
                self.command, self._ending = None, end.value

    def _took(self) -> float:
        return self.call.now() - self._sent_at

    def _adopt(self, response: Any) -> Response:
        call = self.call
        return adopt(response, call.family, call.settings.contract, call.attempts)

    def _note(self, attempt: Attempt) -> None:
        self.call.attempts += (attempt,)

    def _announce(self) -> None:
        headers = self.request.headers
        if self._key not in self.call.settings.ours:
            if self.call.announced:  # httpx carries headers over a redirect
                del headers["X-Request-ID"]
                self.call.announced = False
            return
        known = request_id.get()
        if known is not None and "X-Request-ID" not in headers:
            headers["X-Request-ID"] = known
            self.call.announced = True


def _give_key(request: Any) -> None:
    """Give a request a key of its own, unless its sender has.

    One that was sent before still has ours: a new call is not a repeat of the old.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None or key == request.extensions.get(_OUR_KEY):
        # A structured-field string: draft-ietf-httpapi-idempotency-key-header.
        key = request.extensions[_OUR_KEY] = f'"{uuid4()}"'
        request.headers["Idempotency-Key"] = key


def _answer(response: Response) -> Answer:
    if response.status_code < FIRST_ERROR:
        return Answer(status=response.status_code)
    asked = retry_after.parse(
        response.headers.get_list("retry-after"),
        date=response.headers.get("date"),
        wall=time.time(),
    )
    if not carries_problem(response):
        return Answer(status=response.status_code, retry_after=asked)
    problem = response.problem()
    known = is_typed(problem)
    return Answer(
        status=response.status_code,
        retry_after=problem.retry_after,
        problem_retry=problem.retry if known else None,
        work_not_started=known and problem.work_not_started,
    )


def _repeatable(request: Any, upload: Upload | None) -> Request:
    idempotent = is_said_idempotent(request) or request.method.upper() in IDEMPOTENT
    return Request(
        idempotent=idempotent,
        has_key=not idempotent and "idempotency-key" in request.headers,
        replayable=upload is None or upload.is_replayable,
    )


def _nothing() -> None:
    """Nobody keeps a timer."""
