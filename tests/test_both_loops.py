"""What runs on asyncio runs on trio, and the tests see to it."""

import ast
import asyncio
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import trio

ROOT = Path(__file__).parents[1]
LOOKED_AT = {
    *("get_running_loop", "current_task", "CancelledError"),
    *("AbstractEventLoop", "Task", "TimerHandle"),
}
"""What of asyncio tells where one is. Whatever waits comes from anyio."""
ONLY_ASYNCIO = {
    *(ROOT / "server_kit/redis").glob("*.py"),
    ROOT / "server_kit/ratelimit/stores/in_redis.py",
    ROOT / "server_kit/ratelimit/stores/lane.py",
    ROOT / "server_kit/ratelimit/stores/leased.py",
}
"""Redis' clients know no other loop, and who asks for one in another is told so."""


def running() -> str:
    """Say whose loop this is."""
    try:
        asyncio.current_task()
    except RuntimeError:
        trio.lowlevel.current_task()
        return "trio"
    return "asyncio"


@pytest.mark.case("C42")
async def test_a_test_runs_in_the_loop_it_is_named_for(anyio_backend_name: str) -> None:
    await anyio.lowlevel.checkpoint()
    assert running() == anyio_backend_name


@pytest.mark.case("C42")
def test_every_async_test_runs_in_both_loops(request: pytest.FixtureRequest) -> None:
    assert set(anyio.get_all_backends()) == {"asyncio", "trio"}
    known = request._fixturemanager.getfixturedefs("anyio_backend", request.node)  # noqa: SLF001 - pytest says so nowhere
    assert known is not None
    (fixture,) = known  # nobody has put another in its place
    assert set(fixture.params or ()) == {"asyncio", "trio"}
    for path in set((ROOT / "tests").rglob("*.py")) - {Path(__file__)}:
        assert "def anyio_backend" not in path.read_text(), path


@pytest.mark.case("C42")
@pytest.mark.parametrize("package", ["resilient_http", "server_kit"])
def test_nothing_waits_as_only_asyncio_can(package: str) -> None:
    for path in set((ROOT / package).rglob("*.py")) - ONLY_ASYNCIO:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "asyncio", path
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "asyncio":
                assert node.attr in LOOKED_AT, f"{path}: {node.lineno}"
