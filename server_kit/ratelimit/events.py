"""What limiters and middlewares tell their listeners."""

from dataclasses import dataclass

from server_kit.ratelimit.quota import Outage


@dataclass(frozen=True, slots=True)
class RedisDown:
    """From now on decisions are made without Redis, as `on_outage` says."""

    why: str
    """What it said, or did not."""


@dataclass(frozen=True, slots=True)
class RedisBack:
    """From now on decisions are Redis' again."""

    after: float
    """Seconds it was gone."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was refused; or would have been, in shadow mode.

    Told by `RateLimitMiddleware`, once for each of the quotas that refuse.
    """

    policy: str
    """Which quota, as responses call it."""

    key: str
    """A digest of the key: the same for the same caller. Who has it can try out which
    address it is of, unless the middleware has `partition_keys`."""

    limit: int
    """Units that a window holds."""

    window: float
    """Seconds."""

    cost: int
    """Units that the request would have taken."""

    retry_after: float
    """Seconds that the caller was told to wait."""

    route: str | None
    """The template of the route, such as `/items/{id}`; None if there is none."""

    outage: Outage | None
    """The policy that decided, because Redis could not."""

    shadow: bool
    """Whether it was let through all the same."""
