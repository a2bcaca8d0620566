"""`pytest -m ptx`: the tests that run compiled kernels, and a record of what they ran."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PROPERTY = "ptx"  # of a test's report: what its case was, and counts of its launches


def add_options(parser: Any) -> None:
    parser.addoption("--part", action="store_true", help="with -m ptx: of the tests over all cells a few cases that are chosen, as in CI")
    parser.addoption("--ptx-seed", type=int, default=0, help="with -m ptx: of the sizes and tiles that are drawn")
    parser.addoption("--ptx-record", metavar="FILE", help="with -m ptx: write what was run, in counts, to a file")


def chosen(config: pytest.Config) -> bool:
    """Whether this run is of the emulator's tests."""
    return config.getoption("markexpr", "") == "ptx"


def whole(config: pytest.Config) -> bool:
    return chosen(config) and not config.getoption("--part")


def leave(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the emulator's tests out of any other run: there, Triton does not compile; and out of a part what its marks do not name."""
    left = [item for item in items if (not _in_part(item) if chosen(config) else item.get_closest_marker("ptx"))] if not whole(config) else []
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def _in_part(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("part")
    return mark is None or (hasattr(item, "callspec") and item.callspec.id in mark.args)


class Record:
    """Sums what tests say of their launches, over all processes of a run."""

    def __init__(self, config: pytest.Config) -> None:
        self.file = config.getoption("--ptx-record")
        self.is_worker = hasattr(config, "workerinput")
        self.outcomes: Counter[str] = Counter()
        self.cases: Counter[str] = Counter()
        self.launches: Counter[str] = Counter()
        self.cells: set[str] = set()
        self.targets: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        self.outcomes[report.outcome] += 1
        for said in (value for name, value in report.user_properties if name == PROPERTY):
            self.cases[said["kind"]] += 1
            self.cells.add(said["cell"])
            self.targets.add(said["target"])
            self.launches.update(said["counts"])

    def pytest_sessionfinish(self) -> None:
        if self.file and not self.is_worker:
            import torch
            import triton

            found = {
                "target": sorted(self.targets),
                "versions": {"triton": triton.__version__, "torch": torch.__version__},
                "tests": dict(sorted(self.outcomes.items())),
                "cases": dict(sorted(self.cases.items())),
                "counts": dict(sorted(self.launches.items())),
                "cells": sorted(self.cells),
            }
            Path(self.file).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
