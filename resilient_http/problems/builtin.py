"""The problems every service has: one class for each usual status, and our own."""

from resilient_http.problems.exception import AppException
from resilient_http.problems.models import ValidationError


class BadRequestException(AppException):
    """The request makes no sense."""

    type = "bad-request"
    title = "Bad Request"
    status = 400


class UnauthorizedException(AppException):
    """The caller did not say who they are, or not convincingly."""

    type = "unauthorized"
    title = "Unauthorized"
    status = 401


class ForbiddenException(AppException):
    """The caller may not do this."""

    type = "forbidden"
    title = "Forbidden"
    status = 403


class NotFoundException(AppException):
    """There is no such thing."""

    type = "not-found"
    title = "Not Found"
    status = 404


class ConflictException(AppException):
    """The state of the thing does not allow it."""

    type = "conflict"
    title = "Conflict"
    status = 409


class ValidationException(AppException):
    """Fields of the request are wrong."""

    type = "validation-error"
    title = "Validation Error"
    status = 422
    errors: list[ValidationError] = []  # noqa: RUF012 - copied for each problem


class RateLimitException(AppException):
    """The caller's quota is used up."""

    type = "rate-limit-exceeded"
    title = "Too Many Requests"
    status = 429
    retry = "after_delay"
    work_not_started = True
    limit: int | None = None
    remaining: int | None = None


class InternalServerException(AppException):
    """Something broke that the caller can do nothing about."""

    type = "internal-server-error"
    title = "Internal Server Error"
    status = 500


class BadGatewayException(AppException):
    """A service behind this one answered with something unusable."""

    type = "bad-gateway"
    title = "Bad Gateway"
    status = 502


class ServiceUnavailableException(AppException):
    """The service cannot answer for now."""

    type = "service-unavailable"
    title = "Service Unavailable"
    status = 503


class GatewayTimeoutException(AppException):
    """A service behind this one did not answer in time."""

    type = "gateway-timeout"
    title = "Gateway Timeout"
    status = 504


class CircuitBreakerOpenException(AppException):
    """The call was not made: what it calls has been failing."""

    type = "circuit-breaker-open"
    title = "Circuit Breaker Open"
    status = 503


class ConcurrencyLimitException(AppException):
    """The call was not made: too many are under way already."""

    type = "concurrency-limit"
    title = "Concurrency Limit Reached"
    status = 503


class OverloadedException(AppException):
    """The service refused work to stay alive."""

    type = "overloaded"
    title = "Service Overloaded"
    status = 503
    retry = "after_delay"
    work_not_started = True


class DeadlineExceededException(AppException):
    """The time for the call ran out.

    On the wire it says that the work was never begun; a handler that was cut short
    answers `gateway-timeout`. Raised by the client, it says nothing of the kind.
    """

    type = "deadline-exceeded"
    title = "Deadline Exceeded"
    status = 504
    work_not_started = True


class UpstreamException(AppException):
    """A service behind this one failed, and with it this call."""

    type = "upstream-error"
    title = "Upstream Error"
    status = 502
    upstream_type: str | None = None
    upstream_status: int | None = None


class IdempotencyKeyMissingException(AppException):
    """The request may only be sent with an `Idempotency-Key`."""

    type = "idempotency-key-missing"
    title = "Idempotency Key Missing"
    status = 400
    retry = "never"


class IdempotencyKeyInProgressException(AppException):
    """A request with the same `Idempotency-Key` is being served."""

    type = "idempotency-key-in-progress"
    title = "Idempotency Key In Progress"
    status = 409
    retry = "same_key"
    work_not_started = True


class IdempotencyKeyReusedException(AppException):
    """The `Idempotency-Key` was used before, for another request."""

    type = "idempotency-key-reused"
    title = "Idempotency Key Reused"
    status = 422
    retry = "never"
