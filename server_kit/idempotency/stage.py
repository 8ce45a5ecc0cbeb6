"""A request with a key: claimed, served and settled, or answered as it was before."""

import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import anyio
from starlette.requests import Request

from resilient_http.problems import (
    AppException,
    BadRequestException,
    ConflictException,
    GatewayTimeoutException,
    IdempotencyKeyInProgressException,
    IdempotencyKeyMissingException,
    IdempotencyKeyReusedException,
    InternalServerException,
    ServiceUnavailableException,
)
from server_kit.asgi import ASGIApp, Receive, Scope, Send, local_path, values_of
from server_kit.boundary import Boundary
from server_kit.exchange import Exchange, exchange_of
from server_kit.idempotency import bodies
from server_kit.idempotency.callers import caller_of
from server_kit.idempotency.recording import Recording
from server_kit.idempotency.rules import (
    Claim,
    Kept,
    MalformedKeyError,
    Standing,
    digest,
    is_failure,
    is_refusal,
    kept_headers,
    key_in,
)
from server_kit.idempotency.settings import Idempotency
from server_kit.idempotency.stores import Store, StoreUnavailableError
from server_kit.idempotency.stores.in_memory import MemoryStore
from server_kit.problems import answer_to

logger: Final = logging.getLogger("server_kit")

HEADER: Final = b"idempotency-key"
REPLAYED: Final = (b"idempotent-replayed", b"true")
"""Says that an answer was given before, and is given again."""

_RETRY_AFTER: Final = 1.0
"""Seconds until a client should ask again. How long a handler takes nobody knows."""
_NO_ANSWER: Final = InternalServerException("The server gave no answer")
_LEAST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.2
_RENEWALS: Final = 3  # in the length of a lease, so that one may fail


class Stage:
    """Honour idempotency keys in front of `app`, inside a wrapped app.

    Args:
        app: What is served once for each key.
        settings: How.
        store: Where claims and answers are; None: as `settings` say.

    """

    def __init__(
        self, app: ASGIApp, settings: Idempotency, store: Store | None = None
    ) -> None:
        self._app = app
        self._settings = settings
        self._store = store_of(settings) if store is None else store
        # What it raises is an answer too, and is kept as one.
        self._answering = Boundary(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "http" and scope["method"] in self._settings.methods:
            await self._serve(scope, receive, send)
        elif kind == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                await self._store.aclose()
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = _values(scope, HEADER)
        if not fields and self._settings.requires(local_path(scope)):
            detail = "This request needs an Idempotency-Key"
            raise IdempotencyKeyMissingException(detail, headers=self._links())
        exchange = exchange_of(scope)
        if not fields or exchange is None or _is_claimed(exchange.outer):
            await self._app(scope, receive, send)
            return
        try:
            key = self._key(fields)
            body = await bodies.read(scope, receive, self._settings.max_request_bytes)
        except bodies.GoneError:
            return
        claim = self._claim(scope, key, body.content)
        found = await self._found(claim)
        if isinstance(found, Kept):
            exchange.idempotency = "replayed"
            await _replay(found, send)
        elif found is Standing.CLAIMED:
            exchange.idempotency = "claimed"
            run = _Run(self._settings, self._store, claim, exchange, send)
            await run.serve(self._answering, scope, body.receive)
        else:
            raise self._refusal(found)

    def _key(self, fields: list[bytes]) -> str:
        given = self._settings
        try:
            return key_in(fields, longest=given.max_key_length, lenient=given.lenient)
        except MalformedKeyError as error:
            detail = f"The Idempotency-Key cannot be used: {error}"
            raise BadRequestException(detail, headers=self._links()) from None

    def _claim(self, scope: Scope, key: str, content: bytes) -> Claim:
        whose = self._whose(scope)
        method = scope["method"].encode()
        path = str(scope["path"]).encode(errors="surrogatepass")
        route = (method, path) if self._settings.scope == "route" else ()
        (kind,) = _values(scope, b"content-type")[:1] or (b"",)
        query = scope.get("query_string", b"")
        return Claim(
            name=digest(whose.encode(errors="surrogatepass"), key.encode(), *route),
            fingerprint=digest(method, path, query, kind, content),
            token=uuid4().hex,
        )

    def _whose(self, scope: Scope) -> str:
        tell = self._settings.caller
        if tell is None:
            return caller_of(scope)
        whose: object = tell(Request(scope))
        if not isinstance(whose, str):
            raise TypeError(f"Idempotency.caller must return a string, got {whose!r}")
        return f"named:{whose}"

    async def _found(self, claim: Claim) -> Standing | Kept:
        """Return what stands in the way of `claim`, after `wait` at most."""
        ends = anyio.current_time() + self._settings.wait
        pause = _LEAST_PAUSE
        while True:
            try:
                found = await self._store.claim(claim)
            except StoreUnavailableError as error:
                raise _unavailable() from error
            left = ends - anyio.current_time()
            if found is not Standing.RUNNING or left <= 0:
                return found
            await anyio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _refusal(self, found: Standing) -> AppException:
        if found is Standing.RUNNING:
            detail = "A request with this Idempotency-Key is being served"
            return IdempotencyKeyInProgressException(detail, retry_after=_RETRY_AFTER)
        if found is Standing.DIFFERS:
            detail = "This Idempotency-Key was used for another request"
            return IdempotencyKeyReusedException(detail, headers=self._links())
        detail = "The request was served before, and its answer was not kept"
        return ConflictException(detail, headers=self._links())

    def _links(self) -> dict[str, str] | None:
        url = self._settings.docs_url
        return None if url is None else {"Link": f'<{url}>; rel="describedby"'}


class _Run:
    """The one run of the app for one claim."""

    def __init__(
        self,
        settings: Idempotency,
        store: Store,
        claim: Claim,
        exchange: Exchange,
        send: Send,
    ) -> None:
        self._settings = settings
        self._store = store
        self._claim = claim
        self._exchange = exchange
        self._is_settled = False
        most = settings.max_response_bytes
        self._recording = Recording(send, self._settle, most)

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        """Run `app`, and see that its claim ends with it."""
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._renew)
                try:
                    await app(scope, receive, self._recording.take)
                except Exception as error:  # noqa: BLE001 - raised again, not in a group
                    failure = error
                tasks.cancel_scope.cancel()
        except BaseException:
            await self._close(
                scope, GatewayTimeoutException("The request was cut short")
            )
            raise
        await self._close(scope, None if failure is None else _NO_ANSWER)
        if failure is not None:
            raise failure

    async def _renew(self) -> None:
        while True:
            await anyio.sleep(self._settings.lease / _RENEWALS)
            with suppress(StoreUnavailableError):
                await self._store.renew(self._claim)

    async def _settle(self, answer: Kept) -> bool:
        """Keep a whole answer, or let go of the key; tell if a repeat is answered."""
        if self._leaves_key_unused(answer.status):
            await self._end(self._store.release(self._claim))
            return True
        kept = Kept(answer.status, kept_headers(answer.headers), answer.body)
        return await self._end(self._store.settle(self._claim, kept))

    async def _close(self, scope: Scope, failure: AppException | None) -> None:
        """Settle what has been sent as it came, or has no answer at all."""
        if self._is_settled:
            return
        status = self._recording.status
        is_cut = failure is not None or not self._recording.is_over
        if is_cut and self._settings.on_failure == "release":
            await self._end(self._store.release(self._claim))
        elif not self._recording.is_over:
            answer = answer_to(failure or _NO_ANSWER, scope)
            kept = Kept(answer.status, answer.headers, answer.body)
            await self._end(self._store.settle(self._claim, kept))
        elif status is not None and self._leaves_key_unused(status):
            await self._end(self._store.release(self._claim))
        else:
            await self._end(self._store.settle(self._claim, None))

    def _leaves_key_unused(self, status: int) -> bool:
        problem = self._exchange.problem
        is_this = problem is not None and problem.status == status
        kind = problem.kind if problem is not None and is_this else None
        if is_refusal(status, self._settings.unrecorded, kind):
            return True
        return is_failure(status) and self._settings.on_failure == "release"

    async def _end(self, how: Coroutine[Any, Any, bool]) -> bool:
        """Do the last thing about the claim; a store goes on if we are cancelled."""
        self._is_settled = True
        try:
            is_done = await how
        except StoreUnavailableError:
            return False  # said by the store
        if not is_done:
            known = self._exchange.request_id
            logger.error("%s outlived its claim to an idempotency key", known)
        return is_done


def store_of(settings: Idempotency) -> Store:
    """Return the store that `settings` ask for."""
    if settings.store is None:
        return MemoryStore(settings)
    # Slow to import, and only needed here.
    from server_kit.idempotency.stores.in_redis import RedisStore  # noqa: PLC0415

    return RedisStore(settings)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return values_of(scope.get("headers") or (), name)


def _is_claimed(around: Exchange | None) -> bool:
    while around is not None:
        if around.idempotency is not None:
            return True
        around = around.outer
    return False


def _unavailable() -> AppException:
    detail = "Idempotency keys cannot be checked now, so nothing was done"
    return ServiceUnavailableException(detail, retry_after=_RETRY_AFTER)


async def _replay(kept: Kept, send: Send) -> None:
    start = {"type": "http.response.start", "status": kept.status}
    await send({**start, "headers": [*kept.headers, REPLAYED]})
    await send({"type": "http.response.body", "body": kept.body})
