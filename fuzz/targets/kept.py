"""An answer that was kept, as some version of the kit may have packed it."""

from typing import Final

from server_kit.idempotency.rules import Kept, unpack

WORDS: Final = (
    *(b"[200, [", b'["content-type", "text/plain"]', b"]]", b"\n", b", "),
    *(b'"\\u00e4"', b'"\\u20ac"', b"null", b"1e999", b"-1", b"{}"),
)


def run(data: bytes) -> None:
    """Read an answer, or refuse it; what was read is packed as it was."""
    try:
        kept = unpack(data)
    except ValueError:
        return
    assert isinstance(kept, Kept)
    assert unpack(kept.pack()) == kept
