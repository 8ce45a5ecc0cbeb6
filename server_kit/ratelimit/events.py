"""What a limiter tells its listeners: once for each change."""

from dataclasses import dataclass


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
