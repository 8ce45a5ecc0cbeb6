"""What validators found wrong with a request, as the `errors` of one problem.

A value is only repeated to the caller where it is safe to: see `_value`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from resilient_http.problems import ValidationError, ValidationException

LOCATIONS: Final = frozenset({"body", "query", "path", "header", "cookie"})
MAX_VALUE: Final = 100
"""Characters of a value that are repeated."""

_SECRET: Final = re.compile(
    "passw|passphrase|passcode|pwd|secret|token|apikey|accesskey|privatekey|authoriz"
    "|credential|cookie|session|signature|cardnumber|creditcard|accountnumber|bearer"
)
_SECRET_WORDS: Final = frozenset(
    {"auth", "card", "cvc", "cvv", "iban", "jwt", "key", "otp", "pass", "pin", "ssn"}
)
# Pydantic calls it a value_error, like whatever a validator of a user's raises.
_NO_EMAIL: Final = "value is not a valid email address"
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# RFC 3986, section 3.5: what a fragment holds unescaped; quote() leaves `~` alone.
_IN_FRAGMENT: Final = "!$&'()*+,;=:@?"


def from_pydantic(
    errors: Iterable[object], *, body: object = None, located: bool = True
) -> ValidationException:
    """Return the problem for errors as pydantic lists them.

    Args:
        errors: Mappings with `loc`, `msg`, `type` and `input`; each may be missing.
        body: The parsed body they are about, if it is known.
        located: Whether the first part of a `loc` says where the field was looked
            for, as in FastAPI. If not, they are about a document of their own.

    """
    return problem_of([_found(error, body, located=located) for error in errors])


def problem_of(errors: Sequence[ValidationError]) -> ValidationException:
    """Return the one problem for all of `errors`."""
    fields = len({(error.location, error.field) for error in errors})
    # The two forms in which the brief shows the sentence.
    noun = "field(s)" if fields == 1 else "fields"
    detail = f"Request validation failed for {fields} {noun}"
    return ValidationException(detail, errors=list(errors))


def pointer(path: Iterable[str | int]) -> str:
    """Return a JSON Pointer as a URI fragment (RFC 6901, section 6)."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join(
        "/" + quote(part, safe=_IN_FRAGMENT, errors="replace") for part in escaped
    )


def looks_secret(name: str) -> bool:
    """Tell whether a field of this name may hold what only its owner should see."""
    if _SECRET.search(re.sub("[^a-z]", "", name.lower())):
        return True
    return not _SECRET_WORDS.isdisjoint(word.lower() for word in _WORD.findall(name))


def _found(error: object, body: object, *, located: bool) -> ValidationError:
    said: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    where = [part for part in said.get("loc") or () if isinstance(part, str | int)]
    location = (
        str(where.pop(0)) if located and where and where[0] in LOCATIONS else None
    )
    in_body = location == "body" or not located
    kind = str(said.get("type", "invalid"))
    if in_body and kind == "json_invalid" and len(where) == 1:
        where = []  # an offset into the text, as FastAPI tells it
    path = _in_document(where, body, said) if in_body else where
    return ValidationError(
        field=".".join(map(str, path)) or location or "body",
        message=str(said.get("msg", "Invalid value")),
        type="format" if _is_format(said) else kind,
        value=_value(said, location, path),
        pointer=pointer(path) if in_body else None,
        location=location,
    )


def _in_document(
    where: Sequence[str | int], body: object, said: Mapping[str, Any]
) -> list[str | int]:
    """Return the part of `where` that is in `body`, and the field that should be.

    Pydantic also names the branches of a union that it tried, which no caller sent.
    """
    if not isinstance(body, dict | list):
        return list(where)
    path: list[str | int] = []
    node: Any = body
    for number, part in enumerate(where, start=1):
        if _holds(node, part):
            path.append(part)
            node = node[part]
        elif number == len(where) and isinstance(node, dict):
            is_own = said.get("input") is node and not _is_missing(said)
            path += [] if is_own else [part]
    return path


def _holds(node: object, part: str | int) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and 0 <= part < len(node)


def _is_format(said: Mapping[str, Any]) -> bool:
    """Tell whether text is not written as it should be, in the brief's one word."""
    is_email = str(said.get("msg", "")).startswith(_NO_EMAIL)
    return is_email or said.get("type") == "string_pattern_mismatch"


def _is_missing(said: Mapping[str, Any]) -> bool:
    return str(said.get("type", "")).startswith("missing")


def _value(
    said: Mapping[str, Any], location: str | None, path: Sequence[str | int]
) -> str | float | None:
    """Return what was sent for the field, if it may be repeated; else None.

    Not for a missing field, whose `input` is all the others; not where the whole body
    is at fault; not what has a structure of its own; and no secrets.
    """
    value = said.get("input")
    if not path or _is_missing(said) or location == "cookie":
        return None
    if any(looks_secret(str(part)) for part in path):
        return None
    if isinstance(value, str):
        return value[:MAX_VALUE]
    if not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or abs(value) < 10**MAX_VALUE else None
