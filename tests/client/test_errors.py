"""What is raised: typed, in httpx's own family, and held no longer than needed."""

import copy
import gc
import json
import pickle
import tracemalloc
import weakref
import zlib
from datetime import timedelta
from typing import Any

import pytest

from resilient_http import BreakerConfig, Policy, RetryConfig
from resilient_http._core.breaker import Permit
from resilient_http.problems import (
    MEDIA_TYPE,
    AppException,
    CircuitBreakerOpenException,
    ConflictException,
    Contract,
    NotFoundException,
    ServiceUnavailableException,
)
from tests.client.world import Colour, ManualClock, Recorded, World, breaker_of
from tests.family import httpx


class OutOfStock(AppException):
    """The shelf is empty."""

    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str
    available: int = 0


SHOP = Contract(OutOfStock)
DOCUMENT = {"type": "out-of-stock", "detail": "Only 2", "sku": "A1", "available": 2}
BODY = json.dumps(DOCUMENT).encode()


def answer(
    body: bytes = BODY, status: int = 409, encoding: str | None = None
) -> httpx.Response:
    fields = {"content-type": MEDIA_TYPE}
    fields |= {} if encoding is None else {"content-encoding": encoding}
    return httpx.Response(status, headers=fields, stream=Recorded(body))


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_problem_is_raised_as_its_class(
    colour: Colour, *, streamed: bool
) -> None:
    world = World(answer())
    async with world.caller(colour, contract=SHOP) as caller:
        response = await (caller.open() if streamed else caller.get())
        with pytest.raises(OutOfStock) as caught:
            response.raise_for_status()
        assert await caller.read(response) == BODY
        await caller.close(response)
    error = caught.value
    assert error == OutOfStock("Only 2", sku="A1", available=2)
    assert isinstance(error, httpx.HTTPStatusError)
    assert error.response is response
    assert error.request is response.request
    assert error.received
    assert [attempt.status for attempt in error.attempts] == [409]


async def test_an_answer_that_is_fine_is_returned(colour: Colour) -> None:
    world = World(204)
    async with world.caller(colour) as caller:
        response = await caller.get()
    assert response.raise_for_status() is response


@pytest.mark.parametrize("status", [304, 302])
async def test_neither_fine_nor_an_error_stays_httpxs(
    colour: Colour, status: int
) -> None:
    world = World(status)
    async with world.caller(colour) as caller:
        response = await caller.get()
    with pytest.raises(httpx.HTTPStatusError) as caught:
        response.raise_for_status()
    assert not isinstance(caught.value, AppException)


@pytest.mark.parametrize("status", [400, 404, 418, 499, 503, 599, 799])
async def test_any_error_status_is_an_app_exception(
    colour: Colour, status: int
) -> None:
    world = World(status)
    async with world.caller(colour, policy=Policy(retry=None)) as caller:
        response = await caller.get("http://user:pass@a/x?token=secret")
    with pytest.raises(AppException) as caught:
        response.raise_for_status()
    assert caught.value.status == status
    assert isinstance(caught.value, httpx.HTTPStatusError)
    assert "GET http://a/x" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "pass" not in str(caught.value)


@pytest.mark.case("C51", "9457-34")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Not here</html>",
        b"\xff\xfe{",
        b"[" * 60_000,
        b'{"type": "out-of-stock", "detail": 5, "sku": [1]',
        json.dumps({**DOCUMENT, "detail": "x" * 100_000}).encode(),
    ],
    ids=["empty", "page", "no text", "deep", "cut", "huge"],
)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_problem_that_cannot_be_read_is_its_status(
    colour: Colour, body: bytes, method: str, *, streamed: bool
) -> None:
    body = b"" if method == "HEAD" else body
    world = World(answer(body, 404))
    async with world.caller(colour, contract=SHOP) as caller:
        request = caller.client.build_request(method, "http://a/")
        response = await caller.send(request, stream=streamed)
        with pytest.raises(NotFoundException):
            response.raise_for_status()
        assert await caller.read(response) == body
        await caller.close(response)


@pytest.mark.case("C51")
async def test_of_a_streamed_problem_no_more_is_read_than_a_problem_may_be(
    colour: Colour,
) -> None:
    taken: list[int] = []

    def chunk() -> bytes:
        taken.append(1)
        return b"x" * 1024

    stream = Recorded(*[chunk] * 1_000)
    headers = {"content-type": MEDIA_TYPE}
    world = World(httpx.Response(404, headers=headers, stream=stream))
    async with world.caller(colour) as caller:
        response = await caller.open()
        assert len(taken) == 65
        with pytest.raises(NotFoundException):
            response.raise_for_status()
        assert len(await caller.read(response)) == 1_000 * 1024
        await caller.close(response)
    assert stream.closed


@pytest.mark.case("C51")
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_streamed_problem_that_cannot_be_decoded_is_its_status(
    colour: Colour, encoding: str
) -> None:
    world = World(answer(encoding=encoding))
    async with world.caller(colour, contract=SHOP) as caller:
        response = await caller.open()
        with pytest.raises(ConflictException) as caught:
            response.raise_for_status()
        await caller.close(response)
    assert (caught.value.status, caught.value.detail) == (409, None)


@pytest.mark.case("C51")
async def test_of_a_compressed_problem_no_more_is_unpacked_than_a_problem_may_be(
    colour: Colour,
) -> None:
    bomb = zlib.compress(b" " * 20_000_000 + BODY, wbits=31)
    world = World(answer(bomb, encoding="gzip"))
    async with world.caller(colour, contract=SHOP) as caller:
        response = await caller.open()
        tracemalloc.start()
        try:
            with pytest.raises(ConflictException):
                response.raise_for_status()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await caller.close(response)
    assert peak < 2_000_000


@pytest.mark.case("C51")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "nonsense"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_compressed_problem_is_read_as_httpx_reads_it(
    colour: Colour, encoding: str, *, streamed: bool
) -> None:
    wbits = 31 if encoding == "gzip" else 15
    packed = zlib.compress(BODY, wbits=wbits) if encoding[0] in "gd" else BODY
    world = World(answer(packed, encoding=encoding))
    async with world.caller(colour, contract=SHOP) as caller:
        response = await (caller.open() if streamed else caller.get())
        with pytest.raises(AppException) as caught:
            response.raise_for_status()
        await caller.close(response)
    if encoding in ("gzip", "deflate"):
        assert caught.value == OutOfStock("Only 2", sku="A1", available=2)
    assert caught.value.status == 409


async def raised(world: World, colour: Colour, **options: Any) -> AppException:
    async with world.caller(colour, contract=SHOP, **options) as caller:
        try:
            (await caller.get()).raise_for_status()
        except AppException as error:
            return error
    raise AssertionError


@pytest.mark.case("C52", "S56")
async def test_what_was_caught_can_be_pickled_and_copied(colour: Colour) -> None:
    error = await raised(World(answer()), colour)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is OutOfStock
    assert back == error
    assert (back.attempts, back.received) == (error.attempts, True)
    assert (back.response, back.request) == (None, None)
    twin = copy.copy(error)
    assert type(twin) is type(error)
    assert twin.response is error.response


@pytest.mark.case("C52", "S56")
async def test_a_problem_of_no_known_type_is_pickled_with_all_it_says(
    colour: Colour,
) -> None:
    theirs = {"type": "https://else.example/tea", "title": "Tea", "pot": 4}
    error = await raised(World(answer(json.dumps(theirs).encode(), 418)), colour)
    back = pickle.loads(pickle.dumps(error))
    said = (back.type, back.title, back.status, back.extra)
    assert said == ("https://else.example/tea", "Tea", 418, {"pot": 4})
    kept = {k: v for k, v in vars(error).items() if k not in ("response", "request")}
    assert vars(back) == kept


async def test_what_is_raised_here_can_be_pickled_too(colour: Colour) -> None:
    error = await refused(colour)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is CircuitBreakerOpenException
    assert (back.retry_after, back.received) == (error.retry_after, True)


@pytest.mark.case("C52")
@pytest.mark.parametrize("step", [409, 503, httpx.ReadError])
async def test_nothing_is_held_once_an_error_is_handled(
    colour: Colour, step: Any
) -> None:
    held: list[weakref.ref[Any]] = []
    world = World(step)
    gc.collect()
    gc.disable()
    try:
        async with world.caller(colour) as caller:
            try:
                response = await caller.get()
                held.append(weakref.ref(response))
                try:
                    response.raise_for_status()
                except AppException as error:
                    held.append(weakref.ref(error))
                del response
            except httpx.ReadError as error:
                held.append(weakref.ref(error))
            world.requests.clear()
            assert held
            assert [reference() for reference in held] == [None] * len(held)
    finally:
        gc.enable()


BREAKER = BreakerConfig(failure_threshold=1)
FRAGILE = Policy(breaker=BREAKER, retry=None)


async def refused(colour: Colour) -> CircuitBreakerOpenException:
    world = World(503)
    async with world.caller(colour, policy=FRAGILE) as caller:
        await caller.get()
        with pytest.raises(CircuitBreakerOpenException) as caught:
            await caller.get("http://user:pass@a/x?token=secret")
    assert world.sends == 1
    return caught.value


async def test_a_refusal_to_send_is_a_transport_error(colour: Colour) -> None:
    error = await refused(colour)
    assert isinstance(error, httpx.TransportError)
    assert not isinstance(error, httpx.ConnectError | httpx.TimeoutException)
    assert error.retry_after is not None
    assert 5 <= error.retry_after <= 6
    assert (error.received, error.attempts, error.response) == (True, (), None)
    assert "secret" not in str(error)
    assert "pass" not in str(error)


async def test_errors_are_new_each_time(colour: Colour) -> None:
    world = World(503)
    async with world.caller(colour, policy=FRAGILE) as caller:
        await caller.get()
        errors = []
        for _ in range(2):
            with pytest.raises(CircuitBreakerOpenException) as caught:
                await caller.get()
            errors.append(caught.value)
    assert errors[0] is not errors[1]


@pytest.mark.case("C20")
async def test_a_breaker_that_opens_under_way_ends_the_call_as_it_stands(
    colour: Colour,
) -> None:
    policy = Policy(
        retry=RetryConfig(max_attempts=5),
        breaker=BreakerConfig(minimum_calls=2, failure_rate=1.0),
    )
    world = World(503)
    async with world.caller(colour, policy=policy) as caller:
        response = await caller.get()
    assert (response.status_code, world.sends) == (503, 2)
    with pytest.raises(ServiceUnavailableException) as caught:
        response.raise_for_status()
    assert len(caught.value.attempts) == 2


@pytest.mark.case("C20")
async def test_a_streamed_answer_is_readable_though_its_connection_was_freed(
    colour: Colour,
) -> None:
    """Somebody else's calls open the breaker while this one waits to be sent again."""
    world = World(503)
    policy = Policy(breaker=BREAKER)
    breaker = breaker_of(world.state, "http://a:80", BREAKER)

    class Tripping(ManualClock):
        def sleep(self, seconds: float) -> None:
            permit = breaker.admit(self.time)
            assert isinstance(permit, Permit)
            breaker.settle(permit, failed=True, now=self.time)
            breaker.conclude(permit, failed=True, now=self.time)

    world.clock = world.state.clock = Tripping()
    async with world.caller(colour, policy=policy) as caller:
        response = await caller.open()
        assert (response.status_code, world.sends) == (503, 1)
        assert await caller.read(response) == b"body"
        assert response.elapsed > timedelta(0)


def test_a_contract_is_asked_for_by_its_name(colour: Colour) -> None:
    wrong: Any = OutOfStock
    for option in ("contract", "policy", "state"):
        with pytest.raises(TypeError, match=f"{option} must be a .* or None, got"):
            World(200).client(colour, **{option: wrong})
