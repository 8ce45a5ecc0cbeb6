"""What hands a request to its transport does as the family's own client does."""
# ruff: noqa: SLF001 - what is stood in for is private

import functools
import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import pytest

from resilient_http._hands.handing import lean_send
from tests.client.world import Colour, World
from tests.family import httpx, wrap

_LOG = logging.getLogger(httpx.__name__)


class Body(httpx.AsyncByteStream, httpx.SyncByteStream):
    """What a transport hands over: neither of httpx's own, and in both colours."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"body"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"body"


class Answering(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """Answers with `outcome`, or raises it."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        found: httpx.Response = self.outcome
        return found

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def plain(colour: Colour, outcome: Any) -> Any:
    """Return a client that is not ours."""
    cls = httpx.AsyncClient if colour == "async" else httpx.Client
    return cls(transport=Answering(outcome), default_encoding="latin-1")


async def either(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def sends(client: Any) -> list[Any]:
    """Return theirs, and what stands in for it."""
    theirs = client._send_single_request
    ours = lean_send(theirs)
    assert ours != theirs, "this version is not known, and each call takes 5 µs more"
    return [theirs, ours]


async def test_an_answer_is_taken_in_alike(colour: Colour) -> None:
    seen = []
    for number in (0, 1):
        answer = httpx.Response(200, headers={"Set-Cookie": "a=1"}, stream=Body())
        client = plain(colour, answer)
        request = client.build_request("GET", "http://a/")
        assert await either(sends(client)[number](request)) is answer
        assert answer.request is request
        body = await either(answer.aread() if colour == "async" else answer.read())
        assert timedelta() < answer.elapsed < timedelta(minutes=1)
        taken_in = body, answer.default_encoding, dict(client.cookies)
        timed = type(answer.stream), vars(answer).keys(), vars(answer.stream).keys()
        seen.append((taken_in, timed))
    assert seen[0] == seen[1]
    assert seen[0][0] == (b"body", "latin-1", {"a": "1"})


async def test_an_error_names_its_request(colour: Colour) -> None:
    for number in (0, 1):
        error = httpx.ConnectError("refused")
        client = plain(colour, error)
        request = client.build_request("GET", "http://a/")
        with pytest.raises(httpx.ConnectError) as raised:
            await either(sends(client)[number](request))
        assert raised.value is error
        assert error.request is request


async def test_a_body_of_the_wrong_colour_is_refused_in_the_same_words(
    colour: Colour,
) -> None:
    class Sync(httpx.SyncByteStream):
        pass

    class Async(httpx.AsyncByteStream):
        pass

    wrong: Any = Sync() if colour == "async" else Async()
    request = httpx.Request("POST", "http://a/", stream=wrong)
    asked, words = plain(colour, httpx.Response(200)), []
    for send in sends(asked):
        with pytest.raises(RuntimeError) as refused:
            await either(send(request))
        words.append(str(refused.value))
    assert words[0] == words[1]

    given = plain(colour, httpx.Response(200, stream=wrong))
    for send in sends(given):
        with pytest.raises(AssertionError):
            await either(send(given.build_request("GET", "http://a/")))


async def test_who_reads_the_log_finds_each_send(
    colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=_LOG.name)
    async with World(503, 200).caller(colour) as caller:
        await caller.get()
    lines = [(it.message, it.funcName) for it in caplog.records if it.name == _LOG.name]
    assert lines == [
        (
            f'HTTP Request: GET http://a/ "HTTP/1.1 {status}"',
            "_send_single_request",
        )
        for status in ("503 Service Unavailable", "200 OK")
    ]


async def test_what_a_subclass_has_in_its_place_is_called(colour: Colour) -> None:
    class Counted(httpx.AsyncClient):
        sent = 0

        async def _send_single_request(self, request: httpx.Request) -> httpx.Response:
            self.sent += 1
            return await super()._send_single_request(request)

    class CountedSync(httpx.Client):
        sent = 0

        def _send_single_request(self, request: httpx.Request) -> httpx.Response:
            self.sent += 1
            return super()._send_single_request(request)

    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    cls: Any = Counted if colour == "async" else CountedSync
    client: Any = wrap(cls(transport=transport))
    await either(client.get("http://a/"))
    assert client.sent == 1


def test_what_says_that_it_is_the_known_one_is_not_believed(colour: Colour) -> None:
    client = plain(colour, httpx.Response(200))
    theirs = client._send_single_request
    known = theirs.__func__

    def patched(self: Any, request: Any) -> Any:
        """Do anything; as if it stood in the module of what it wraps."""

    patch = FunctionType(patched.__code__, known.__globals__)
    bound = MethodType(functools.update_wrapper(patch, known), client)
    assert lean_send(bound) is bound

    class Proxy:
        """As wrapt makes them: with the class of what it wraps."""

        __class__ = MethodType  # type: ignore[assignment] # as proxies do
        __func__ = known
        __self__ = client

    proxy = Proxy()
    assert isinstance(proxy, MethodType)
    assert lean_send(proxy) is proxy


def test_one_word_makes_it_another(colour: Colour, tmp_path: Path) -> None:
    client = plain(colour, httpx.Response(200))
    known = client._send_single_request.__func__
    text = "class Copy:\n" + inspect.getsource(known)

    def is_known(text: str, file: Path, **other: Any) -> bool:
        names = {**known.__globals__, **other}
        exec(compile(text, file, "exec"), names)
        bound = MethodType(names["Copy"]._send_single_request, client)
        return lean_send(bound) is not bound

    same, changed = tmp_path / "same.py", tmp_path / "changed.py"
    same.write_text(text)
    assert is_known(text, same)
    changed.write_text(other := text.replace("request.stream", "request.body"))
    assert not is_known(other, changed)
    assert not is_known(text, tmp_path / "missing.py")
    assert not is_known(text, same, request_context=contextmanager(naming_nothing))


def naming_nothing(request: httpx.Request) -> Iterator[None]:
    yield
