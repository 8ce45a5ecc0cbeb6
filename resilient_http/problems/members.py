"""The typed extension members of a problem class, and the checks on its definition."""

import re
import sys
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, PydanticUndefined

from resilient_http.problems.jsonable import encode, jsonable

STANDARD: Final = ("type", "title", "status", "detail", "instance")
"""The members RFC 9457 defines, section 3.1."""

RESERVED: Final = frozenset(
    {
        *STANDARD,
        *("request", "response", "args", "url", "headers", "extra", "retry"),
        *("request_id", "retry_after", "attempts", "received", "work_not_started"),
    }
)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Member:
    """One extension member: its name, its type, its default."""

    name: str
    adapter: TypeAdapter[Any]
    info: FieldInfo

    @property
    def is_required(self) -> bool:
        """Whether a problem cannot be raised without it."""
        return self.info.is_required()

    def default(self) -> Any:
        """Return a fresh default, or None where there is none."""
        value = self.info.get_default(call_default_factory=True, validated_data={})
        return None if value is PydanticUndefined else value

    def check(self, value: object) -> Any:
        """Return `value` as the member's type.

        Raises:
            TypeError: It is not one. The message names the member, shows the value.

        """
        try:
            return self.adapter.validate_python(value)
        except ValidationError as error:
            reason = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise TypeError(f"{self.name}: {reason}, got {value!r}") from None

    def read(self, value: object) -> Any:
        """Return what `value`, as it came off the wire, stands for.

        Raises:
            ValueError: It does not stand for a value of this member's type.

        """
        # As JSON, not as Python: strict types take a date from text in JSON alone.
        return self.adapter.validate_json(encode(value))

    def read_or_default(self, document: Mapping[str, Any]) -> Any:
        """Return this member of `document`, or its default if missing or wrong."""
        try:
            return self.read(document[self.name])
        except (KeyError, ValueError):
            return self.default()

    def write(self, value: object) -> Any:
        """Return `value` in its JSON form."""
        try:
            known = self.adapter.dump_python(value, mode="json", warnings=False)
        except (PydanticSerializationError, ValueError):
            known = value  # changed since it was checked, or not text after all
        return jsonable(known)


def declared(cls: type, taken: frozenset[str]) -> dict[str, Member]:
    """Return the members that the body of `cls` itself declares.

    Args:
        cls: A class under construction, called from its `__init_subclass__`.
        taken: Names that mean something on every problem.

    Raises:
        TypeError: A member has a taken name, or a type pydantic cannot check.

    """
    # One frame up is __init_subclass__, the next is where the class is being defined:
    # a class made inside a function may name types that are local to it.
    around = sys._getframe(2).f_locals  # noqa: SLF001 - no other way to it
    found = {}
    for name, annotation in _own_annotations(cls, around).items():
        if annotation is ClassVar or get_origin(annotation) is ClassVar:
            continue
        _check_name(cls, name, taken)
        found[name] = _member(cls, name, annotation)
    return found


def _own_annotations(cls: type, around: Mapping[str, Any]) -> dict[str, Any]:
    own = cls.__annotations__ if "__annotations__" in vars(cls) else {}
    if sys.version_info >= (3, 14):
        own = cls.__annotations__  # evaluated on demand, and not found in vars()
    stand_in = type(cls.__name__, (), {"__module__": cls.__module__})
    stand_in.__annotations__ = dict(own)
    try:
        return typing.get_type_hints(stand_in, None, dict(around), include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{cls.__name__}: a member's type is unknown: {error}"
        ) from None


def _check_name(cls: type, name: str, taken: frozenset[str]) -> None:
    if name in RESERVED or name in taken:
        raise TypeError(
            f"{cls.__name__}.{name}: the name is taken; every problem has its own "
            f"{name!r} (write `{name} = ...`, without a type, to set a class's own)"
        )
    if name.startswith("_"):
        raise TypeError(f"{cls.__name__}.{name}: a member's name starts with a letter")
    if not _NAME.fullmatch(name):
        warnings.warn(
            f"{cls.__name__}.{name}: RFC 9457, section 3.2, asks for names of three or "
            "more ASCII letters, digits and underscores",
            stacklevel=5,
        )


def _member(cls: type, name: str, annotation: Any) -> Member:
    default = vars(cls).get(name, PydanticUndefined)
    info = FieldInfo.from_annotated_attribute(annotation, default)
    if info.alias is not None:
        raise TypeError(f"{cls.__name__}.{name}: no alias is supported: {info.alias!r}")
    try:
        # Annotated wants something to say; None says nothing.
        kind: Any = Annotated[(info.annotation, *info.metadata, None)]
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
    except PydanticUserError as error:
        raise TypeError(f"{cls.__name__}.{name}: {error}") from None
    if isinstance(default, FieldInfo):
        delattr(cls, name)  # or it would be found where the value belongs
    return Member(name, adapter, info)
