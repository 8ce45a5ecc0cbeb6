"""The four handlers, registered by hand in an app that is not wrapped."""

from typing import Any

import pydantic
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import server_kit
from resilient_http import context
from resilient_http.problems import MEDIA_TYPE, AppException, RateLimitException
from server_kit import (
    app_exception_handler,
    generic_exception_handler,
    pydantic_validation_exception_handler,
    validation_exception_handler,
)
from tests.server.apps import SECRET, OutOfStock, ask, fastapi_app, serve


class User(BaseModel):
    email: str
    path: str = ""
    password: int = 0


def service() -> FastAPI:
    app = fastapi_app()
    app.add_exception_handler(AppException, app_exception_handler)
    app.add_exception_handler(RequestValidationError, validation_exception_handler)
    app.add_exception_handler(
        pydantic.ValidationError, pydantic_validation_exception_handler
    )
    app.add_exception_handler(Exception, generic_exception_handler)

    @app.post("/api/v1/users")
    async def create(user: User) -> None: ...

    @app.get("/data")
    async def limited() -> None:
        raise RateLimitException(
            "Rate limit exceeded. Retry after 60 seconds",
            *(),
            retry_after=59.5,
            limit=100,
            remaining=0,
        )

    @app.get("/checked")
    async def checked() -> None:
        User.model_validate({"email": 5, "path": 6, "password": "hunter2"})

    return app


async def test_a_problem_has_the_shape_of_the_brief() -> None:
    answer = await ask(service(), "/data")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["retry-after"] == "60"
    assert answer.json() == {
        "type": "rate-limit-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Rate limit exceeded. Retry after 60 seconds",
        "instance": "/data",
        "limit": 100,
        "remaining": 0,
        "retry_after": 60,
    }


async def test_an_invalid_request_has_the_shape_of_the_brief() -> None:
    sent = {"email": 5}
    headers = {"X-Request-ID": "abc123"}
    answer = await ask(service(), "/api/v1/users", "POST", json=sent, headers=headers)
    assert answer.status_code == 422
    body = answer.json()
    assert list(body) == [
        *("type", "title", "status", "detail", "instance", "request_id", "errors")
    ]
    assert body["detail"] == "Request validation failed for 1 field(s)"
    assert body["request_id"] == "abc123"
    assert body["errors"][0]["field"] == "email"


async def test_invalid_data_outside_a_request_names_its_fields() -> None:
    answer = await ask(service(), "/checked")
    assert answer.status_code == 422
    errors = {error["field"]: error for error in answer.json()["errors"]}
    assert errors["email"]["value"] == 5
    assert errors["path"]["pointer"] == "#/path"
    assert "location" not in errors["email"]
    assert "hunter2" not in answer.text


@pytest.mark.case("9457-26")
async def test_a_crash_tells_nothing_and_reaches_the_server() -> None:
    served = await serve(service(), "/crash")
    assert served.sent[0]["status"] == 500
    assert b"internal-server-error" in served.sent[1]["body"]
    assert SECRET.encode() not in served.sent[1]["body"]
    assert isinstance(served.error, RuntimeError)


@pytest.mark.parametrize(
    ("error", "status"), [(HTTPException(403), 403), (OutOfStock(sku="A"), 409)]
)
async def test_the_generic_handler_knows_the_others(
    error: Exception, status: int
) -> None:
    request: Any = type("Request", (), {"scope": {"type": "http", "path": "/"}})()
    for handler in (
        *(generic_exception_handler, app_exception_handler),
        *(validation_exception_handler, pydantic_validation_exception_handler),
    ):
        assert (await handler(request, error)).status_code == status


async def test_the_id_of_the_request_is_found_where_it_is_known() -> None:
    app = service()
    assert "request_id" not in (await ask(app, "/data")).json()
    token = context.request_id.set("around")
    try:
        headers = {"X-Request-ID": "r-1"}
        answer = await ask(app, "/data", headers=headers)
        assert answer.json()["request_id"] == "around"
    finally:
        context.request_id.reset(token)
    answer = await ask(server_kit.wrap(app), "/data", headers={"X-Request-ID": "r-2"})
    assert answer.json()["request_id"] == "r-2"


async def test_a_problem_of_a_head_request_has_no_body() -> None:
    app = service()
    app.add_api_route("/head", app.routes[-2].endpoint, methods=["HEAD"])  # type: ignore[attr-defined]  # the route of /data
    served = await serve(app, "/head", method="HEAD")
    assert served.sent[1]["body"] == b""
    assert dict(served.sent[0]["headers"])[b"content-length"] != b"0"
