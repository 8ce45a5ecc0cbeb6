"""What a scripted server does, in whichever family; see `ScriptedServer`."""

import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from resilient_http.bodies import iterating
from resilient_http.family import Family
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    Contract,
    IdempotencyKeyInProgressException,
    ValidationException,
    encode,
)
from resilient_http.testing.clock import ManualClock

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

_STATUSES: Final = range(100, 1_000)
_IN_PATH: Final = "/:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class After:
    """What comes `seconds` late: a step of a server's script, or a part of a body.

    Args:
        seconds: What it takes, on the clock of the server; finite, at least 0.
        what: A step, or a part.

    """

    seconds: float
    what: Any

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(
                f"seconds must be finite, at least 0, got {self.seconds!r}"
            )


_TOO_MANY: Final = 429

Part: TypeAlias = bytes | Exception | type[Exception] | After | Callable[[], bytes]
"""What a body consists of; an exception breaks it off."""

_Answer: TypeAlias = int | _Response | Exception | type[Exception] | After
Step: TypeAlias = Callable[[_Request], _Answer[_Response]] | _Answer[_Response]
"""A status, a response, a problem to answer with, any other exception to raise in place
of an answer, one of these `After` a time, or what decides by the request."""


class Body:
    """A response body that may break off or take time, and counts how it is closed.

    Each time that it is read it starts anew.

    Args:
        parts: Bytes to yield, exceptions to raise, either `After` a time, or functions
            that return bytes.

    """

    def __init__(self, *parts: Part) -> None:
        for number, part in enumerate(parts):
            _, what = _due(part)
            if not (isinstance(what, bytes) or _is_error(what) or _decides(what)):
                raise TypeError(
                    f"parts[{number}] must be bytes, an exception or a function, "
                    f"got {part!r}"
                )
        self.parts = parts
        self.closed = 0
        """How often it was closed."""
        self.clock: ManualClock | None = None
        """Where time passes. The server that hands it out puts its own here."""

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            seconds, what = _due(part)
            if seconds:
                self._clock().spend(seconds)
            yield _made(what)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            seconds, what = _due(part)
            if seconds:
                await self._clock().aspend(seconds)
            yield _made(what)

    def close(self) -> None:
        """Count."""
        self.closed += 1

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1

    def _clock(self) -> ManualClock:
        if self.clock is None:
            raise RuntimeError("a body that no server has handed out has no clock")
        return self.clock


class Server(Generic[_Request, _Response]):
    """What both scripted servers do besides being transports of their family."""

    _family: ClassVar[Family]

    def __init__(
        self,
        *script: Step[_Request, _Response],
        seconds: float = 0.0,
        content: bytes = b"",
        clock: ManualClock | None = None,
        contract: Contract | None = None,
    ) -> None:
        self.script = list(script)
        self.seconds = seconds
        """What each send takes on the clock."""
        self.content = content
        """What comes with a bare status."""
        self.clock = ManualClock() if clock is None else clock
        self.contract = Contract() if contract is None else contract
        self.requests: list[_Request] = []
        """Every request, in order, from when it arrived."""
        self.bodies: list[bytes] = []
        """The body of each request."""
        self._lent: list[_Lent] = []
        self._lock = threading.Lock()

    @property
    def script(self) -> list[Step[_Request, _Response]]:
        """What is still to come. The last step repeats. Assign a list to start anew."""
        return self._script

    @script.setter
    def script(self, steps: list[Step[_Request, _Response]]) -> None:
        if not steps:
            raise ValueError("script must have a step; the last one repeats")
        for number, step in enumerate(steps):
            if not _decides(step):
                self._check(step, f"script[{number}]")
        self._script = list(steps)

    @property
    def sends(self) -> int:
        """How many requests arrived."""
        return len(self.requests)

    @property
    def open_bodies(self) -> list[str]:
        """The answers whose bodies have not been closed, in words."""
        return [lent.said for lent in self._lent if not lent.closed]

    def assert_closed(self) -> None:
        """Check that the body of every answer was closed.

        Raises:
            AssertionError: Some were not; it says which.

        """
        if still := self.open_bodies:
            raise AssertionError(f"left open: {', '.join(still)}")

    def handle_request(self, request: _Request) -> _Response:
        """Answer a request of a sync client."""
        sent: Any = request
        seconds, step = _due(self._arrived(sent, b"".join(sent.stream)))
        self.clock.spend(self.seconds + seconds)
        return self._lend(self._answer(step, sent), sent)

    async def handle_async_request(self, request: _Request) -> _Response:
        """Answer a request of an async client."""
        sent: Any = request
        body = b"".join([part async for part in sent.stream])
        seconds, step = _due(self._arrived(sent, body))
        await self.clock.aspend(self.seconds + seconds)
        return self._lend(self._answer(step, sent), sent)

    def _arrived(self, request: Any, body: bytes) -> Any:
        """Note a request, and return the step that it gets."""
        with self._lock:
            self.requests.append(request)
            self.bodies.append(body)
            many = len(self._script) > 1
            step: Any = self._script.pop(0) if many else self._script[0]
        if _decides(step):
            step = step(request)
            self._check(step, f"the answer to {request.method} {request.url}")
        return step

    def _answer(self, step: Any, request: Any) -> Any:
        """Return the response that a step stands for, or raise what it raises."""
        http = self._family.http
        if isinstance(step, AppException):
            return self._problem(step, request)
        if _is_kind(step) and issubclass(step, AppException):
            return self._problem(step(), request)
        if _is_error(step):
            raise _error(step)
        if isinstance(step, int):
            return http.Response(step, stream=self._family.stream(Body)(self.content))
        # A copy: clients change what they get, and the step may be played again.
        parts = {"headers": step.headers, "extensions": step.extensions}
        return http.Response(step.status_code, stream=step.stream, **parts)

    def _problem(self, error: AppException, request: Any) -> Any:
        """Return what `server_kit` answers with; a request without an id gets one."""
        known = request.headers.get("x-request-id", f"scripted-{len(self._lent) + 1}")
        path = quote(request.url.path, safe=_IN_PATH)
        document = self.contract.document(error, instance=path, request_id=known)
        if isinstance(error, ValidationException):
            document["errors"] = [
                {name: value for name, value in fault.items() if value is not None}
                for fault in document["errors"]
            ]
        body = encode(document)
        headers = self._family.http.Headers(error.headers)
        for name, value in _implied(error).items():
            headers.setdefault(name, value)
        headers["content-type"] = MEDIA_TYPE
        headers["content-length"] = str(len(body))
        headers["x-request-id"] = known
        stream = self._family.stream(Body)(body)
        return self._family.http.Response(error.status, headers=headers, stream=stream)

    def _lend(self, response: Any, request: Any) -> _Response:
        if isinstance(response.stream, Body):
            response.stream.clock = self.clock
        said = f"{response.status_code} to {request.method} {request.url}"
        response.stream = self._family.stream(_Lent)(response.stream, said)
        self._lent.append(response.stream)
        lent: _Response = response
        return lent

    def _check(self, step: Any, name: str) -> None:
        what = step.what if isinstance(step, After) else step
        is_status = isinstance(what, int) and what in _STATUSES
        is_response = isinstance(what, self._family.http.Response)
        if not (is_status or is_response or _is_error(what)):
            kind = f"{self._family.http.__name__}.Response"
            raise TypeError(
                f"{name} must be a status, an {kind} or an exception, got {step!r}"
            )


class _Lent:
    """The body of one answer, and whether it came back."""

    def __init__(self, stream: Any, said: str) -> None:
        self._stream = stream
        self.said = said
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with iterating(self._stream) as chunks:
            async for chunk in chunks:
                yield chunk

    def close(self) -> None:
        self.closed = True
        self._stream.close()

    async def aclose(self) -> None:
        self.closed = True
        await self._stream.aclose()


def _due(what: Any) -> tuple[float, Any]:
    return (what.seconds, what.what) if isinstance(what, After) else (0.0, what)


def _made(part: Any) -> bytes:
    if _is_error(part):
        raise _error(part)
    made: bytes = part if isinstance(part, bytes) else part()
    return made


def _error(what: Any) -> Exception:
    """Return what to raise; in a local name it would hold on to itself."""
    error: Exception = what("scripted") if _is_kind(what) else what
    return error.with_traceback(None)


def _is_error(what: Any) -> bool:
    return isinstance(what, Exception) or _is_kind(what)


def _is_kind(what: Any) -> bool:
    return isinstance(what, type) and issubclass(what, Exception)


def _decides(step: Any) -> bool:
    return callable(step) and not isinstance(step, type)


def _implied(error: AppException) -> dict[str, str]:
    """Return what `server_kit` says of a problem in headers."""
    implied = {"cache-control": "no-store"} if error.status == _TOO_MANY else {}
    may_wait = error.status in (_TOO_MANY, 503)
    if isinstance(error, IdempotencyKeyInProgressException):
        may_wait = True
    if may_wait and error.retry_after is not None:
        implied["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    return implied
