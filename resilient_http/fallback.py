"""What is answered with where a call would end badly, as `Policy.fallback` says.

A call ends badly if it raises one of its family's transport errors, our own among them,
or if its last answer is a 429 or a failure (500, 502, 503, 504). The caller's own
mistakes are raised as they are. A fallback is one of:

- a response, made beforehand, with its body;
- a function of the request and the error, which returns a response, or None to let the
  call end as it does. In an async client it may be async. The error is what the call
  would raise, or what the last answer's `raise_for_status()` would;
- the base URL of another origin. The request goes there instead, past a breaker and a
  budget of that origin, if it may be sent twice or was not sent yet, and has the time.
"""

from typing import Any, Final

from resilient_http._core.verdict import Outcome, judge_status
from resilient_http.call import Call
from resilient_http.hop import Hop, copy_of
from resilient_http.response import Response, adopt

_THROTTLED: Final = 429
_OF_THE_MESSAGE: Final = ("content-length", "content-encoding", "transfer-encoding")


def errors_of(call: Call) -> tuple[type[Exception], ...]:
    """Return what a call that ends badly raises."""
    return (call.family.http.TransportError,)


def what_is_bad(
    call: Call, response: Response | None, raised: Exception | None
) -> Exception | None:
    """Return the error of a call that ends badly; None if it does not.

    A mistake of the caller's is raised as it is: no other origin and no other time
    would make a difference.
    """
    if response is None:
        http = call.family.http
        mistakes = (http.LocalProtocolError, http.UnsupportedProtocol)
        return None if isinstance(raised, mistakes) else raised
    status = response.status_code
    failed = judge_status(status) is Outcome.FAILURE or status == _THROTTLED
    return response.error() if failed else None


def moved(hop: Hop) -> Any:
    """Return the request as another origin is to be sent it; None if it may not be."""
    call, request = hop.call, hop.request
    facts = hop.facts()
    was_sent = bool(call.attempts)
    if (was_sent and not (facts.idempotent and facts.replayable)) or call.left() <= 0:
        return None
    base = call.family.http.URL(call.policy.fallback)
    raw_path = base.raw_path.rstrip(b"/") + request.url.raw_path
    return copy_of(request, call.family, url=base.copy_with(raw_path=raw_path))


def substitute(hop: Hop, given: Any) -> Response:
    """Return a copy of a response that was given, as the answer to the request.

    Raises:
        TypeError: It is none.

    """
    call = hop.call
    if not isinstance(given, call.family.http.Response):
        name = call.family.http.__name__
        raise TypeError(f"fallback must give an {name}.Response or None, got {given!r}")
    # The headers that describe how the body went over the wire: it is decoded now.
    headers = [
        (name, value)
        for name, value in given.headers.multi_items()
        if name not in _OF_THE_MESSAGE
    ]
    copied = call.family.http.Response(
        given.status_code,
        headers=headers,
        content=given.content,
        extensions=given.extensions,
        request=hop.request,
    )
    answer = adopt(copied, call.family, call.settings.contract)
    answer.attempts = call.attempts
    return answer
