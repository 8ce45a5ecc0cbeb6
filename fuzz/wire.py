"""How bytes of a fuzzer are read: as lines, as headers, as numbers."""

from collections.abc import Iterable

from server_kit.asgi import RawHeaders

NOON = 1_700_000_000.0
"""Unix time, wherever a parser has to be told it."""


def lines(data: bytes) -> list[str]:
    """Return values of a header, of any bytes but the one that ends them."""
    return data.decode("latin-1").split("\n")


def headers(data: bytes) -> RawHeaders:
    """Return a block of headers as a server hands it on: names in lower case."""
    pairs = [line.partition(b":") for line in data.split(b"\n")]
    return [
        (name.strip().lower(), value.strip(b" \t\r"))
        for name, colon, value in pairs
        if colon
    ]


def joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers as a client reads them: the lines of one name by commas."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


class Numbers:
    """Numbers drawn from bytes; when those are over, they are all 0.

    Args:
        data: What they are drawn from.

    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def draw(self, size: int) -> int:
        """Return the number of the next `size` bytes."""
        taken, self._data = self._data[:size], self._data[size:]
        return int.from_bytes(taken)

    def rest(self) -> bytes:
        """Return what was not drawn."""
        return self._data
