"""Server processes: uvicorn's own protocol, around an app that `server_kit` wraps."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from incidents.app import App, Database
from incidents.network import Host
from incidents.schedule import Service, Trouble, process_name
from server_kit import (
    Deadlines,
    Idempotency,
    RateLimiter,
    RateLimitMiddleware,
    Shedding,
    wrap,
)
from server_kit.idempotency import Stage
from server_kit.idempotency.stores.in_memory import MemoryStore
from server_kit.idempotency.stores.in_redis import RedisStore


@dataclass(eq=False)
class Process:
    """One server process, while it lives."""

    host: Host
    app: App
    config: Config
    state: ServerState
    stages: list[Any] = field(default_factory=list)
    """Those of the kit, outermost first."""

    @property
    def store(self) -> Any:
        """Where it keeps idempotency keys."""
        return self.stages[-1]._store

    def held(self) -> dict[str, int]:
        """Return what is in use in it, by kind; nothing if it is dead."""
        if not self.host.is_up:
            return {}
        found = {"serving": self.app.serving}
        for stage in self.stages:
            if hasattr(stage, "snapshot"):
                snapshot = stage.snapshot()
                found["in_flight"] = snapshot.in_flight
                found["waiting"] = snapshot.waiting
        return found

    def accept(self) -> H11Protocol:
        """Return what serves one more connection."""
        loop = asyncio.get_running_loop()
        return H11Protocol(self.config, self.state, {}, loop)


class Starting:
    """Starts processes of one service.

    Args:
        service: How it is set up.
        database: What its app writes to.
        rng: Draws whom the app's troubles meet.
        met: Counts those.

    """

    def __init__(
        self, service: Service, database: Database, rng: Random, met: Counter[str]
    ) -> None:
        self._service = service
        self._database = database
        self._rng = rng
        self._met = met
        self.troubles: list[list[Trouble]] = [[] for _ in range(service.processes)]
        """What is wrong with the app now, in each place."""

    def start(self, number: int) -> Process:
        """Start a process in one of the places."""
        host = Host(process_name(number))
        process = host.context.run(self._started, host, number)
        host.accept = process.accept
        return process

    def _started(self, host: Host, number: int) -> Process:
        app = App(self._database, self.troubles[number], self._rng, self._met)
        kit = self._wrapped(app)
        config = Config(
            kit,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            http="h11",
            ws="none",
            timeout_keep_alive=self._service.keep_alive,  # type: ignore[arg-type] # it is added to a time
        )
        return Process(host, app, config, ServerState(), _stages_of(kit))

    def _wrapped(self, app: App) -> Any:
        service, clock = self._service, asyncio.get_running_loop().time
        within: Any = app
        if service.rate is not None:
            limit, window = service.rate
            limiter = RateLimiter(clock=clock)
            within = RateLimitMiddleware(
                app, limiter=limiter, default_limit=limit, default_window=window
            )
        shedding = None
        if service.shedding is not None:
            least, most = service.shedding
            shedding = Shedding(limit=least, most_limit=most, target=0.1)
        return wrap(
            self._with_keys(within, clock),
            shedding=shedding,
            deadlines=Deadlines(
                maximum=service.maximum, cancel_on_disconnect=service.cancels
            ),
        )

    def _with_keys(self, app: Any, clock: Callable[[], float]) -> Stage:
        # As `wrap` does it, but for the clock of the store in memory.
        service, is_shared = self._service, self._service.store == "redis"
        settings = Idempotency(
            store="redis://10.0.0.2" if is_shared else None,
            lease=service.lease,
            wait=service.wait,
        )
        store = RedisStore(settings) if is_shared else MemoryStore(settings, clock)
        return Stage(app, settings, store)


def _stages_of(kit: Any) -> list[Any]:
    """Return the stages of a wrapped app, outermost first."""
    found = [object.__getattribute__(kit, "_stages")]
    while not isinstance(found[-1], Stage):
        found.append(found[-1]._app)
    return found
