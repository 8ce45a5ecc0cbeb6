"""How a service runs as a process: on the port it is given, as long as its parent."""

import os
import socket
import threading
from typing import Any, Final

import uvicorn

HOST: Final = "127.0.0.1"
_STDIN: Final = 0


def claim(port: int = 0) -> socket.socket:
    """Return a socket bound to `port` of the loopback, 0 for one that is free.

    Whoever holds one that does not listen keeps the port for a process that will: no
    other program gets it meanwhile, and while nobody listens it refuses.
    """
    claimed = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        claimed.setsockopt(socket.SOL_SOCKET, option, 1)
    claimed.bind((HOST, port))
    return claimed


def serve(app: Any, port: int, **options: Any) -> None:
    """Serve `app` with uvicorn, until the process that started this one is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    config = uvicorn.Config(
        app, loop="asyncio", log_level="warning", access_log=False, **options
    )
    uvicorn.Server(config).run(sockets=[claim(port)])


def _end_with_parent() -> None:
    # The other end of our stdin closes when the parent ends, however it ends. Not
    # through sys.stdin: its lock would be in the way of an orderly end of our own.
    while os.read(_STDIN, 1):
        pass
    os._exit(0)
