"""What is kept of an origin that nobody calls any more."""

import gc
import tracemalloc
from typing import Any, Final

import resilient_http
from benchmarks.figures import BARE
from benchmarks.peers import OURS, ours, plain
from benchmarks.setting import Family, Setting

_SLICES: Final = 10
_SLICE: Final = 3.0  # seconds: a tenth of the breaker's window, so all of it is in use


class _Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    async def asleep(self, seconds: float) -> None:
        self.time += seconds


def bytes_per_origin(family: Family, origins: int) -> dict[str, float]:
    """Return what plain httpx and ours keep of each of so many origins, in bytes.

    Each is called once in each slice of its breaker's window, and then left alone.
    """
    setting, clock = Setting(family, "sync", "stub"), _Clock()
    state = resilient_http.State(clock=clock)
    clients = {BARE: plain(setting), OURS: ours(setting, state=state)}
    return {name: _kept(client, clock, origins) for name, client in clients.items()}


def _kept(client: Any, clock: _Clock, origins: int) -> float:
    client.get("http://warm.up/")
    urls = [f"http://service-{number}.example/" for number in range(origins)]
    gc.collect()
    tracemalloc.start()
    for _ in range(_SLICES):
        clock.time += _SLICE
        for url in urls:
            client.get(url)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    client.close()
    return kept / origins
