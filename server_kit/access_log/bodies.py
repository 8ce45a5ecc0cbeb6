"""The beginning of a body, kept and shown.

What is kept is bounded, whatever passes by. What cannot be masked is not shown.
"""

from typing import Final

from server_kit.access_log.masking import Masker
from server_kit.asgi import RawHeaders, values_of

_FORM: Final = "application/x-www-form-urlencoded"
_DOCUMENTS: Final = frozenset(
    {
        *("application/json", "application/graphql", "application/x-ndjson"),
        *("application/jsonl", "text/plain", "text/event-stream", "text/csv"),
    }
)
"""What has names that a masker can find; markup, for one, does not."""


class Kept:
    """The first bytes of one body.

    Args:
        most: How many bytes are kept; what comes after them is counted.

    """

    __slots__ = ("_kept", "_most", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = bytearray()
        self.size = 0
        """How many bytes came, kept or not."""

    def add(self, part: bytes) -> None:
        """Take the next part of the body."""
        room = self._most - len(self._kept)
        if room:
            self._kept += part[:room]
        self.size += len(part)

    def shown(self, headers: RawHeaders, masker: Masker) -> str:
        """Return what was kept, masked, or `<binary 12345 bytes>`.

        Args:
            headers: Those that came with the body.
            masker: What to mask.

        """
        if not self.size:
            return ""
        kind = _only(headers, b"content-type").partition(";")[0].strip().lower()
        is_form, is_document = kind == _FORM, kind in _DOCUMENTS
        is_readable = is_form or is_document or kind.endswith("+json")
        encoding = _only(headers, b"content-encoding").strip().lower()
        if not is_readable or encoding not in ("", "identity"):
            return f"<binary {self.size} bytes>"
        # As JSON has it (RFC 8259). Other encodings come out as they can.
        text = self._kept.decode(errors="replace")
        rest = self.size - len(self._kept)
        read = masker.pairs if is_form else masker.document
        masked = read(text, is_cut=rest > 0)
        return f"{masked}<{rest} more bytes>" if rest else masked


def _only(headers: RawHeaders, name: bytes) -> str:
    """Return the value of a header; of several, something that is none of them."""
    return ",".join(value.decode("latin-1") for value in values_of(headers, name))
