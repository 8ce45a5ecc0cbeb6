"""Bugs that the search has to find: each puts one back that somebody has had.

`python -m incidents --plant NAME` searches with one of them in place.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

from resilient_http._core.hop import Plan
from resilient_http._hands import driving


@contextmanager
def with_bug(name: str | None) -> Iterator[None]:
    """Have one bug, or none, in what runs."""
    if name is None:
        yield
        return
    with BUGS[name].planted():
        yield


class Bug:
    """A bug: what it replaces, and what it breaks.

    Args:
        owner: A class or module.
        name: Of one of its functions.
        make: From the right function, the wrong one.
        breaks: The invariants by which it is found.

    """

    def __init__(
        self,
        owner: Any,
        name: str,
        make: Callable[[Any], Any],
        breaks: set[str],
    ) -> None:
        self._owner = owner
        self._name = name
        self._make = make
        self.breaks = breaks

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have it in what runs."""
        wrong = self._make(getattr(self._owner, self._name))
        with mock.patch.object(self._owner, self._name, wrong):
            yield


def _keeping_slots(_: Any) -> Any:
    def abandon(plan: Any, out: Any, now: float) -> None:
        for passed in out:
            plan._lane.settle(passed, None, now)

    return abandon


def _mending_nothing(_: Any) -> Any:
    async def mend(*_: object) -> None:
        pass

    return mend


BUGS: Final = {
    "permit_lost_on_cancellation": Bug(
        Plan, "_abandon", _keeping_slots, {"permits_are_given_back"}
    ),
    "place_lost_on_a_cut_close": Bug(
        driving, "mend", _mending_nothing, {"pools_are_whole"}
    ),
}
