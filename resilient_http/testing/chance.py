"""Chance that is a number."""

from random import Random


class Fixed(Random):
    """Draws the same share of every range: `State(rng=Fixed(1.0))`.

    With 0 each wait is the shortest that jitter allows, with 1 the longest. For
    `random()` and `uniform()`, which are all that this package draws with.

    Args:
        share: From 0, the lower end of the range, to 1, the upper.

    """

    def __init__(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share must be 0..1, got {share!r}")
        super().__init__(0)
        self._share = share

    def random(self) -> float:
        """Return the share itself."""
        return self._share
