"""A problem as an exception: how a class declares one, and what each one carries."""

import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Literal,
    Self,
    TypeVar,
    dataclass_transform,
)

from pydantic import Field

from resilient_http.problems.members import Member, declared
from resilient_http.problems.models import ABOUT_BLANK

if TYPE_CHECKING:
    import httpx

    from resilient_http._core.attempt import Attempt

Retry = Literal["never", "same_key", "after_delay"]
_Problem = TypeVar("_Problem", bound="AppException")


def _attribute(*, default: Any, init: bool = True, kw_only: bool = True) -> Any:  # noqa: ARG001 - read by type checkers
    return default


@dataclass_transform(
    eq_default=False, kw_only_default=True, field_specifiers=(_attribute, Field)
)
class _Declared:
    """What type checkers are told of a problem class: its own, and its members."""

    type: ClassVar[str]
    """Which problem it is: a URI, or a slug to resolve against a `type_base`."""

    title: ClassVar[str]
    """The same words for every occurrence."""

    status: ClassVar[int]
    """The HTTP status it is answered with, 400 to 999."""

    retry: ClassVar[Retry | None] = None
    """Whether a client may repeat the request; None leaves it to the status.

    "after_delay": yes, after a wait. "same_key": yes, with the same `Idempotency-Key`.
    "never": no, whatever the status.
    """

    work_not_started: ClassVar[bool] = False
    """Whether it is only ever answered before the handler has run.

    If so, repeating even a POST is safe, and the answer says nothing bad about the
    health of the service.
    """


class AppException(_Declared, Exception):  # noqa: N818 - the name users know
    """A problem, as an exception. Subclass it once for each problem type.

    A subclass sets `type`, `title` and `status`, and declares its extension members as
    annotated fields, which pydantic checks. Without a `type` it is abstract: a base for
    others, which inherit title, status and members, and never a type.

    Raises:
        TypeError: A member is missing, unknown or of the wrong type; a class is
            declared without title or status, or with a member whose name is taken.

    Example:
        >>> class OutOfStock(AppException):
        ...     '''The shelf is empty.'''
        ...     type = "out-of-stock"; title = "Out of stock"; status = 409
        ...     sku: str
        ...     available: int = 0
        >>> raise OutOfStock("Only 2 left", sku="A1", available=2)
        Traceback (most recent call last):
        resilient_http.problems.exception.OutOfStock: Out of stock: Only 2 left

    """

    detail: str | None = _attribute(default=None, kw_only=False)
    """What happened this time, for people."""

    instance: str | None = _attribute(default=None)
    """A URI for this occurrence. None on a server: the path of the request."""

    headers: Mapping[str, str] | None = _attribute(default=None)
    """Headers to answer with besides. None on the client: see `response`."""

    extra: Mapping[str, Any] = _attribute(default={})
    """Members that the class does not declare."""

    retry_after: float | None = _attribute(default=None)
    """Least wait, in seconds, before asking again; None if nothing was said."""

    request_id: str | None = _attribute(default=None, init=False)
    """The id of the request that failed, as the server knows it."""

    response: "httpx.Response | None" = _attribute(default=None, init=False)
    """On the client, the answer that carried the problem. None for a local one."""

    request: "httpx.Request | None" = _attribute(default=None, init=False)
    """On the client, the request as it was last sent, or would have been."""

    attempts: "tuple[Attempt, ...]" = _attribute(default=(), init=False)
    """On the client, every send of the call, in order."""

    received: bool = _attribute(default=False, init=False)
    """Whether it came from calling another service, not from code that raised it.

    True for what the client raises. A server that lets one escape answers 502, 503 or
    504: it is not the caller who went wrong.
    """

    type = ABOUT_BLANK
    title = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    status = 500
    _members: ClassVar[Mapping[str, Member]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._members = {**cls._members, **declared(cls, _TAKEN)}
        _check_definition(cls)

    if not TYPE_CHECKING:  # type checkers see one built from the annotations instead

        def __init__(
            self,
            detail: str | None = None,
            *,
            instance: str | None = None,
            headers: Mapping[str, str] | None = None,
            extra: Mapping[str, Any] | None = None,
            retry_after: float | None = None,
            **fields: Any,
        ) -> None:
            cls = type(self)
            if _is_abstract(cls):
                raise TypeError(f"{cls.__name__} has no type: raise a subclass of it")
            Exception.__init__(self, *(() if detail is None else (detail,)))
            self.detail = _text(cls, "detail", detail)
            self.instance = _text(cls, "instance", instance)
            self.headers = _mapping(cls, "headers", headers)
            self.extra = _mapping(cls, "extra", extra) or {}
            self.retry_after = _seconds(cls, "retry_after", retry_after)
            vars(self).update(_checked(cls, fields))

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.title, self.detail) if part)
        if self.request is None:
            return text
        # Neither the query nor the userinfo: they may hold secrets, and this is logged.
        url = self.request.url.copy_with(query=None, fragment=None, userinfo=b"")
        return f"{text} ({self.request.method} {url})"

    def __repr__(self) -> str:
        members = [f"{name}={value!r}" for name, value in values_of(self).items()]
        detail = [] if self.detail is None else [repr(self.detail)]
        return f"{type(self).__name__}({', '.join(detail + members)})"

    def __eq__(self, other: object) -> bool:
        """Compare what was said: class, status, detail, members, extra members.

        Not where and when: instance, request id, and on which end it stands.
        """
        if not isinstance(other, AppException):
            return NotImplemented
        return _identity(self) == _identity(other)

    def __hash__(self) -> int:
        return hash(_identity(self)[:4])

    def __copy__(self) -> Self:
        twin = self.__class__.__new__(self.__class__, *self.args)
        vars(twin).update(vars(self))
        return twin

    def __reduce__(self) -> tuple[Callable[..., "AppException"], tuple[Any, ...]]:
        # As the contract's class, which both ends can import, and without the response.
        kept = {k: v for k, v in vars(self).items() if k not in ("response", "request")}
        return _revive, (contract_class(type(self)), self.args, kept)


_TAKEN: Final = frozenset(dir(AppException))


def members_of(cls: type[AppException]) -> Mapping[str, Member]:
    """Return the declared extension members of `cls`, inherited ones included."""
    return cls._members


def values_of(error: AppException) -> dict[str, Any]:
    """Return the values of the declared members."""
    return {name: getattr(error, name, None) for name in members_of(type(error))}


def contract_class(cls: type[AppException]) -> type[AppException]:
    """Return the class as it was declared, under what the client wove around it."""
    return next(c for c in cls.__mro__ if "_woven" not in vars(c))


def _identity(error: AppException) -> tuple[Any, ...]:
    said = (error.type, error.status, error.detail)
    return contract_class(type(error)), *said, values_of(error), error.extra


def _revive(
    cls: type[_Problem], args: tuple[Any, ...], state: Mapping[str, Any]
) -> _Problem:
    # Past __init__: a subclass may ask for arguments that no document carries.
    error = cls.__new__(cls, *args)
    vars(error).update(state)
    return error


def _is_abstract(cls: type[AppException]) -> bool:
    return "type" not in vars(contract_class(cls))


def _checked(cls: type[AppException], fields: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := fields.keys() - members_of(cls).keys():
        raise TypeError(f"{cls.__name__} has no member {min(unknown)!r}")
    values = {}
    for name, member in members_of(cls).items():
        if name in fields:
            try:
                values[name] = member.check(fields[name])
            except TypeError as error:
                raise TypeError(f"{cls.__name__}.{error}") from None
        elif member.is_required:
            raise TypeError(f"{cls.__name__} needs its member {name!r}")
        else:
            values[name] = member.default()
    return values


def _text(cls: type, name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{cls.__name__}.{name} must be text or None, got {value!r}")


def _mapping(cls: type, name: str, value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    raise TypeError(f"{cls.__name__}.{name} must map names to values, got {value!r}")


def _seconds(cls: type, name: str, value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and value >= 0:
        return float(value)
    raise TypeError(f"{cls.__name__}.{name} must be seconds, at least 0, got {value!r}")


def _check_definition(cls: type[AppException]) -> None:
    own: Mapping[str, Any] = vars(cls)
    if "type" in own:
        _check_type(cls, own["type"])
    title: Any = cls.title
    if not (isinstance(title, str) and title.strip()):
        raise TypeError(f"{cls.__name__}.title must be text, got {title!r}")
    known = range(400, 1000)  # RFC 9110, section 15.5 on, and three digits
    if type(cls.status) is not int or cls.status not in known:
        raise TypeError(f"{cls.__name__}.status must be 400..999, got {cls.status!r}")
    if cls.retry not in (None, "never", "same_key", "after_delay"):
        raise TypeError(f"{cls.__name__}.retry is unknown: {cls.retry!r}")


def _check_type(cls: type[AppException], uri: Any) -> None:
    is_text = isinstance(uri, str) and uri.strip() != "" and uri.isprintable()
    if not is_text or uri == ABOUT_BLANK:
        raise TypeError(f"{cls.__name__}.type must be a URI or a slug, got {uri!r}")
    ours = cls.__mro__[: cls.__mro__.index(AppException)]
    for name in ("title", "status"):
        if not any(name in vars(base) for base in ours):
            raise TypeError(f"{cls.__name__} has a type and no {name}")
