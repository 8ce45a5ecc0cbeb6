"""What a client was told, and what one request tells it differently."""

import math
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from resilient_http.events import Listener
from resilient_http.family import Family
from resilient_http.policy import Policy
from resilient_http.problems import Contract
from resilient_http.state import PORTS, State


class Settings:
    """What one client or transport was told, and remembers."""

    def __init__(  # noqa: PLR0913 - what a client may be told, each by its name
        self,
        *,
        policy: Policy | None,
        contract: Contract | None,
        state: State | None,
        family: Family,
        base_url: Any = None,
        listeners: Iterable[Listener] = (),
        routes: Mapping[str, Policy] | None = None,
    ) -> None:
        self.family = family
        check("policy", policy, Policy)
        check("contract", contract, Contract)
        check("state", state, State)
        self.policy = Policy() if policy is None else policy
        self.state = State() if state is None else state
        self.contract = Contract() if contract is None else contract
        # Without a contract nobody said that the other end is ours: nothing is added.
        self.ours = frozenset() if contract is None else contract.origins
        if contract is not None and base_url is not None and base_url.host:
            self.ours |= {key_of(base_url)}
        self.listeners = tuple(listeners)
        for listener in self.listeners:
            if not callable(listener):
                raise TypeError(f"listeners must be callables, got {listener!r}")
        self.routes = None if routes is None else Routes(routes, base_url)
        self._phases: tuple[dict[str, float | None], float] = {}, 0.0

    def policy_for(self, request: Any) -> Policy:
        """Return the policy of a request: its own, its route's, or the client's."""
        own: Policy | None = request.extensions.get("policy")
        if own is not None:
            check("extensions['policy']", own, Policy)
            return own
        if self.routes is not None:
            return self.routes.find(request) or self.policy
        return self.policy

    def longest_phase_of(self, request: Any) -> float:
        """Return the longest of the timeouts httpx was given, in seconds.

        Infinity if it is to wait for one of them without end.
        """
        timeout = request.extensions.get("timeout", {})
        known, longest = self._phases
        if known != timeout:  # which it hardly ever is: they are the client's
            phases = [math.inf if it is None else it for it in timeout.values()]
            longest = max(phases, default=0.0)
            self._phases = dict(timeout), longest
        return longest


class Routes:
    """Policies for parts of what a client calls, by the head of their URL.

    Args:
        policies: By absolute URL, or by path below the client's `base_url`; before
            either may stand a method: `"GET https://shop.example/reports"`. The longest
            path that fits decides, and of two as long the one with a method.
        base_url: Of the client.

    Raises:
        TypeError: A value is not a `Policy`.
        ValueError: A key is neither a URL nor a path.

    """

    def __init__(self, policies: Mapping[str, Policy], base_url: Any) -> None:
        self._routes: list[tuple[str, str, str, Policy]] = []
        for route, policy in policies.items():
            if not isinstance(policy, Policy):
                raise TypeError(f"routes[{route!r}] must be a Policy, got {policy!r}")
            self._routes.append((*_parts_of(route, base_url), policy))
        self._routes.sort(key=lambda found: (len(found[2]), found[0]), reverse=True)

    def find(self, request: Any) -> Policy | None:
        """Return the policy of the route that `request` takes; None for no route."""
        method, origin, path = request.method, key_of(request.url), request.url.path
        for its_method, its_origin, head, policy in self._routes:
            fits = its_method in ("", method) and its_origin in ("", origin)
            # Whole segments: a route to /order is none to /orders.
            if fits and f"{path}/".startswith(f"{head}/"):
                return policy
        return None


def _parts_of(route: str, base_url: Any) -> tuple[str, str, str]:
    method, _, place = route.rpartition(" ")
    url = urlsplit(place)
    if url.scheme in PORTS and url.hostname:
        port = url.port or PORTS[url.scheme]
        origin = f"{url.scheme}://{url.hostname}:{port}"
        return method, origin, url.path.rstrip("/")
    if not place.startswith("/"):
        raise ValueError(f"routes must be URLs or paths from /, got {route!r}")
    if base_url is None or not base_url.host:
        return method, "", place.rstrip("/")
    return method, key_of(base_url), base_url.path.rstrip("/") + place.rstrip("/")


def key_of(url: Any) -> str:
    """Return what calls to `url` have in common, whatever its scheme."""
    scheme, port = url.scheme, url.port
    if port is None:
        port = PORTS.get(scheme)
    return f"{scheme}://{url.host}:{port}" if port else f"{scheme}://{url.host}"


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
    check("extensions['idempotent']", said, bool)
    return said is True


def check(name: str, value: object, kind: type) -> None:
    """Let pass an instance of `kind` and None.

    Raises:
        TypeError: It is neither.

    """
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__} or None, got {value!r}")
