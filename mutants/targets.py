"""What is mutated, and which tests judge it."""

from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]

_CORE: Final = "resilient_http/_core"
_LIMITER: Final = "server_kit/ratelimit"

_JUDGES: Final = {
    f"{_CORE}/announced.py": ["core/test_announced.py"],
    f"{_CORE}/attempt.py": ["core/test_steps.py"],
    f"{_CORE}/backoff.py": ["core/test_backoff.py"],
    f"{_CORE}/breaker.py": [
        "core/test_breaker.py",
        "core/test_breaker_recovery.py",
        "core/test_hop.py",
        "core/test_breaker_model.py",
    ],
    f"{_CORE}/bucket.py": [
        "core/test_bucket.py",
        "core/test_hop.py",
        "core/test_bucket_model.py",
    ],
    f"{_CORE}/budget.py": ["core/test_budget.py", "core/test_budget_model.py"],
    f"{_CORE}/concurrency.py": [
        "core/test_concurrency.py",
        "core/test_hop.py",
        "core/test_concurrency_model.py",
    ],
    f"{_CORE}/hop.py": [
        "core/test_hop.py",
        "core/test_hop_told.py",
        "core/test_race.py",
        "core/test_plan_model.py",
    ],
    f"{_CORE}/lane.py": [
        "core/test_lane.py",
        "core/test_hop.py",
        "core/test_plan_model.py",
    ],
    f"{_CORE}/limits.py": ["core/test_limits.py"],
    f"{_CORE}/origin.py": ["core/test_origin.py", "core/test_hop.py"],
    f"{_CORE}/pacer.py": [
        "core/test_pacer.py",
        "core/test_share.py",
        "core/test_pacer_model.py",
    ],
    f"{_CORE}/quantile.py": ["core/test_quantile.py"],
    f"{_CORE}/retry_after.py": ["core/test_retry_after.py"],
    f"{_CORE}/share.py": ["core/test_share.py", "core/test_share_model.py"],
    f"{_CORE}/steps.py": ["core/test_steps.py", "core/test_hop.py"],
    f"{_CORE}/throttle.py": ["core/test_throttle.py"],
    f"{_CORE}/verdict.py": ["core/test_verdict.py", "core/test_hop.py"],
    f"{_CORE}/window.py": ["core/test_window.py", "core/test_window_model.py"],
    f"{_LIMITER}/fields.py": ["server/test_ratelimit_fields.py"],
    f"{_LIMITER}/keys.py": ["server/test_ratelimit_keys.py"],
    f"{_LIMITER}/leases.py": ["server/test_ratelimit_leases.py"],
    f"{_LIMITER}/machines.py": [
        "server/test_quota.py",
        "server/test_quota_holds.py",
        "server/test_quota_model.py",
    ],
    f"{_LIMITER}/outage.py": ["server/test_ratelimit_outage.py"],
    f"{_LIMITER}/plans.py": ["server/test_ratelimit_plans.py"],
    f"{_LIMITER}/quota.py": ["server/test_quota.py", "server/test_limiter.py"],
    f"{_LIMITER}/refusals.py": ["server/test_ratelimit_refusals.py"],
    f"{_LIMITER}/stores/in_memory.py": [
        "server/test_limiter.py",
        "server/test_ratelimit_reservation.py",
    ],
    f"{_LIMITER}/stores/wire.py": ["server/test_ratelimit_wire.py"],
}


class Target(NamedTuple):
    """A module, and its judges."""

    path: str
    """From the root, as `resilient_http/_core/breaker.py`."""

    judges: tuple[str, ...]
    """Files of tests, the quickest first: a mutant is dead when one of them fails."""

    @property
    def name(self) -> str:
        """What it is called here: `breaker`."""
        return Path(self.path).stem

    @property
    def module(self) -> str:
        """What it is imported as."""
        return self.path.removesuffix(".py").replace("/", ".")

    @property
    def source(self) -> str:
        """Its text as it stands."""
        return (ROOT / self.path).read_text()


TARGETS: Final = {
    target.name: target
    for target in (
        Target(path, tuple(f"tests/{judge}" for judge in judges))
        for path, judges in _JUDGES.items()
    )
}
"""All of them, by their names."""
