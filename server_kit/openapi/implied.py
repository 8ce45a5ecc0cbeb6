"""What a route may answer that nobody has to declare."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from resilient_http.problems import (
    AppException,
    BadRequestException,
    Contract,
    DeadlineExceededException,
    GatewayTimeoutException,
    IdempotencyKeyInProgressException,
    IdempotencyKeyMissingException,
    IdempotencyKeyReusedException,
    InternalServerException,
    OverloadedException,
    ValidationException,
)

_KEYED: tuple[str, ...] = ("post", "patch")


@dataclass(frozen=True, slots=True)
class Documented:
    """What a kit knows of the documents of the apps in it."""

    contract: Contract | None
    """How problems are written; None: as in the kit around it."""

    everywhere: Callable[[str], tuple[type[AppException], ...]]
    """What any operation of a method may answer."""

    def within(self, around: "Documented | None") -> "Documented":
        """Return this, with what it leaves to the kit around it."""
        if self.contract is not None or around is None:
            return self
        return Documented(around.contract, self.everywhere)


def by_settings(settings: Any, method: str) -> tuple[type[AppException], ...]:
    """Return what the parts of a kit may answer in a handler's place.

    Not 404 and 405, which belong to no operation.

    Args:
        settings: The arguments of `wrap`, by name. A part that is None is off.
        method: In lower case.

    """
    return tuple(_by_settings(settings, method))


def _by_settings(settings: Any, method: str) -> Iterator[type[AppException]]:
    yield InternalServerException
    if settings.deadlines is not None:
        yield from (DeadlineExceededException, GatewayTimeoutException)
    if settings.shedding is not None:
        yield OverloadedException
    if settings.idempotency is not None and method in _KEYED:
        yield IdempotencyKeyMissingException
        yield IdempotencyKeyInProgressException
        yield IdempotencyKeyReusedException


def by_input(*, has_parameters: bool, has_body: bool) -> Iterator[type[AppException]]:
    """Yield what may be wrong with what an operation takes."""
    if has_parameters or has_body:
        yield ValidationException
    if has_body:  # which cannot even be read
        yield BadRequestException
