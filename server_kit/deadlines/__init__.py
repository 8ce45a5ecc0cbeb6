"""The time that a caller has, and nothing done when it is over."""

from server_kit.deadlines.settings import Deadlines
from server_kit.deadlines.stage import DeadlineStage, remaining

__all__ = ["DeadlineStage", "Deadlines", "remaining"]
