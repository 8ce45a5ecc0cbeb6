"""What the demo's services answer is what their OpenAPI documents say.

Schemathesis makes up requests, valid ones and others, from the documents, and compares:
no status that is not described, no body of another shape, no failure of the server.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from demo.payments import Ledger, payments
from demo.shop import shop
from tests.served import served

VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
OPERATIONS: dict[tuple[str, str, str], list[GenerationMode]] = {
    ("shop", "/healthz", "GET"): [VALID],
    ("shop", "/payments", "GET"): [VALID],
    ("shop", "/stock/{sku}", "GET"): [VALID, INVALID],
    ("shop", "/orders", "POST"): [VALID, INVALID],
    ("shop", "/plain/orders", "POST"): [VALID, INVALID],
    ("payments", "/healthz", "GET"): [VALID],
    ("payments", "/charges", "GET"): [VALID],
    ("payments", "/charges", "POST"): [VALID, INVALID],
    ("payments", "/mood", "PUT"): [INVALID, VALID],  # last: it then misbehaves
}
# A card that is declined is well-formed.
TAKEN = ["2xx", "402", "404", "409", "429"]
CONFIG = schemathesis.Config.from_dict(
    {"checks": {"positive_data_acceptance": {"expected-statuses": TAKEN}}}
)
A_FEW = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The documents of both services, as they serve them."""
    ledger = tmp_path_factory.mktemp("payments") / "ledger"
    with served(payments(Ledger(Path(ledger)))) as paid, served(shop(paid)) as sold:
        yield {
            name: schemathesis.openapi.from_url(f"{url}/openapi.json", config=CONFIG)
            for name, url in {"shop": sold, "payments": paid}.items()
        }


@pytest.mark.parametrize(
    ("service", "path", "method", "mode"),
    [(*where, mode) for where, modes in OPERATIONS.items() for mode in modes],
)
def test_what_is_answered_is_what_is_described(
    described: dict[str, Any],
    service: str,
    path: str,
    method: str,
    mode: GenerationMode,
) -> None:
    operation = described[service][path][method]

    @A_FEW
    @given(case=operation.as_strategy(generation_mode=mode))
    def visit(case: Any) -> None:
        case.call_and_validate()

    visit()


def test_every_operation_is_asked(described: dict[str, Any]) -> None:
    found = {
        (service, path, method.upper())
        for service, schema in described.items()
        for path, item in schema.raw_schema["paths"].items()
        for method in item
    }
    assert found == OPERATIONS.keys()
