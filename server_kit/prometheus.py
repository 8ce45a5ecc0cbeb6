"""Requests as Prometheus counts them: a listener. Needs the extra `prometheus`."""

from typing import TYPE_CHECKING, Final

from server_kit.access_log.served import RequestServed

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)
"""Of RFC 9110 and RFC 5789. A client may write anything there."""


class RequestMetrics:
    """Counts and times requests, for `wrap(app, listeners=[RequestMetrics()])`.

    No label has more values than the app has routes, statuses and problems: where there
    is no route, it is `""`, and a method that is none is `other`. Metrics:

    - `http_server_requests_total`, by method, route, status, problem type and how the
      response ended;
    - `http_server_request_duration_seconds`, by method and route.

    Args:
        registry: Where they are registered, once each; None: in the default one.

    Raises:
        ImportError: prometheus-client is not installed.
        ValueError: They are registered there already.

    """

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from prometheus_client import REGISTRY, Counter, Histogram  # noqa: PLC0415 - only who uses it needs it

        where = REGISTRY if registry is None else registry
        self._requests = Counter(
            "http_server_requests",
            "Requests that were answered, or not",
            ("method", "route", "status", "problem_type", "ended"),
            registry=where,
        )
        self._durations = Histogram(
            "http_server_request_duration_seconds",
            "From the first look at a request to the last byte of its answer",
            ("method", "route"),
            registry=where,
        )

    def __call__(self, served: RequestServed) -> None:
        """Count one request."""
        method = served.method if served.method in _METHODS else "other"
        route = served.route or ""
        kind = served.problem_type or ""
        self._requests.labels(method, route, served.status, kind, served.ended).inc()
        self._durations.labels(method, route).observe(served.duration)
