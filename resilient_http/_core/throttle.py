"""Client-side adaptive throttling: not to send what would most likely be refused.

*Site Reliability Engineering*, chapter "Handling Overload". A refusal still costs the
server; a client that is mostly refused holds back a share of its calls by itself, with
the probability::

    (requests - k * accepts) / (requests + 1)

Capped below 1, over a short window: without either, a service that has recovered is
kept down by clients who remember how it was.
"""

from random import Random

from resilient_http._core.window import SlidingWindow
from resilient_http.policy import Throttle


class Throttler:
    """The recent requests to one origin, and which of them it accepted.

    A request counts when it has ended, or when it is held back here. One in flight is
    neither accepted nor refused: counted as it starts, the first crowd of calls to a
    healthy origin would hold itself back.
    """

    def __init__(self, config: Throttle) -> None:
        self._config = config
        self._window = SlidingWindow(config.window)

    def admit(self, now: float, rng: Random) -> bool:
        """Decide on a call that would start at `now`; `note` is to hear how it ended.

        Who is held back is not noted: it counts already.
        """
        if rng.random() >= self.share_held_back(now):
            return True
        self._window.record(failed=True, now=now)
        return False

    def note(self, *, accepted: bool, now: float) -> None:
        """Take in that the origin accepted a request, or was too busy to.

        What says nothing of its load, such as a cancelled call, is not noted.
        """
        self._window.record(failed=not accepted, now=now)

    def share_held_back(self, now: float) -> float:
        """Return the probability with which a call is held back."""
        requests, refused, _ = self._window.tally(now)
        excess = requests - self._config.k * (requests - refused)
        return min(max(0.0, excess / (requests + 1)), self._config.max_reject)
