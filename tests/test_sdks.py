"""SDKs that retry by themselves, over our clients and against a real server."""

import importlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final, Literal

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from resilient_http import (
    BreakerConfig,
    CircuitBreakerOpenException,
    DeadlineExceededException,
    Policy,
    RetryBudget,
    RetryConfig,
    State,
    deadline,
)
from tests.client.wire import wire_server
from tests.served import served

AT_ONCE: Final = RetryConfig(base_delay=0)
OURS: Final = AT_ONCE.max_attempts
"""Sends of a call, if we decide."""
THEIRS: Final = 4
"""Sends of a call, if the SDK does."""

MODEL: Final = {"id": "m", "object": "model", "created": 0, "owned_by": "us"}
SAID: Final = {
    "id": "c",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "hello"},
        }
    ],
}
WORDS: Final = ("one ", "two ", "three")


class Scripted:
    """A server that answers with one status after another, the last one for ever."""

    def __init__(self) -> None:
        self.url = ""
        routes = [Route("/{path:path}", self.answer, methods=["GET", "POST"])]
        self.app = Starlette(routes=routes)
        self.begin()

    def begin(self) -> None:
        """Forget what was asked and said before."""
        self.statuses = [200]
        self.media_type = "application/json"
        self.arrived: list[str] = []
        self.heard = [threading.Event() for _ in WORDS]
        """Set by who has read a word, before the next is sent."""

    async def answer(self, request: Request) -> Response:
        self.arrived.append(request.method)
        more = len(self.statuses) > 1
        status = self.statuses.pop(0) if more else self.statuses[0]
        if status >= 400:
            said = {"title": "No", "status": status, "error": {"message": "no"}}
            return JSONResponse(said, status, media_type=self.media_type)
        if request.method == "GET":
            return JSONResponse(MODEL)
        if not (await request.json()).get("stream"):
            return JSONResponse(SAID)
        return StreamingResponse(self.speak(), media_type="text/event-stream")

    async def speak(self) -> AsyncIterator[str]:
        for word, heard in zip(WORDS, self.heard, strict=True):
            choice = {"index": 0, "delta": {"content": word}}
            chunk = {**SAID, "object": "chat.completion.chunk", "choices": [choice]}
            yield f"data: {json.dumps(chunk)}\n\n"
            if not await anyio.to_thread.run_sync(heard.wait, 5):
                return  # nobody listens, and what was said last is all there is
        yield "data: [DONE]\n\n"


@dataclass(frozen=True)
class Row:
    """An SDK on one of the families of clients."""

    sdk: str
    client: str
    """Its sync client; the async one is named after it."""
    ours: str
    """The module that has our clients of the family."""
    since: int = 0
    """The first major version that takes them."""

    @property
    def name(self) -> str:
        family = "httpx2" if self.ours.endswith("httpx2") else "httpx"
        return f"{self.sdk} on {family}"

    def left_out(self) -> str | None:
        """Say why it cannot be tried here; None if it can."""
        try:
            version = importlib.import_module(self.sdk).__version__
        except ModuleNotFoundError:
            return f"{self.sdk} is not installed"
        if int(version.partition(".")[0]) < self.since:
            return f"{self.sdk} {version} takes no client of httpx2"
        return None


ROWS: Final = [
    Row("openai", "OpenAI", "resilient_http.httpx2", since=3),
    Row("openai", "OpenAI", "resilient_http"),  # which 3 takes as well
    Row("groq", "Groq", "resilient_http"),
]


def row(of: Row) -> Any:
    why = of.left_out()
    skip = pytest.mark.skipif(why is not None, reason=str(why))
    return pytest.param(of, id=of.name, marks=skip)


Colour = Literal["async", "sync"]


class Caller:
    """An SDK of either colour, asked in the same words."""

    def __init__(
        self, of: Row, colour: Colour, url: str, *, max_retries: int, **told: Any
    ) -> None:
        self.errors: Any = importlib.import_module(of.sdk)
        ours = importlib.import_module(of.ours)
        prefix = "Async" if colour == "async" else ""
        # Nothing is encrypted here, and loading certificates takes the longest.
        self.http = getattr(ours, f"{prefix}Client")(verify=False, **told)
        make = impatient(getattr(self.errors, f"{prefix}{of.client}"))
        self.sdk: Any = make(
            api_key="pretend",
            base_url=url,
            http_client=self.http,
            max_retries=max_retries,
        )

    @property
    def sends(self) -> int:
        """What went out, or tried to."""
        (origin,) = self.http.snapshot()["origins"].values()
        found: int = origin["sends"]
        return found

    async def get(self) -> Any:
        return await finished(self.sdk.models.retrieve("m"))

    async def post(self, **options: Any) -> Any:
        completions = self.sdk.chat.completions
        messages = [{"role": "user", "content": "?"}]
        asked = completions.create(model="m", messages=messages, **options)
        return await finished(asked)

    async def close(self) -> None:
        await finished(self.sdk.close())


def impatient(sdk: type) -> Any:
    """Return `sdk`, which does not wait before it tries again."""
    at_once = {"_calculate_retry_timeout": lambda *_, **__: 0.0}
    return type(sdk.__name__, (sdk,), at_once)


async def finished(value: Any) -> Any:
    return await value if isawaitable(value) else value


Call = Callable[..., Caller]


@pytest.fixture(scope="module")
def running() -> Iterator[Scripted]:
    made = Scripted()
    with served(made.app) as made.url:
        yield made


@pytest.fixture
def server(running: Scripted) -> Scripted:
    running.begin()
    return running


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Colour:
    found: Colour = request.param
    return found


@pytest.fixture(params=[row(of) for of in ROWS])
async def call(request: pytest.FixtureRequest, colour: Colour) -> AsyncIterator[Call]:
    """Make callers, which are closed in the end."""
    made: list[Caller] = []

    def make(url: str, *, max_retries: int = THEIRS - 1, **told: Any) -> Caller:
        told = {"policy": Policy(retry=AT_ONCE), **told}
        of: Row = request.param
        caller = Caller(of, colour, url, max_retries=max_retries, **told)
        made.append(caller)
        return caller

    yield make
    for caller in made:
        await caller.close()


Asked = Callable[[Caller], Awaitable[Any]]
ASK: Final[dict[str, Asked]] = {"GET": Caller.get, "POST": Caller.post}
either = pytest.mark.parametrize("method", ASK)


@pytest.mark.case("R26", "C37")
async def test_what_we_have_repeated_the_sdk_does_not(
    server: Scripted, call: Call
) -> None:
    server.statuses = [503]
    caller = call(server.url)
    with pytest.raises(caller.errors.InternalServerError):
        await caller.get()
    assert server.arrived == ["GET"] * OURS


@pytest.mark.parametrize(
    "policy",
    [
        Policy(budget=RetryBudget(capacity=0)),
        Policy(breaker=BreakerConfig(minimum_calls=1)),
    ],
)
async def test_nor_where_the_budget_or_the_breaker_bars_us(
    server: Scripted, call: Call, policy: Policy
) -> None:
    server.statuses = [503]
    caller = call(server.url, policy=policy)
    with pytest.raises(caller.errors.InternalServerError):
        await caller.get()
    assert server.arrived == ["GET"]


@pytest.mark.case("R26")
async def test_what_we_may_not_repeat_the_sdk_repeats_as_ever(
    server: Scripted, call: Call
) -> None:
    server.statuses = [503]
    caller = call(server.url)
    with pytest.raises(caller.errors.InternalServerError):
        await caller.post()
    assert server.arrived == ["POST"] * THEIRS


async def test_who_switches_our_retries_off_has_all_of_the_sdks(
    server: Scripted, call: Call
) -> None:
    server.statuses = [503]
    caller = call(server.url, policy=Policy(retry=None))
    with pytest.raises(caller.errors.InternalServerError):
        await caller.get()
    assert server.arrived == ["GET"] * THEIRS


async def test_a_burst_is_outlived_by_whoever_repeats(
    server: Scripted, call: Call
) -> None:
    server.statuses = [503, 503, 200]
    assert (await call(server.url).get()).id == "m"
    server.statuses = [503, 503, 503, 200]
    said = await call(server.url).post()
    assert said.choices[0].message.content == "hello"
    assert server.arrived == ["GET"] * 3 + ["POST"] * 4


async def test_a_breaker_that_opens_ends_what_the_sdk_repeats(
    server: Scripted, call: Call
) -> None:
    server.statuses = [503]
    careful = Policy(retry=AT_ONCE, breaker=BreakerConfig(failure_threshold=2))
    caller = call(server.url, policy=careful)
    with pytest.raises(caller.errors.APIConnectionError) as caught:
        await caller.post()
    assert isinstance(caught.value.__cause__, CircuitBreakerOpenException)
    assert server.arrived == ["POST"] * 2


@either
async def test_what_is_refused_is_an_error_of_the_connection(
    server: Scripted, call: Call, method: str
) -> None:
    state = State()
    state.force(server.url, "open")
    caller = call(server.url, state=state)
    with pytest.raises(caller.errors.APIConnectionError) as caught:
        await ASK[method](caller)
    assert type(caught.value) is caller.errors.APIConnectionError
    assert isinstance(caught.value.__cause__, CircuitBreakerOpenException)
    assert server.arrived == []


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, "NotFoundError"),
        (409, "ConflictError"),
        (418, "APIStatusError"),
        (429, "RateLimitError"),
        (503, "InternalServerError"),
    ],
)
async def test_an_answer_is_the_error_that_the_sdk_makes_of_it(
    server: Scripted, call: Call, status: int, error: str, kind: str
) -> None:
    server.statuses, server.media_type = [status], kind
    caller = call(server.url, policy=Policy(retry=None), max_retries=0)
    with pytest.raises(caller.errors.APIStatusError) as caught:
        await caller.get()
    assert type(caught.value) is getattr(caller.errors, error)
    assert caught.value.status_code == status
    assert "no" in str(caught.value)


@either
async def test_nobody_at_home_is_an_error_of_the_connection(
    call: Call, method: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    caller = call(f"http://127.0.0.1:{port}", max_retries=0)
    with pytest.raises(caller.errors.APIConnectionError) as caught:
        await ASK[method](caller)
    assert type(caught.value) is caller.errors.APIConnectionError
    assert caller.sends == OURS


async def test_our_deadline_is_a_timeout_of_the_sdk(call: Call) -> None:
    with wire_server(hang) as server:
        caller = call(server.url, policy=Policy(deadline=0.2), max_retries=0)
        with pytest.raises(caller.errors.APITimeoutError) as caught:
            await caller.get()
    assert isinstance(caught.value.__cause__, DeadlineExceededException)


async def test_a_deadline_around_the_sdk_bounds_all_that_it_repeats(call: Call) -> None:
    with wire_server(hang) as server:
        caller = call(server.url)
        with deadline(0.2), pytest.raises(caller.errors.APITimeoutError):
            await caller.get()
    assert server.connections == 1


def hang(connection: socket.socket) -> None:
    """Wait until the other end gives up."""
    connection.recv(1)


async def test_what_both_repeat_is_bounded_by_the_breaker(call: Call) -> None:
    with wire_server(hang_up) as server:
        caller = call(server.url)
        for _ in range(5):
            with pytest.raises(caller.errors.APIConnectionError):
                await caller.get()
    assert server.connections <= BreakerConfig().minimum_calls


def hang_up(connection: socket.socket) -> None:
    """Answer nothing."""


# openai leaves its generators to the collector, over plain clients as well.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("failures", [0, 2])
async def test_a_stream_comes_as_it_is_spoken(
    server: Scripted, call: Call, failures: int
) -> None:
    server.statuses = [503] * failures + [200]
    stream = await call(server.url).post(stream=True)
    heard = iter(server.heard)
    said = []
    async for chunk in chunks(stream):
        said.append(chunk.choices[0].delta.content)
        next(heard).set()
    assert tuple(said) == WORDS
    assert len(server.arrived) == failures + 1


async def chunks(stream: Any) -> AsyncIterator[Any]:
    if hasattr(stream, "__aiter__"):
        async for chunk in stream:
            yield chunk
    else:
        for chunk in stream:
            yield chunk
