"""The error contract: a problem is declared once, as a class, for both ends.

A service raises it, `server_kit` writes it as a problem document (RFC 9457), and the
client raises the same class again::

    raise OutOfStock("Only 2 left", sku="A1", available=2)      # the server
        -> 409 application/problem+json {"type": ..., "sku": "A1", "available": 2}
    except OutOfStock as error: error.available                 # the client

This module knows neither httpx nor ASGI: each end imports it without the other.
"""

from resilient_http.problems.builtin import (
    BadGatewayException,
    BadRequestException,
    CircuitBreakerOpenException,
    ConcurrencyLimitException,
    ConflictException,
    DeadlineExceededException,
    ForbiddenException,
    GatewayTimeoutException,
    IdempotencyKeyInProgressException,
    IdempotencyKeyMissingException,
    IdempotencyKeyReusedException,
    InternalServerException,
    NotFoundException,
    OverloadedException,
    RateLimitException,
    ServiceUnavailableException,
    UnauthorizedException,
    UpstreamException,
    ValidationException,
)
from resilient_http.problems.contract import Contract, for_status, with_status
from resilient_http.problems.exception import AppException
from resilient_http.problems.jsonable import encode
from resilient_http.problems.models import (
    ABOUT_BLANK,
    MEDIA_TYPE,
    ProblemDetail,
    ValidationError,
    ValidationProblemDetail,
)

__all__ = [
    "ABOUT_BLANK",
    "MEDIA_TYPE",
    "AppException",
    "BadGatewayException",
    "BadRequestException",
    "CircuitBreakerOpenException",
    "ConcurrencyLimitException",
    "ConflictException",
    "Contract",
    "DeadlineExceededException",
    "ForbiddenException",
    "GatewayTimeoutException",
    "IdempotencyKeyInProgressException",
    "IdempotencyKeyMissingException",
    "IdempotencyKeyReusedException",
    "InternalServerException",
    "NotFoundException",
    "OverloadedException",
    "ProblemDetail",
    "RateLimitException",
    "ServiceUnavailableException",
    "UnauthorizedException",
    "UpstreamException",
    "ValidationError",
    "ValidationException",
    "ValidationProblemDetail",
    "encode",
    "for_status",
    "with_status",
]
