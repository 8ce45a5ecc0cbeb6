"""Which calls are sent again, with what, and how they end."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from resilient_http import Policy, RetryConfig
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    Contract,
    OverloadedException,
    ServiceUnavailableException,
)
from tests.client.world import Colour, ManualClock, Recorded, World
from tests.family import httpx

NO_BREAKER = Policy(breaker=None)


class Busy(AppException):
    """Refused before anything was done."""

    type = "busy"
    title = "Busy"
    status = 409
    work_not_started = True
    retry = "after_delay"


class Broken(AppException):
    """It will not be otherwise next time."""

    type = "broken"
    title = "Broken"
    status = 503
    retry = "never"


class Pending(AppException):
    type = "pending"
    title = "Pending"
    status = 409
    retry = "same_key"


CONTRACT = Contract(Busy, Broken, Pending)


def problem(error: AppException) -> httpx.Response:
    body = json.dumps(CONTRACT.document(error)).encode()
    headers = {"content-type": MEDIA_TYPE}
    return httpx.Response(error.status, headers=headers, stream=Recorded(body))


async def test_a_passing_failure_is_not_seen_by_the_caller(colour: Colour) -> None:
    world = World(503, httpx.ReadTimeout, 200)
    async with world.caller(colour) as caller:
        response = await caller.get()
    assert response.status_code == 200
    assert [a.status or a.error for a in vars(response)["attempts"]] == [
        503,
        "ReadTimeout",
        200,
    ]
    assert world.clock.waits == [0.05, 0.1]


@pytest.mark.case("C36", "R5")
async def test_a_call_that_never_succeeds_ends_with_its_last_answer(
    colour: Colour,
) -> None:
    world = World(500, 502, 503)
    async with world.caller(colour) as caller:
        response = await caller.get()
    assert (response.status_code, response.content, world.sends) == (503, b"body", 3)
    assert response.is_closed
    with pytest.raises(ServiceUnavailableException) as caught:
        response.raise_for_status()
    assert isinstance(caught.value, httpx.HTTPStatusError)
    assert [attempt.status for attempt in caught.value.attempts] == [500, 502, 503]


@pytest.mark.case("C36", "R5")
async def test_a_call_that_was_never_answered_ends_with_its_last_error(
    colour: Colour,
) -> None:
    world = World(httpx.ConnectError, httpx.ReadError, httpx.ReadTimeout)
    async with world.caller(colour) as caller:
        with pytest.raises(httpx.ReadTimeout) as caught:
            await caller.get()
    attempts = vars(caught.value)["attempts"]
    errors = [attempt.error for attempt in attempts]
    assert errors == ["ConnectError", "ReadError", "ReadTimeout"]
    assert len(world.clock.waits) == 2


@pytest.mark.case("C3")
@pytest.mark.parametrize("streamed", [False, True])
async def test_answers_that_are_not_wanted_are_closed_before_the_next_send(
    colour: Colour, *, streamed: bool
) -> None:
    bodies = [Recorded(b"no"), Recorded(b"not yet"), Recorded(b"yes")]
    open_at_send: list[int] = []

    class Watching(World):
        def serve(self, request: httpx.Request, body: bytes) -> httpx.Response:
            used = bodies[: self.sends]
            open_at_send.append(sum(not stream.closed for stream in used))
            return super().serve(request, body)

    world = Watching(
        *(
            httpx.Response(status, stream=stream)
            for status, stream in zip((503, 503, 200), bodies, strict=True)
        )
    )
    async with world.caller(colour) as caller:
        response = await (caller.open() if streamed else caller.get())
        assert await caller.read(response) == b"yes"
    assert open_at_send == [0, 0, 0]
    assert [stream.closed > 0 for stream in bodies] == [True, True, True]


@pytest.mark.case("C29", "R6")
@pytest.mark.parametrize(
    ("step", "sends"),
    [
        (503, 1),
        (500, 1),
        (429, 1),
        (httpx.ReadTimeout, 1),
        (httpx.ReadError, 1),
        (httpx.WriteError, 1),
        (httpx.RemoteProtocolError, 1),
        (httpx.ConnectError, 3),
        (httpx.ConnectTimeout, 3),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_post_is_sent_again_only_if_nothing_was_sent(
    colour: Colour, method: str, step: Any, sends: int
) -> None:
    world = World(step)
    async with world.caller(colour) as caller:
        try:
            response = await caller.request(method, "http://a/", json={"x": 1})
            assert response.status_code == step
        except httpx.TransportError as error:
            assert type(error) is step  # noqa: PT017 - the same end, by another road
    assert world.sends == sends


@pytest.mark.parametrize(
    ("options", "sends"),
    [
        ({}, 1),
        ({"headers": {"Idempotency-Key": '"k"'}}, 3),
        ({"extensions": {"idempotent": True}}, 3),
        ({"extensions": {"idempotent": False}}, 1),
    ],
)
async def test_a_post_is_safe_to_repeat_if_its_sender_says_so(
    colour: Colour, options: dict[str, Any], sends: int
) -> None:
    world = World(503)
    async with world.caller(colour) as caller:
        await caller.request("POST", "http://a/", **options)
    assert world.sends == sends


@pytest.mark.parametrize(
    ("method", "error", "headers", "sends"),
    [
        ("POST", Busy(), {}, 3),
        ("GET", Broken(), {}, 1),
        ("POST", Pending(), {}, 1),
        ("POST", Pending(), {"Idempotency-Key": '"k"'}, 3),
    ],
)
async def test_the_type_of_a_problem_says_whether_a_repeat_is_safe(
    colour: Colour, method: str, error: AppException, headers: Any, sends: int
) -> None:
    world = World(*(problem(error) for _ in range(3)))
    async with world.caller(colour, contract=CONTRACT) as caller:
        response = await caller.request(method, "http://a/", headers=headers)
    assert (response.status_code, world.sends) == (error.status, sends)


async def test_a_status_without_a_known_type_promises_nothing(colour: Colour) -> None:
    """429 is the status of a type refused before its handler; alone it is not."""
    world = World(429)
    async with world.caller(colour) as caller:
        await caller.request("POST", "http://a/")
    assert world.sends == 1


@pytest.mark.case("C28", "R17")
@pytest.mark.parametrize("step", [503, httpx.ReadError])
async def test_a_body_that_can_be_read_once_is_sent_once(
    colour: Colour, step: Any
) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one"
        yield b"shot"

    async def aparts() -> AsyncIterator[bytes]:
        for part in parts():
            yield part

    world = World(step, 200)
    content: Any = aparts() if colour == "async" else parts()
    async with world.caller(colour) as caller:
        try:
            response = await caller.request("PUT", "http://a/", content=content)
            assert response.status_code == 503
        except httpx.ReadError:
            assert step is httpx.ReadError
    assert world.bodies == [b"oneshot"]


class Pipe:
    """A file that cannot go back."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(size)


@pytest.mark.case("C28", "R17")
async def test_a_form_with_a_file_that_can_be_read_once_is_sent_once(
    colour: Colour,
) -> None:
    files: Any = {"first": io.BytesIO(b"again"), "second": Pipe(b"oneshot")}
    world = World(503, 200)
    async with world.caller(colour) as caller:
        response = await caller.request("PUT", "http://a/", files=files)
    assert (response.status_code, world.sends) == (503, 1)
    assert b"oneshot" in world.bodies[0]


@pytest.mark.case("C28")
async def test_a_one_shot_body_that_never_left_may_be_sent(colour: Colour) -> None:
    """Nothing was taken from it, so nothing is missing."""

    async def aparts() -> AsyncIterator[bytes]:
        yield b"whole"

    class Unreachable(World):
        refused = False

    world = Unreachable(200)
    send = world.transport.handle_async_request
    handle = world.transport.handle_request

    def first() -> bool:
        done, world.refused = world.refused, True
        return not done

    async def asend(request: httpx.Request) -> httpx.Response:
        if first():
            raise httpx.ConnectError("refused")
        return await send(request)

    def sync_send(request: httpx.Request) -> httpx.Response:
        if first():
            raise httpx.ConnectError("refused")
        return handle(request)

    vars(world.transport).update(handle_async_request=asend, handle_request=sync_send)
    content: Any = aparts() if colour == "async" else iter([b"whole"])
    async with world.caller(colour) as caller:
        response = await caller.request("POST", "http://a/", content=content)
    assert response.status_code == 200
    assert world.bodies == [b"whole"]


@pytest.mark.case("R17")
@pytest.mark.parametrize(
    "body",
    [
        {"content": b"abc"},
        {"json": {"a": [1, 2]}},
        {"data": {"a": "b"}},
        {"files": {"upload": io.BytesIO(b"y" * 100_000)}},
        {"content": b"z" * 200_000},
    ],
    ids=["bytes", "json", "form", "files", "large"],
)
async def test_a_body_that_can_be_read_again_is_sent_the_same(
    colour: Colour, body: dict[str, Any]
) -> None:
    world = World(503, 503, 200)
    async with world.caller(colour) as caller:
        response = await caller.request("PUT", "http://a/", **body)
    assert response.status_code == 200
    first, second, third = world.bodies
    assert first == second == third != b""


@pytest.mark.case("R17", "C28")
async def test_a_file_is_sent_again_from_where_it_stood() -> None:
    file = io.BytesIO(b"skipped" + b"x" * 200_000)
    file.seek(len(b"skipped"))
    world = World(503, 200)
    async with world.caller("sync") as caller:
        response = await caller.request("PUT", "http://a/", content=file)
    assert response.status_code == 200
    assert world.bodies == [b"x" * 200_000] * 2


async def test_a_request_leaves_as_it_came(colour: Colour) -> None:
    """The body that was watched on its way out is the caller's own again."""
    world = World(200)
    async with world.caller(colour) as caller:
        request = caller.client.build_request("PUT", "http://a/", content=b"z" * 99_999)
        stream, headers = request.stream, dict(request.headers)
        await caller.send(request)
    assert request.stream is stream
    assert dict(request.headers) == headers


@pytest.mark.case("C31", "R14")
@pytest.mark.parametrize(
    ("asked", "waits"),
    [("2", [2.2]), ("11", []), ("4000", []), ("soon", [0.05]), ("0", [1.0])],
)
async def test_a_wait_asked_for_is_kept_or_ends_the_call(
    colour: Colour, asked: str, waits: list[float]
) -> None:
    headers = {"retry-after": asked}
    world = World(httpx.Response(503, headers=headers, stream=Recorded(b"no")), 200)
    async with world.caller(colour) as caller:
        response = await caller.get()
    assert world.clock.waits == pytest.approx(waits)
    if not waits:
        with pytest.raises(ServiceUnavailableException) as caught:
            response.raise_for_status()
        assert caught.value.retry_after == float(asked)


@pytest.mark.case("C30", "R14")
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ([b"2"], 2),
        ([b"3", b"1"], 3),
        ([b"1", b"3"], 3),
        ([b"Sun, 01 Jun 2025 12:00:05 GMT"], 5),
        ([b"Sun Jun  1 12:00:05 2025"], 5),  # names no zone
        ([b"Sun, 01 Jun 2025 11:00:00 GMT"], 0),
        ([b"Sun, 31 Feb 2025 12:00:00 GMT"], None),
        ([b"-1"], None),
        ([b"1e3"], None),
        ([b""], None),
        ([b"\xb2"], None),  # a superscript two, in Latin-1
    ],
)
@pytest.mark.parametrize("media_type", [MEDIA_TYPE, "text/plain"])
async def test_whatever_asks_for_a_wait_is_understood_or_ignored(
    colour: Colour, said: list[bytes], meant: float | None, media_type: str
) -> None:
    def refusal() -> httpx.Response:
        waits = [(b"Retry-After", value) for value in said]
        known = [(b"Date", b"Sun, 01 Jun 2025 12:00:00 GMT")]
        headers = [(b"Content-Type", media_type.encode()), *known, *waits]
        return httpx.Response(503, headers=headers, stream=Recorded(b"{}"))

    world = World(refusal(), 200, refusal())
    async with world.caller(colour) as caller:
        assert (await caller.get()).status_code == 200
        last = await caller.get(extensions={"policy": Policy(retry=None)})
    wait = 0.05 if meant is None else max(1.0, meant * 1.1)
    assert world.clock.waits == pytest.approx([wait])
    with pytest.raises(ServiceUnavailableException) as caught:
        last.raise_for_status()
    assert caught.value.retry_after == meant


@pytest.mark.case("C31")
async def test_a_wait_past_the_deadline_is_not_begun(colour: Colour) -> None:
    headers = {"retry-after": "9"}
    world = World(httpx.Response(503, headers=headers, stream=Recorded(b"no")), 200)
    async with world.caller(colour, policy=Policy(deadline=5.0)) as caller:
        response = await caller.get()
    assert (response.status_code, world.clock.waits) == (503, [])


async def test_the_policy_of_one_request_is_its_own(colour: Colour) -> None:
    world = World(503)
    async with world.caller(colour) as caller:
        once = Policy(retry=None)
        await caller.get(extensions={"policy": once})
        assert world.sends == 1
        five = Policy(retry=RetryConfig(max_attempts=5), breaker=None)
        await caller.get(extensions={"policy": five})
        assert world.sends == 6


async def test_a_redirect_is_a_hop_and_is_not_started_over(colour: Colour) -> None:
    there = httpx.Response(302, headers={"location": "http://a/there"})
    world = World(503, there, 503, 200)
    async with world.caller(colour, follow_redirects=True) as caller:
        response = await caller.get("http://a/here")
    assert response.status_code == 200
    paths = [request.url.path for request in world.requests]
    assert paths == ["/here", "/here", "/there", "/there"]


async def test_hooks_see_the_last_answer_of_a_hop(colour: Colour) -> None:
    seen: list[int] = []

    def note(response: httpx.Response) -> None:
        seen.append(response.status_code)

    async def anote(response: httpx.Response) -> None:
        note(response)

    hooks = {"response": [anote if colour == "async" else note]}
    world = World(503, 503, 200)
    async with world.caller(colour, event_hooks=hooks) as caller:
        await caller.get()
    assert seen == [200]


async def test_what_is_named_as_retryable_is_retried(colour: Colour) -> None:
    retry = RetryConfig(retryable_exceptions=(OSError,))
    world = World(OSError, 200)
    async with world.caller(colour, policy=Policy(retry=retry)) as caller:
        assert (await caller.get()).status_code == 200
    world = World(httpx.ReadTimeout, 200)
    async with world.caller(colour, policy=Policy(retry=retry)) as caller:
        with pytest.raises(httpx.ReadTimeout):
            await caller.get()


async def test_what_is_no_transport_error_is_none_of_our_business(
    colour: Colour,
) -> None:
    world = World(ZeroDivisionError)
    async with world.caller(colour) as caller:
        with pytest.raises(ZeroDivisionError):
            await caller.get()
    assert world.sends == 1


@pytest.mark.case("R9", "C25")
async def test_a_body_that_breaks_off_is_asked_for_again(colour: Colour) -> None:
    broken = Recorded(b"ha", httpx.ReadError("cut"))
    world = World(httpx.Response(200, stream=broken), 200)
    async with world.caller(colour) as caller:
        response = await caller.get()
        known = caller.client.snapshot()  # type: ignore[union-attr]  # ours
    assert response.content == b"body"
    assert (world.sends, broken.closed > 0) == (2, True)
    assert known["origins"]["http://a:80"]["breaker"]["failures"] == 1


# httpx leaves its generators to the collector when decoding fails, and trio warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_body_that_cannot_be_decoded_leaves_nothing_open(
    colour: Colour,
) -> None:
    headers = {"content-encoding": "gzip"}
    garbage = Recorded(b"no gzip")
    world = World(httpx.Response(200, headers=headers, stream=garbage))
    async with world.caller(colour) as caller:
        with pytest.raises(httpx.DecodingError):
            await caller.get()
        known = caller.client.snapshot()  # type: ignore[union-attr]  # ours
    assert (world.sends, garbage.closed > 0) == (1, True)
    assert known["origins"]["http://a:80"]["breaker"]["in_flight"] == 0


@pytest.mark.case("R9")
async def test_what_the_caller_has_seen_is_never_repeated(colour: Colour) -> None:
    body = Recorded(b"ha", httpx.ReadError("cut"))
    world = World(httpx.Response(200, stream=body), 200)
    async with world.caller(colour) as caller:
        response = await caller.open()
        with pytest.raises(httpx.ReadError) as caught:
            await caller.read(response)
        await caller.close(response)
    assert (world.sends, body.closed > 0) == (1, True)
    assert len(vars(caught.value)["attempts"]) == 1


@pytest.mark.case("R5")
async def test_an_outage_uses_up_the_budget_and_traffic_brings_it_back(
    colour: Colour,
) -> None:
    world = World(503)
    policy = Policy(breaker=None)
    async with world.caller(colour, policy=policy) as caller:
        for _ in range(100):
            await caller.get()
        assert world.sends == 100 + 35  # 500 tokens at 14 for each retry
        world.script = [200]
        for _ in range(4):
            await caller.get()
        world.script = [503, 200]
        assert (await caller.get()).status_code == 200
        known = caller.client.snapshot()["origins"]  # type: ignore[union-attr]  # ours
    assert known["http://a:80"]["budget"] == 500 - 35 * 14 + 4


async def test_where_most_have_no_room_refusals_are_not_sent_again(
    colour: Colour,
) -> None:
    world = World(*(problem(OverloadedException()) for _ in range(200)))
    async with world.caller(colour, contract=CONTRACT) as caller:
        for _ in range(100):
            assert (await caller.get()).status_code == 503
        assert world.sends == 100 + 4
        world.script = [200]
        for _ in range(6):
            await caller.get()
        world.script = [500, 200]  # who is let in and fails is another matter
        assert (await caller.get()).status_code == 200
        world.script = [problem(OverloadedException()), 200]
        assert (await caller.get()).status_code == 200


def test_the_clock_of_these_tests_counts_waits() -> None:
    clock = ManualClock()
    clock.sleep(2)
    assert (clock.now(), clock.waits) == (1_002.0, [2])
