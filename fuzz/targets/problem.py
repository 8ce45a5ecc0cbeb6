"""Problem documents: headers, an empty line, and the document.

`:status` and `:url` stand among the headers, as they would in HTTP/2.
"""

import copy
import json
import pickle
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from fuzz.wire import headers, joined
from resilient_http._core.retry_after import LONGEST
from resilient_http.problems import AppException, Contract
from resilient_http.problems.exception import members_of
from resilient_http.problems.jsonable import encode

WORDS: Final = (
    *(b":status: ", b"content-type: ", b"application/problem+json", b":url: "),
    *(b"retry-after: ", b"x-request-id: ", b'"type": ', b'"title": ', b'"status": '),
    *(b'"detail": ', b'"instance": ', b'"request_id": ', b'"retry_after": '),
    *(b'"errors": ', b'"sku": ', b'"left": ', b'"when": ', b'"price": ', b'"kind": '),
    *(b'"lines": ', b'"odd"', b"out-of-stock", b"validation-error", b"about:blank"),
    *(b"NaN", b"1e999", b"\\ud800", b"2020-01-01T00:00:00Z", b"Infinity", b"null"),
    *(b'"field": ', b'"message": ', b"quota-exceeded", b"rate-limit-exceeded", b"\n\n"),
)


class Line(BaseModel):
    """A member of a member."""

    sku: str
    count: Annotated[int, Field(ge=0)] = 1


class OutOfStock(AppException):
    """A problem with members of many kinds."""

    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str
    left: int = 0
    when: datetime | None = None
    price: Decimal | None = None
    kind: Literal["odd", "even"] = "odd"
    lines: list[Line] = Field(default_factory=list)
    more: dict[str, float] = Field(default_factory=dict)


_CONTRACTS: Final = (
    Contract(OutOfStock),
    Contract(OutOfStock, type_base="https://shop.example/problems/"),
)


def run(data: bytes) -> None:
    """Read it by each contract, write it, and read that."""
    head, _, body = data.partition(b"\n\n")
    fields = joined(headers(head))
    status = _status(fields.pop(":status", ""))
    url = fields.pop(":url", "https://shop.example/orders")
    fields.setdefault("content-type", "application/problem+json")
    for contract in _CONTRACTS:
        error = contract.parse(status, fields, body, url)
        _check(error, status)
        _survives(contract, error, url)


def _status(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) == len("409")
    return max(400, int(text)) if is_number else 409


def _check(error: AppException, status: int) -> None:
    assert error.status == status
    assert error.received
    assert error.retry_after is None or 0 <= error.retry_after <= LONGEST
    for said in (error.detail, error.instance, error.request_id):
        assert said is None or isinstance(said, str)
    for name, member in members_of(type(error)).items():
        value = getattr(error, name)
        assert value == member.default() or member.check(value) == value
    assert str(error)
    assert repr(error)


def _survives(contract: Contract, error: AppException, url: str) -> None:
    written = encode(contract.document(error))
    document = _strictly(written)
    kind = {"content-type": "application/problem+json"}
    again = contract.parse(error.status, kind, written, url)
    assert _strictly(encode(contract.document(again))) == document
    for copied in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - of our own
        assert _strictly(encode(contract.document(copied))) == document


def _strictly(written: bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(written, parse_constant=refuse)
