"""What happens to the service, and when: the same for every policy."""

from dataclasses import dataclass
from typing import Final

SERVICE: Final = 0.02
"""Mean seconds that a request is worked on; exponential."""
ROUND_TRIP: Final = 0.002
"""Seconds on the network."""
ATTEMPT_TIMEOUT: Final = 1.0
"""Seconds after which a client gives up one try."""
PATIENCE: Final = 10.0
"""Seconds after which the user has left, and an answer is worth nothing."""
QUEUE: Final = 10.0
"""Seconds of work, at full speed, that wait at a server; what comes then is not
accepted."""
REFUSING: Final = 0.05
"""What an error costs the server, in requests served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the world is, and how long it lasts."""

    clients: int = 20
    servers: int = 4
    load: float = 0.7
    """Requests offered, as a share of what the servers can do together."""
    begins: float = 40.0
    """When the trigger is pulled, in seconds from the start."""
    ends: float = 70.0
    """When it is over."""
    over: float = 220.0
    """When all is."""
    settled: float = 60.0
    """Seconds at the end by which things are to be well again."""

    @property
    def capacity(self) -> float:
        """Requests a second that all servers can do."""
        return self.servers / SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A trigger."""

    name: str
    """What its chart is called by."""
    title: str
    speed: float = 1.0
    """Of the servers, while it lasts."""
    spike: float = 1.0
    """Requests offered, in usual ones."""
    is_first_failing: bool = False
    """Whether the first server answers with a 500 at once."""


DROP: Final = Scenario(
    name="capacity-drop", title="capacity drops to a fifth", speed=0.2
)
SPIKE: Final = Scenario(name="spike-3", title="three times the load", spike=3.0)
FLOOD: Final = Scenario(name="spike-10", title="ten times the load", spike=10.0)
FAILING: Final = Scenario(
    name="one-failing", title="one of four servers fails fast", is_first_failing=True
)
SCENARIOS: Final = (DROP, SPIKE, FLOOD, FAILING)
