"""The JSON schema of a problem, as it is on the wire."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic.errors import PydanticInvalidForJsonSchema

from resilient_http.problems import AppException
from resilient_http.problems.exception import members_of
from server_kit.openapi.raises import statuses_of

REF: Final = "#/components/schemas/"
_WAITED_FOR: Final = frozenset({429, 503})


def schema_of(
    problem: type[AppException], uri: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of `problem`, and those that it refers to, by name.

    Args:
        problem: A class with a type.
        uri: Its type as it stands on the wire, by which it is told from others.

    """
    members: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, schema in _members(problem):
        others |= schema.pop("$defs", {})
        members[name] = schema
    schema = {
        "title": problem.__name__,
        "description": meaning_of(problem),
        "type": "object",
        "properties": _standard(problem, uri) | members,
        "required": ["type", "title", "status", *members],
    }
    return schema, others


def meaning_of(problem: type[AppException]) -> str:
    """Return what the class says of itself, or its title."""
    said = vars(problem).get("__doc__")
    return inspect.cleandoc(said) if said else problem.title


def _standard(problem: type[AppException], uri: str) -> dict[str, Any]:
    first, *others = statuses_of(problem)
    status = {"enum": [first, *others]} if others else {"const": first}
    standard: dict[str, Any] = {
        "type": {"type": "string", "const": uri},
        "title": {"type": "string", "examples": [problem.title]},
        "status": {"type": "integer", **status},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference"},
        "request_id": {"type": "string"},
    }
    if problem.retry is not None or problem.status in _WAITED_FOR:
        wait = {"type": "integer", "minimum": 0, "description": "Seconds to wait."}
        standard["retry_after"] = wait
    return standard


def _members(problem: type[AppException]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, member in members_of(problem).items():
        try:
            found: Mapping[str, Any] = member.adapter.json_schema(
                mode="serialization", ref_template=REF + "{model}"
            )
        except PydanticInvalidForJsonSchema:  # written all the same, in some form
            found = {}
        schema = dict(found)
        if member.info.description:
            schema["description"] = member.info.description
        yield name, schema
