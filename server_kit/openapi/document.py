"""Problems written into an OpenAPI document. Knows no framework."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from resilient_http.problems import MEDIA_TYPE, AppException, Contract
from server_kit.openapi.raises import described, statuses_of
from server_kit.openapi.schemas import REF, schema_of

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is known of one operation besides its description."""

    declared: tuple[type[AppException], ...] = ()
    """What its author says it may raise."""

    implied: tuple[type[AppException], ...] = ()
    """What it may answer by what it uses."""

    replaced: frozenset[str] = frozenset()
    """Statuses whose description is the framework's, and not so in a wrapped app."""


Operations: TypeAlias = Mapping[tuple[str, str], Operation]
"""By path template and method, in lower case."""

_FASTAPIS: Final = ("HTTPValidationError", "ValidationError")


def describe(document: Document, contract: Contract, operations: Operations) -> None:
    """Add to `document` what `operations` may answer; what its author wrote stays.

    Args:
        document: An OpenAPI 3.1 document, changed in place.
        contract: How problems are written.
        operations: What is known of those that are described; others are left alone.

    """
    found = [
        (written, operations[path, method])
        for path, item in document.get("paths", {}).items()
        for method, written in item.items()
        if (path, method) in operations
    ]
    for written, operation in found:
        for status in operation.replaced:
            written.get("responses", {}).pop(status, None)
    _drop_unused(document)
    schemas = _Schemas(document, contract)
    for written, operation in found:
        _describe(written.setdefault("responses", {}), operation, schemas)


def _describe(
    responses: dict[str, Any], operation: Operation, schemas: "_Schemas"
) -> None:
    known = set(responses)
    declared = _by_status(operation.declared)
    implied = _by_status(operation.implied)
    for status in sorted({*declared, *implied}):
        # A range of the author's own, or a default, covers what is only implied.
        around = {str(status)}
        if status not in declared:
            around |= {"default", f"{status // 100}XX"}
        if known.isdisjoint(around):
            both = [*declared.get(status, ()), *implied.get(status, ())]
            problems = list(dict.fromkeys(both))
            responses[str(status)] = _response(problems, schemas)


def _by_status(
    problems: Iterable[type[AppException]],
) -> dict[int, list[type[AppException]]]:
    found: dict[int, list[type[AppException]]] = {}
    for problem in problems:
        for status in statuses_of(problem):
            found.setdefault(status, []).append(problem)
    return found


def _response(
    problems: list[type[AppException]], schemas: "_Schemas"
) -> dict[str, Any]:
    references = {schemas.uri(problem): schemas.ref(problem) for problem in problems}
    schema: dict[str, Any] = {"$ref": next(iter(references.values()))}
    if len(references) > 1:
        schema = {
            "oneOf": [{"$ref": reference} for reference in references.values()],
            "discriminator": {"propertyName": "type", "mapping": references},
        }
    return {
        "description": described(problems),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


class _Schemas:
    """The components of a document, and the problems among them."""

    def __init__(self, document: Document, contract: Contract) -> None:
        self._document = document
        self._contract = contract
        self._names: dict[type[AppException], str] = {}

    def uri(self, problem: type[AppException]) -> str:
        return self._contract.types.get(problem, problem.type)

    def ref(self, problem: type[AppException]) -> str:
        """Return a reference to the schema of `problem`, which is added once."""
        if problem not in self._names:
            schema, others = schema_of(problem, self.uri(problem))
            renamed = {name: self._put(name, other) for name, other in others.items()}
            for name, given in renamed.items():
                schema = _repointed(schema, REF + name, REF + given)
            self._names[problem] = self._put(problem.__name__, schema)
        return REF + self._names[problem]

    def _put(self, name: str, schema: dict[str, Any]) -> str:
        """Add a schema under `name`, or under another if that is somebody else's."""
        components = self._document.setdefault("components", {})
        known = components.setdefault("schemas", {})
        while known.setdefault(name, schema) != schema:
            name += "Problem"
        return name


def _repointed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {
            key: new if (key, item) == ("$ref", old) else _repointed(item, old, new)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_repointed(item, old, new) for item in value]
    return value


def _drop_unused(document: Document) -> None:
    """Take out FastAPI's schemas of a 422, if nothing refers to them any more."""
    known = document.get("components", {}).get("schemas", {})
    for name in _FASTAPIS:
        schema = known.get(name, {})
        is_theirs = not {"detail", "loc"}.isdisjoint(schema.get("properties", {}))
        if is_theirs and f'"{REF}{name}"' not in json.dumps(document, default=str):
            del known[name]
    if "components" in document and not known:
        document["components"].pop("schemas", None)
