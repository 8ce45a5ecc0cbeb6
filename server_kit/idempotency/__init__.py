"""A write that is sent twice arrives once: `Idempotency-Key`, kept on the server.

draft-ietf-httpapi-idempotency-key-header::

    request -> Stage    -> key, digest -> Store.claim -> the app -> Store.settle
    repeat  -> Stage    -> key, digest -> Store.claim -> the answer that is kept

`rules` and `ledger` decide, and are told the time; `stage` and `recording` speak ASGI;
`stores` has the two places where claims and answers are.
"""

from server_kit.idempotency.settings import Idempotency
from server_kit.idempotency.stage import Stage

__all__ = ["Idempotency", "Stage"]
