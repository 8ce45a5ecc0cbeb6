"""Which problem an exception of somebody else's stands for, and which of several."""

from typing import Any

import pytest
from starlette.exceptions import HTTPException

import server_kit
from resilient_http.problems import (
    AppException,
    BadGatewayException,
    ConflictException,
    GatewayTimeoutException,
    NotFoundException,
    ServiceUnavailableException,
)
from server_kit.asgi import Receive, Scope, Send
from server_kit.translation import problem_for
from tests.server.apps import APPS, SECRET, SHOP, OutOfStock, ask, fail, serve

every_app = pytest.mark.parametrize("name", APPS)


class DriverError(Exception):
    """What a library raises, of which we know nothing."""


class DuplicateError(DriverError):
    pass


class Base(AppException):
    title = "Something"
    status = 400


class Teapot(HTTPException):
    def __init__(self) -> None:
        super().__init__(418)


def as_conflict(error: Exception) -> AppException | None:
    return ConflictException("There is one already", extra={"row": str(error)})


TABLE: dict[type[Exception], Any] = {
    RuntimeError: ServiceUnavailableException,
    DriverError: BadGatewayException,
    DuplicateError: as_conflict,
}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DuplicateError("7"), ConflictException),
        (DriverError("lost"), BadGatewayException),
        (type("Lost", (DuplicateError,), {})(), ConflictException),
        (TimeoutError(), type(None)),
        (HTTPException(404), NotFoundException),
        (ExceptionGroup("", [DuplicateError("7")]), ConflictException),
    ],
    ids=repr,
)
def test_the_nearest_class_decides(error: Exception, kind: type) -> None:
    assert type(problem_for(error, TABLE)) is kind


def test_an_entry_may_be_nearer_than_what_is_known_and_never_wider() -> None:
    wide = problem_for(HTTPException(404), {Exception: BadGatewayException})
    assert type(wide) is NotFoundException
    for cls in (Teapot, HTTPException):
        near = problem_for(Teapot(), {cls: BadGatewayException})
        assert type(near) is BadGatewayException


def test_a_problem_is_what_it_is() -> None:
    error = OutOfStock(sku="A1")
    assert problem_for(error, {Exception: BadGatewayException}) is error


def test_a_function_may_say_that_it_is_a_crash_after_all() -> None:
    assert problem_for(DriverError(), {DriverError: lambda _: None}) is None


@every_app
async def test_in_every_framework_a_mapped_exception_is_a_problem(name: str) -> None:
    app = server_kit.wrap(APPS[name](), contract=SHOP, exceptions=TABLE)
    served = await serve(app, "/crash")
    assert served.error is None
    assert served.sent[0]["status"] == 503
    assert SECRET.encode() not in served.sent[1]["body"]
    assert (await ask(app, "/problem")).status_code == 409


async def test_the_cause_of_a_mapped_failure_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fail("/crash")

    answer = await ask(server_kit.wrap(app, exceptions=TABLE), "/")
    assert answer.status_code == 503
    assert SECRET in caplog.text
    assert answer.headers["x-request-id"] in caplog.text


@pytest.mark.parametrize("broken", [lambda _: 5, lambda _: 1 / 0], ids=["5", "1/0"])
async def test_a_function_that_fails_leaves_a_crash(broken: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise DriverError(SECRET)

    served = await serve(server_kit.wrap(app, exceptions={DriverError: broken}))
    assert served.sent[0]["status"] == 500
    assert isinstance(served.error, DriverError)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([(KeyError, NotFoundException)], r"must be a mapping, got \[\("),
        ({"KeyError": NotFoundException}, "must map exception classes, got 'KeyError'"),
        ({KeyboardInterrupt: NotFoundException}, "must map exception classes, got <"),
        ({NotFoundException: ConflictException}, "NotFoundException.*never mapped"),
        ({ExceptionGroup: ConflictException}, "ExceptionGroup.*never mapped"),
        ({KeyError: 404}, r"exceptions\[KeyError\] must be a problem class, got 404"),
        ({KeyError: ValueError}, r"exceptions\[KeyError\] must be a problem class"),
        ({KeyError: OutOfStock}, "without arguments: OutOfStock needs its .*'sku'"),
        ({KeyError: Base}, "without arguments: Base has no type"),
    ],
)
def test_a_bad_entry_is_named_at_once(table: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        server_kit.wrap(fail, exceptions=table)


def test_a_table_is_as_it_was_when_it_was_given() -> None:
    given: dict[type[Exception], Any] = {}
    app: Any = server_kit.wrap(fail, exceptions=given)
    given[KeyError] = NotFoundException
    assert KeyError not in object.__getattribute__(app, "_settings").exceptions


@pytest.mark.case("9457-23", "S57")
@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([NotFoundException(), OutOfStock(sku="A1")], 404),
        ([NotFoundException(), GatewayTimeoutException(), HTTPException(503)], 504),
        ([ExceptionGroup("", [NotFoundException()]), OutOfStock(sku="A1")], 404),
    ],
)
def test_of_several_problems_the_most_urgent_is_told(
    errors: list[Exception], status: int
) -> None:
    found = problem_for(ExceptionGroup("tasks", errors))
    assert found is not None
    assert found.status == status


def test_a_group_with_a_crash_in_it_is_a_crash() -> None:
    assert problem_for(ExceptionGroup("", [NotFoundException(), ValueError()])) is None


@pytest.mark.case("9457-27", "9457-28")
async def test_an_occurrence_may_have_a_urn_of_its_own() -> None:
    app = server_kit.wrap(APPS["raw"](), instance="urn")
    known = {"X-Request-ID": "r-1"}
    first, second = [(await ask(app, "/nowhere", headers=known)) for _ in range(2)]
    said = first.json()["instance"]
    assert said.startswith("urn:uuid:")
    assert said != second.json()["instance"]
    assert first.json()["request_id"] == "r-1"
    with pytest.raises(ValueError, match="instance must be path or urn, got 'url'"):
        server_kit.wrap(fail, instance="url")  # type: ignore[arg-type]  # the claim
