"""Which of the requests that arrive too late are refused, as a machine told the time.

One caller with too little time is refused: the work would be for nobody. If many seem
to have none, it is likelier that a proxy or a clock is wrong than that all of them sent
requests they do not want answered; and a mistake must not take a service down.
"""

from typing import Final

from resilient_http._core.window import SlidingWindow

WINDOW: Final = 10.0
"""Seconds that are looked back on."""

FEW: Final = 10
"""So many in a window are refused, whatever their share is."""

SHARE: Final = 0.2
"""Past those, the most of all requests in a window that may be refused."""


class Arrivals:
    """The requests of the last ten seconds."""

    def __init__(self) -> None:
        # Its failed calls are those refused, its slow ones those that came too late.
        self._window = SlidingWindow(WINDOW)

    def refuses(self, now: float, *, is_late: bool) -> bool:
        """Count a request, and tell whether it is to be refused.

        Args:
            now: Seconds on any monotonic clock.
            is_late: Whether its time was over when it arrived.

        """
        refused = is_late and self._may_refuse(now)
        self._window.record(failed=refused, slow=is_late, now=now)
        return refused

    def _may_refuse(self, now: float) -> bool:
        seen = self._window.tally(now)
        if seen.slow < FEW:
            return True
        return seen.failures + 1 <= SHARE * (seen.calls + 1)
