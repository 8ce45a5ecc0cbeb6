"""An ASGI app under a real uvicorn, on a free loopback port."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    """A server in a thread, which says when it listens."""

    def __init__(self, app: Any, settings: dict[str, Any]) -> None:
        given = {"log_level": "critical", "lifespan": "on"} | settings
        super().__init__(uvicorn.Config(app, **given))
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@contextmanager
def served(app: Any, **settings: Any) -> Iterator[str]:
    """Serve `app` and give its base URL; `settings` are uvicorn's."""
    # asyncio turns off Nagle's algorithm only where the protocol is spelt out, and
    # with it on each answer waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = _Server(app, settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert server.listens.wait(20)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
