"""What became of one send: a line in the history of a call."""

from typing import NamedTuple


class Attempt(NamedTuple):
    """One send of a call, as it ended."""

    seconds: float
    """From the send to its end."""

    status: int | None = None
    """The status it was answered with; None if there was no usable answer."""

    error: str | None = None
    """The name of what was raised instead, such as `ReadTimeout`."""
