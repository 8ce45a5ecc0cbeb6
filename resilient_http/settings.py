"""What a client was told, and what one request tells it differently."""

import math
from collections.abc import Mapping
from typing import Any, Final

from resilient_http.family import Family
from resilient_http.policy import Policy
from resilient_http.problems import Contract
from resilient_http.state import State

_PORTS: Final = {"http": 80, "https": 443}


class Settings:
    """What one client or transport was told, and remembers."""

    def __init__(
        self,
        policy: Policy | None,
        contract: Contract | None,
        state: State | None,
        family: Family,
        base_url: Any = None,
    ) -> None:
        self.family = family
        _check("policy", policy, Policy)
        _check("contract", contract, Contract)
        _check("state", state, State)
        self.policy = Policy() if policy is None else policy
        self.state = State() if state is None else state
        self.contract = Contract() if contract is None else contract
        # Without a contract nobody said that the other end is ours: nothing is added.
        self.ours = frozenset() if contract is None else contract.origins
        if contract is not None and base_url is not None and base_url.host:
            self.ours |= {key_of(base_url)}


def key_of(url: Any) -> str:
    """Return what calls to `url` have in common, whatever its scheme."""
    port = _PORTS.get(url.scheme) if url.port is None else url.port
    return f"{url.scheme}://{url.host}" + ("" if port is None else f":{port}")


def policy_of(request: Any) -> Policy | None:
    """Return the policy of one request; None for the client's."""
    policy: Policy | None = request.extensions.get("policy")
    _check("extensions['policy']", policy, Policy)
    return policy


def deadline_of(request: Any) -> float | None:
    """Return the deadline of one request, in seconds; None for the policy's."""
    value: Any = request.extensions.get("deadline")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"extensions['deadline'] must be seconds, got {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"extensions['deadline'] must be above 0, got {value!r}")
    return float(value)


def is_said_idempotent(request: Any) -> bool:
    """Whether its sender says that a request may be repeated."""
    said: bool | None = request.extensions.get("idempotent")
    _check("extensions['idempotent']", said, bool)
    return said is True


def longest_phase_of(request: Any) -> float:
    """Return the longest of the timeouts httpx was given, in seconds.

    Infinity if it is to wait for one of them without end.
    """
    timeout: Mapping[str, float | None] = request.extensions.get("timeout", {})
    phases = timeout.values()
    return max((math.inf if phase is None else phase for phase in phases), default=0.0)


def _check(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__} or None, got {value!r}")
