"""A mutant and its judges, in a process that is forked for them.

What the tests import from elsewhere is imported once, before. Our own packages and the
tests are imported anew in each process, with the mutant in the place of its module.
"""

import gc
import importlib
import math
import os
import resource
import signal
import sys
from collections.abc import Iterable
from enum import StrEnum
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Final, NamedTuple, NoReturn

import pytest

from mutants.targets import ROOT, TARGETS, Target

LEAST_CPU: Final = 5.0
"""Seconds that the judges may compute at least before the mutant counts as stuck."""

TIMES_CPU: Final = 5.0
"""What they may compute, as often as they do without a mutant."""

TIMES_WALL: Final = 30
"""How long they may take, computing or not: the machine may have more to do."""

_MEMORY: Final = 4 << 30  # bytes of addresses

PROFILE: Final = "--hypothesis-profile=mutants"

_NEVER_LOADED: Final = 77

_PLUGINS: Final = ["anyio.pytest_plugin", "_hypothesis_pytestplugin"]

_WARM: Final = ["pytest", "_pytest.doctest", "hypothesis.stateful", "trio.testing"]
"""What the tests import, beside what our own packages do."""

_OURS: Final = ("resilient_http", "server_kit")

_ARGUMENTS: Final = [
    *("-x", "-q", "--no-header", "--no-summary", "--tb=no", "-o", "addopts="),
    *("-p", "no:cacheprovider", *(part for it in _PLUGINS for part in ("-p", it))),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
    PROFILE,
]


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    """A test failed, or it could not even be imported."""

    STUCK = "stuck"
    """Killed as well: the tests did not come to an end."""

    SURVIVED = "survived"


class Allowance(NamedTuple):
    """What the judges may take, in seconds."""

    cpu: int
    wall: int


class NotJudgedError(Exception):
    """Nothing that the judges say of this module would mean anything."""


def warm_up() -> None:
    """Import what is the same for every mutant."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in (*_PLUGINS, *_WARM, *_OURS, *(it.module for it in TARGETS.values())):
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.split(".")[0] in _OURS]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # or each process would look through all of it, several times


def measure(target: Target) -> float:
    """Return how many seconds the judges compute over the module as it is.

    Raises:
        NotJudgedError: They do not pass, or do not look at it.

    """
    before = _computed()
    start(target, target.source, Allowance(600, 600))
    _, verdict = wait()
    if verdict is not Verdict.SURVIVED:
        judges = " ".join(target.judges)
        raise NotJudgedError(f"without a mutant this fails: pytest {PROFILE} {judges}")
    return _computed() - before


def allowance(seconds: float) -> Allowance:
    """Return what judges may take who usually compute for so many seconds."""
    cpu = math.ceil(max(LEAST_CPU, TIMES_CPU * seconds))
    return Allowance(cpu, cpu * TIMES_WALL)


def start(target: Target, source: str, allowed: Allowance) -> int:
    """Judge `source` in the place of a module, in the process that is returned."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _judge(target, source, allowed)
    return pid


def wait() -> tuple[int, Verdict]:
    """Wait until one of the processes has ended, and return which and its verdict.

    Raises:
        NotJudgedError: The tests do not look at the module.

    """
    pid, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    if code == _NEVER_LOADED:
        raise NotJudgedError("the tests do not import what they judge")
    if code < 0:
        return pid, Verdict.STUCK
    return pid, Verdict.KILLED if code else Verdict.SURVIVED


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _judge(target: Target, source: str, allowed: Allowance) -> NoReturn:
    code = 1
    try:
        # Each ends the process, which nothing in it can prevent.
        signal.alarm(allowed.wall)
        resource.setrlimit(resource.RLIMIT_CPU, (allowed.cpu, allowed.cpu + 1))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.chdir(ROOT)
        stand_in = _StandIn(target, source)
        sys.meta_path.insert(0, stand_in)
        for judge in target.judges:  # the next is not even imported, if this one fails
            code = int(pytest.main([*_ARGUMENTS, judge]))
            if code:
                break
        else:
            code = 0 if stand_in.was_loaded else _NEVER_LOADED
    finally:
        os._exit(code)


class _StandIn(MetaPathFinder, Loader):
    """Gives a module another text."""

    def __init__(self, target: Target, source: str) -> None:
        self._target = target
        self._source = source
        self.was_loaded = False

    def find_spec(
        self,
        fullname: str,
        path: Iterable[str] | None,  # noqa: ARG002 - of the protocol
        target: ModuleType | None = None,  # noqa: ARG002 - likewise
    ) -> ModuleSpec | None:
        if fullname != self._target.module:
            return None
        origin = str(ROOT / self._target.path)
        return spec_from_loader(fullname, self, origin=origin)

    def exec_module(self, module: ModuleType) -> None:
        code = compile(self._source, str(ROOT / self._target.path), "exec")
        exec(code, module.__dict__)  # noqa: S102 - our own text, or nearly
        self.was_loaded = True
