"""The arrows between modules, as CONTRIBUTING.md describes them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "resilient_http/_core": {
        "resilient_http._core",
        "resilient_http.policy",
        "resilient_http.events",
    },
    "resilient_http/_checks.py": set[str](),
    "resilient_http/policy.py": {"resilient_http._checks"},
    "resilient_http/events.py": {"resilient_http._core"},
    "resilient_http/context.py": set[str](),
    "resilient_http/loops.py": set[str](),
    "resilient_http/problems": {"resilient_http.problems", "resilient_http._core"},
    "resilient_http/patterns": {
        "resilient_http.patterns",
        "resilient_http.policy",
        "resilient_http.problems",
        "resilient_http._core",
    },
    "resilient_http": {"resilient_http"},
    "server_kit": {
        "server_kit",
        "resilient_http.problems",
        "resilient_http.context",
        "resilient_http.loops",
        "resilient_http._core",
    },
    "demo": {"demo", "resilient_http", "server_kit"},
}
ACTS = {
    *("time", "asyncio", "anyio", "trio", "threading", "socket", "logging", "random"),
    *("httpx", "httpcore", "redis", "starlette", "os", "sys", "contextvars"),
}
PURE = [
    "resilient_http/_core",
    "resilient_http/_checks.py",
    "resilient_http/policy.py",
    "resilient_http/events.py",
    "server_kit/proxies.py",
    "server_kit/ratelimit/quota.py",
    "server_kit/ratelimit/machines.py",
    "server_kit/ratelimit/leases.py",
    "server_kit/ratelimit/refusals.py",
    "server_kit/ratelimit/events.py",
    "server_kit/ratelimit/fields.py",
    "server_kit/ratelimit/stores/wire.py",
    "server_kit/access_log/bodies.py",
    "server_kit/access_log/masking.py",
    "server_kit/access_log/served.py",
    "server_kit/deadlines/settings.py",
    "server_kit/deadlines/arrivals.py",
    "server_kit/shedding/adaptive.py",
    "server_kit/shedding/admission.py",
    "server_kit/checks.py",
    "server_kit/idempotency/rules.py",
    "server_kit/idempotency/ledger.py",
    "server_kit/security/content.py",
    "server_kit/security/plan.py",
    "server_kit/security/profile.py",
    "server_kit/security/values.py",
]
NO_DRAWERS = {"utils.py", "common", "base.py", "helpers.py", "misc.py"}


def modules(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.suffix else sorted(path.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Return what a module imports, each name with the module it comes from."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its arrow"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_imports_follow_the_arrows(place: str) -> None:
    allowed = tuple(f"{name}." for name in MAY_IMPORT[place])
    for path in modules(place):
        for name in imports(path):
            if name.startswith(("resilient_http", "server_kit", "demo", "tests")):
                assert f"{name}.".startswith(allowed), f"{path} imports {name}"


@pytest.mark.parametrize("place", PURE)
def test_what_decides_cannot_act(place: str) -> None:
    for path in modules(place):
        for name in imports(path):
            is_random_class = name == "random.Random"
            assert is_random_class or name.split(".")[0] not in ACTS, f"{path}: {name}"


def test_the_error_contract_knows_neither_end() -> None:
    for path in modules("resilient_http/problems"):
        for name in imports(path):
            top = name.split(".")[0]
            only_for_types = path.name == "exception.py" and name == "httpx"
            assert only_for_types or top not in {"httpx", "starlette", "anyio"}, path


def test_only_tests_import_the_kit_for_tests() -> None:
    for place in ("resilient_http", "server_kit", "demo"):
        for path in modules(place):
            is_kit = path.is_relative_to(ROOT / "resilient_http/testing")
            kit = {n for n in imports(path) if n.startswith("resilient_http.testing")}
            assert is_kit or not kit, path


def test_only_the_fixtures_need_pytest() -> None:
    for path in modules("resilient_http"):
        needs = {name for name in imports(path) if name.startswith("pytest")}
        assert not needs or path.name == "fixtures.py", path
        assert "resilient_http.testing.fixtures" not in imports(path), path


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    for package in ("resilient_http", "server_kit"):
        names = {path.name for path in (ROOT / package).rglob("*")}
        assert not names & NO_DRAWERS


def test_a_file_is_read_in_a_sitting() -> None:
    for package in ("resilient_http", "server_kit", "demo"):
        for path in modules(package):
            assert len(path.read_text().splitlines()) <= 400, path
