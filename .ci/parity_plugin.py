"""A plugin for pytest: our clients in the place of httpx's, and a list of what passes.

OURS names the module that the clients are taken from, and is empty to leave httpx
alone; PASSED names the file for the list.
"""

import importlib
import os
import sys
from pathlib import Path

import pytest


def _put_in_place(ours: str) -> None:
    module = importlib.import_module(ours)
    for replacement in (module.AsyncClient, module.Client):
        plain = replacement.__bases__[-1]
        family = plain.__module__.partition(".")[0]
        for name, found in list(sys.modules.items()):
            # In its private modules, too: `httpx.get()` takes its client from one.
            inside = name.partition(".")[0] == family
            if inside and getattr(found, plain.__name__, None) is plain:
                setattr(found, plain.__name__, replacement)


class _Passed:
    def __init__(self) -> None:
        self._passed = set[str]()
        self._failed = set[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self._passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        passed = sorted(self._passed - self._failed)
        Path(os.environ["PASSED"]).write_text("".join(f"{name}\n" for name in passed))


def pytest_configure(config: pytest.Config) -> None:
    """Take part in the run, before any test is imported."""
    if os.environ["OURS"]:
        _put_in_place(os.environ["OURS"])
    config.pluginmanager.register(_Passed())
