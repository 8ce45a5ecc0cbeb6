"""Apps with rate limits, whose clocks stand still, and clients of them."""

from typing import Any, Final

from httpx import ASGITransport, AsyncClient
from starlette.responses import PlainTextResponse

from server_kit.asgi import Receive, Scope, Send
from server_kit.ratelimit import RateLimiter, RateLimitMiddleware

WINDOW: Final = 60


def still() -> RateLimiter:
    return RateLimiter(clock=lambda: 0.0)


def client(app: Any, address: str = "192.0.2.1", **options: Any) -> AsyncClient:
    transport = ASGITransport(app, client=(address, 1), **options)
    return AsyncClient(transport=transport, base_url="http://shop")


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("ok")(scope, receive, send)


def counted(app: Any = fine, **options: Any) -> RateLimitMiddleware:
    """Return `app` with two requests per client."""
    options = {"limiter": still(), "default_limit": 2, **options}
    return RateLimitMiddleware(app, **options)
