"""Two processes at one Redis serve each key once."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from tests.server.valkey import valkey

ROOT = Path(__file__).parents[2]
PAIRS = 100


@contextmanager
def service(store: str) -> Iterator[str]:
    """Run one process of the service, and give its base URL."""
    command = [sys.executable, "-m", "uvicorn", "tests.server.order_service:app"]
    with subprocess.Popen(
        [*command, "--port", "0", "--no-access-log"],
        cwd=ROOT,
        env={**os.environ, "STORE": store},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                found = re.search(r"running on (http://127\.0\.0\.1:\d+)", line)
                if found:
                    yield found[1]
                    break
            else:
                raise AssertionError("the service did not start")
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def services() -> Iterator[list[str]]:
    with valkey() as server, ExitStack() as running:
        yield [running.enter_context(service(server.url)) for _ in "12"]


@pytest.mark.case("R33", "IK-16")
async def test_a_key_sent_to_two_processes_at_once_is_served_once(
    services: list[str], anyio_backend_name: str
) -> None:
    said: dict[str, set[bytes]] = {}
    statuses: set[int] = set()

    async def place(client: httpx.AsyncClient, url: str, name: str) -> None:
        headers = {"Idempotency-Key": f'"{name}"'}
        while True:
            answer = await client.post(f"{url}/orders", content=name, headers=headers)
            statuses.add(answer.status_code)
            if answer.status_code != 409:
                said.setdefault(name, set()).add(answer.content)
                return

    limits = httpx.Limits(max_connections=40)
    async with (
        httpx.AsyncClient(limits=limits, timeout=30) as client,
        anyio.create_task_group() as tasks,
    ):
        for number in range(PAIRS):
            for url in services:
                name = f"{anyio_backend_name}-{number}"
                tasks.start_soon(place, client, url, name)
    assert len(said) == PAIRS
    assert 201 in statuses
    assert statuses <= {201, 409}
    for answers in said.values():
        (answer,) = answers
        assert b'"run":1,' in answer
