"""One hop of a call: what it wants done next, and how it ended.

`_core/hop.py` decides, the drivers act; this stands between them. It speaks httpx to
the one and plain data to the other, and holds the state's lock for each step.
"""

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from resilient_http import errors, events
from resilient_http._core import announced
from resilient_http._core.breaker import Permit, Refusal
from resilient_http._core.concurrency import Limiter
from resilient_http._core.hop import Plan
from resilient_http._core.lane import Lane, Pass
from resilient_http._core.origin import Origin
from resilient_http._core.pacer import Pacer
from resilient_http._core.steps import (
    Command,
    Done,
    Ending,
    Failure,
    Flow,
    Hedge,
    Late,
    Reply,
    Seen,
    Send,
    Woke,
    load_of,
    outcome_of,
)
from resilient_http._core.verdict import Load, Outcome, Request, is_fine, is_shed
from resilient_http.bodies import upload_of
from resilient_http.call import Call
from resilient_http.events import Trail
from resilient_http.family import Family
from resilient_http.headers import announce
from resilient_http.policy import IDEMPOTENT, SAFE
from resilient_http.response import Response
from resilient_http.sending import Sending, nothing
from resilient_http.settings import key_of

_log: Final = logging.getLogger("resilient_http")
_SENDS: Final = (Send, Hedge)  # a union would be made anew each time
_SEND: Final = Send()
_DONE: Final = Done()
_HOLDING: Final = (429, 503)
_SHOULD_RETRY: Final = "x-should-retry"
"""What the SDKs made by Stainless (openai, anthropic, groq) ask before they retry."""
_RETRY_COUNT: Final = "x-stainless-retry-count"
"""Where they say how often they have."""


class Hop:
    """One request of a call under way: the command it waits on, or how it ended.

    As a context manager it gives back every permit, however it is left.
    """

    # Defaults of the class, and not set for each: there is one of these for each hop.
    command: Command | None = None
    _ending: Ending | None = None
    _flow: Flow | None = None
    """What decides; None until there is more to decide than whether to send."""
    _permit: Permit | None = None
    _passed: Pass | None = None
    _last_error: Exception | None = None
    _trail: Trail | None = None
    wake: Callable[[], object] = staticmethod(nothing)
    """Called when a slot that is waited for is there, by whoever hands it over."""

    def __init__(self, call: Call, request: Any, colour: type) -> None:
        self.call = call
        self.request = request
        self.out: list[Sending] = []
        """What is out, or was last: two where one was hedged."""
        self.key = key_of(request.url)
        """Scheme, host and port."""
        self.colour = colour
        """What a body is in this client: the family's async or sync stream."""
        self._state = call.settings.state
        self._upload = upload_of(request, colour, call.family)
        if call.settings.listeners:
            self._trail = Trail(self.key, request.method)

    def __enter__(self) -> Self:
        call, state = self.call, self._state
        with state.lock:
            self._origin = origin = state.origin(self.key, call.policy)
            origin.calls += 1
            self._began = call.now()
            if not self._may_go_at_once(origin):
                self._step(self._begin(), None)
        if self._trail is not None:
            self._tell(self._trail)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._ending is None:
            with self._state.lock:
                if self._flow is None:
                    self._origin.abandon(self._permit, self._began)
                else:
                    self._flow.close()
                if self._origin.limiter is not None:
                    self._hand_over(self._origin.limiter)
        elif exc_type is not None and isinstance(self._ending, Done):
            # Cut between its answer and the caller, who cannot close the body now.
            self._passed = self._ending.passed
            self._conclude(Outcome.NEUTRAL, Load.UNKNOWN)
        if self._upload is not None:
            self.request.stream = self._upload.stream

    @property
    def answer(self) -> Response:
        """The last answer, which nobody will read."""
        answer = self.out[0].response
        assert answer is not None  # noqa: S101 - it is asked for after an answer only
        return answer

    @property
    def is_unread(self) -> bool:
        """Whether the body is the caller's to read."""
        return self._passed is not None

    def sending(self, *, beside: bool = False) -> Sending:
        """Begin a send: the first, a repeat, or one `beside` what is out.

        Raises:
            RuntimeError: What sent the others was closed meanwhile.

        """
        call, request = self.call, self.request
        if call.sends and call.sender.is_closed:
            raise RuntimeError("Cannot send a request, as the client has been closed.")
        if beside:
            request = copy_of(request, call.family)
        else:
            self.out = []
        call.sends += 1
        ours = self.key in call.settings.ours
        if ours or call.announced:
            announce(call, request, ours=ours, attempt=call.sends)
        upload = self._upload if not beside else None
        sending = Sending(call, request, upload, call.sends, len(self.out), self._trail)
        self.out.append(sending)
        if self._trail is not None:
            self._tell(self._trail)
        return sending

    def keep(self, copy: int) -> list[Sending]:
        """Keep one of those that are out; return the others, which are dropped."""
        dropped = [sending for sending in self.out if sending.copy != copy]
        self.out = [sending for sending in self.out if sending.copy == copy]
        for sending in dropped:
            sending.drop()
        return dropped

    def advance(self, seen: Seen) -> None:
        """Take in what came of the command, and find the next."""
        if isinstance(seen, Reply):
            response = self.out[seen.copy].response
            if response is not None and response.announces:
                self._take_note(seen, response)
        elif isinstance(seen, Failure):
            self._last_error = self.out[seen.copy].error
        # The lock is held for a step of the flow and never across I/O, which is why
        # the machines in `_core` need none.
        with self._state.lock:
            if self._flow is not None:
                self._step(self._flow, seen)
            elif not self._went_well(seen):
                flow = self._begin()
                next(flow)  # to where it has sent, as we have
                self._step(flow, seen)
        if self._trail is not None:
            self._tell(self._trail)

    def woke(self) -> Woke:
        """Say that a wait is over, or what else there is nothing to say of."""
        return Woke(self.call.now())

    def body_ended(self) -> None:
        """Take in that an unread body came whole, or that nobody wants the rest."""
        seen = None if self._passed is None else self.out[0].seen
        if seen is not None:
            self._conclude(outcome_of(seen), load_of(seen))

    def body_failed(self, error: Exception) -> None:
        """Take in that an unread body broke off. It is not asked for again."""
        vars(error)["attempts"] = self.call.attempts
        self._conclude(Outcome.FAILURE, Load.HIGH)

    def fell_back(self, error: Exception) -> None:
        """Take in that the call is answered with its fallback."""
        if self._trail is not None:
            name = type(error).__name__
            self._trail.add(events.FellBack, error=name)
            self._tell(self._trail)

    def result(self) -> Response:
        """Return the answer that the hop ended with, or raise what it ended with."""
        ending = self._ending
        out, self.out = self.out, []  # or an error would hold on to itself
        cause, self._last_error = self._last_error, None
        if not isinstance(ending, Done):
            raise self._refusal(ending) from cause
        chosen = out[0]
        response, error = chosen.response, chosen.error
        chosen.response = chosen.error = None
        if error is not None:
            vars(error)["attempts"] = self.call.attempts
            try:
                raise error
            finally:
                del error, cause, out, chosen
        assert response is not None  # noqa: S101 - a send has one or the other
        response.attempts = self.call.attempts
        if ending.is_final:
            response.headers[_SHOULD_RETRY] = "false"
        if chosen.request is not self.request:  # but its copy
            response.request = self.request
        self._passed = ending.passed
        if self._passed is not None:
            self.out = [chosen]
        return response

    def facts(self) -> Request:
        """Say what about the request decides whether it may be sent again."""
        request, upload = self.request, self._upload
        said = self.call.is_said_idempotent
        idempotent = said or request.method.upper() in IDEMPOTENT
        return Request(
            idempotent=idempotent,
            has_key=not idempotent and "idempotency-key" in request.headers,
            replayable=upload is None or upload.is_replayable,
            hedgeable=upload is None and request.method.upper() in SAFE,
            repeated=request.headers.get(_RETRY_COUNT, "0") != "0",
        )

    def _wake(self) -> None:
        self.wake()

    def _may_go_at_once(self, origin: Origin) -> bool:
        """Have leave for a send with nothing in its way: most hops are no more.

        The plan is made if that does not go well, and then takes over.
        """
        call = self.call
        if self._trail is not None or origin.pacers or not origin.is_plain:
            return False
        if self._began >= call.limits.call_at:
            return False
        granted = origin.admit(call.policy, self._began)
        if isinstance(granted, Refusal):
            return False
        self._permit, self.command = granted, _SEND
        origin.sends += 1
        return True

    def _went_well(self, seen: Seen) -> bool:
        """Take in the answer to such a send, if nothing is left to decide."""
        call = self.call
        if not isinstance(seen, Reply) or seen.unread:
            return False  # or more may yet go wrong
        if not is_fine(seen.answer, call.retry):
            return False
        self._origin.succeed(call.policy, self._permit, seen.now)
        self.command, self._ending = None, _DONE
        return True

    def _begin(self) -> Flow:
        call, state, origin = self.call, self._state, self._origin
        pacer = None
        if origin.pacers and self.command is None:
            pacer = origin.pacers.get(state.partition(self.request.headers))
        self._lane = Lane(
            origin,
            call.policy,
            pacer,
            is_new_call=not call.attempts,
            granted=self._permit,
        )
        plan = Plan(
            facts=self.facts,
            retry=call.retry,
            nested=call.is_nested,
            lane=self._lane,
            limits=call.limits,
            rng=state.rng,
            wake=self._wake,
            trail=self._trail,
        )
        self._flow = plan.run(self._began)
        return self._flow

    def _step(self, flow: Flow, seen: Seen | None) -> None:
        origin = self._origin
        breaker = None if self._trail is None else origin.breaker
        era = 0 if breaker is None else breaker.era
        try:
            self.command = next(flow) if seen is None else flow.send(seen)
        except StopIteration as end:
            self.command, self._ending = None, end.value
        else:
            if isinstance(self.command, _SENDS):
                origin.sends += 1
        if origin.limiter is not None:
            self._hand_over(origin.limiter)
        if self._trail is not None and breaker is not None and breaker.era != era:
            self._trail.add(
                events.BreakerMoved, state=breaker.state, cause=breaker.cause
            )

    def _hand_over(self, limiter: Limiter) -> None:
        while (ticket := limiter.hand_over(self.call.now())) is not None:
            ticket.wake()

    def _conclude(self, outcome: Outcome, load: Load) -> None:
        passed, self._passed = self._passed, None
        if passed is None:
            return
        now = self.call.now()
        with self._state.lock:
            if passed.permit is not None:
                self._lane.settle(passed, outcome, now)
                self._lane.conclude(outcome, now)
            self._lane.release(passed, load, now)
            if self._origin.limiter is not None:
                self._hand_over(self._origin.limiter)

    def _take_note(self, seen: Reply, response: Response) -> None:
        """Let what the server asks for hold for all that have our credential."""
        asked, status = seen.answer.retry_after, seen.answer.status
        if is_shed(seen.answer):
            # One of many was one too many: others were served meanwhile. To hold all
            # back would have them come at once when the time is over, and be refused.
            return
        if asked is not None and status in _HOLDING:
            with self._state.lock:
                self._own_pacer().hold(asked, seen.now)
            return
        headers = response.headers
        told = announced.parse(headers, status=status, wall=time.time())
        if told is not None:
            with self._state.lock:
                self._own_pacer().announce(
                    told.remaining, told.reset, seen.now, told.quota
                )

    def _own_pacer(self) -> Pacer:
        return self._origin.pacer(self._state.partition(self.request.headers))

    def _refusal(self, ending: Ending | None) -> Exception:
        key, request, family = self.key, self.request, self.call.family
        if isinstance(ending, Late) or ending is None or isinstance(ending, Done):
            self._origin.expired += 1
            return self.call.too_late(request)
        self._origin.refused += 1
        return errors.refused(ending, key, request, family)

    def _tell(self, trail: Trail) -> None:
        for event in trail.take():
            for listener in self.call.settings.listeners:
                try:
                    listener(event)
                except Exception:  # noqa: BLE001 - it may not change the call
                    _log.exception("a listener failed on %r", event)


def copy_of(request: Any, family: Family, *, url: Any = None) -> Any:
    """Return a request of its own, which shares the body.

    httpx and whoever traces it write to the one they are given.
    """
    headers = request.headers.copy()
    if url is not None:
        headers["Host"] = url.netloc.decode("ascii")
    copied = family.http.Request(
        request.method,
        request.url if url is None else url,
        headers=headers,
        stream=request.stream,
        extensions=dict(request.extensions),
    )
    content = vars(request).get("_content")
    if content is not None:  # or it could not be asked for: httpx reads only streams
        vars(copied)["_content"] = content
    return copied
