"""The documents as data: for OpenAPI schemas, and for reading one by hand."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict

MEDIA_TYPE: Final = "application/problem+json"
ABOUT_BLANK: Final = "about:blank"
"""The type of a problem that is no more than its status (RFC 9457, section 4.2.1)."""


class ProblemDetail(BaseModel):
    """A problem document, as RFC 9457 lays it out."""

    model_config = ConfigDict(extra="allow")

    type: str = ABOUT_BLANK
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
    request_id: str | None = None


class ValidationError(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    message: str
    type: str
    value: Any = None
    """What was sent, where it is safe to repeat; None otherwise."""
    pointer: str | None = None
    """For a field of the body: a JSON Pointer as a URI fragment (RFC 6901, 6)."""
    location: str | None = None
    """Where the field was looked for: body, query, path, header or cookie."""


class ValidationProblemDetail(ProblemDetail):
    """The document of a 422: one problem for all the fields that are wrong."""

    errors: list[ValidationError]
