"""Requests as Prometheus sees them."""

from typing import Any

import pytest

import server_kit
from tests.server.apps import ask, serve, starlette_app

prometheus_client: Any = pytest.importorskip("prometheus_client")

COUNT = "http_server_requests_total"
TIMED = "http_server_request_duration_seconds_count"


@pytest.fixture
def registry() -> Any:
    return prometheus_client.CollectorRegistry()


def labels(**changed: str) -> dict[str, str]:
    usual = {"method": "GET", "status": "200", "problem_type": "", "ended": "complete"}
    return usual | changed


@pytest.mark.case("S36")
async def test_requests_are_counted_by_what_is_bounded(registry: Any) -> None:
    from server_kit.prometheus import RequestMetrics  # noqa: PLC0415 - see above

    metrics = RequestMetrics(registry)
    app = server_kit.wrap(starlette_app(), listeners=[metrics])
    for number in range(400, 420):
        await ask(app, f"/status/{number}")
    for path in ("/ok", "/problem", "/nowhere", "/elsewhere"):
        await ask(app, path)
    await serve(app, "/ok", method="BREW")
    await serve(app, "/late")
    expected = [
        (labels(route="/ok"), 1),
        (labels(route="/problem", status="409", problem_type="out-of-stock"), 1),
        (labels(route="", status="404", problem_type="not-found"), 2),
        (labels(route="/late", ended="aborted"), 1),
    ]
    for found, count in expected:
        assert registry.get_sample_value(COUNT, found) == count
    timed = {"method": "GET", "route": "/status/{number}"}
    assert registry.get_sample_value(TIMED, timed) == 20
    other = {"method": "other", "route": "/ok"}
    assert registry.get_sample_value(TIMED, other) == 1


def test_metrics_register_once(registry: Any) -> None:
    from server_kit.prometheus import RequestMetrics  # noqa: PLC0415 - see above

    RequestMetrics(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        RequestMetrics(registry)
