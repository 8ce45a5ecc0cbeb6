"""Where exceptions stop being exceptions: the last chance to answer from inside."""

from server_kit.asgi import ASGIApp, Message, Receive, Scope, Send
from server_kit.exchange import exchange_of
from server_kit.problems import answer_failure, known_problem


class Boundary:
    """Answer what escapes `app` with a problem, where a wrapped app is being served.

    A middleware around it sees an ordinary response, to which it adds what it adds to
    others; after that, if it was a crash, the exception.

    Args:
        app: What may raise.
        crashes: Whether crashes are answered here. If not, they go on unanswered.

    """

    def __init__(self, app: ASGIApp, *, crashes: bool = True) -> None:
        self.app = app
        self._crashes = crashes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        exchange = exchange_of(scope)
        if scope["type"] != "http" or exchange is None:
            await self.app(scope, receive, send)
            return
        exchange.routing(scope)
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            # Before it is sent: whoever refuses it has taken over the answer.
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:  # whatever the app raises is its answer
            if started or (not self._crashes and known_problem(error, scope) is None):
                raise
            if await answer_failure(error, scope, send):
                raise
