"""As many requests at a time as can be served in time, the important ones first."""

from server_kit.shedding.stage import Shedding, SheddingStage

__all__ = ["Shedding", "SheddingStage"]
