"""A verification from its settings to a report. A check that fails stops no other."""

import math
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

import torch

from rnndsl import api, compiler
from rnndsl.diagnostics import Source
from rnndsl.tools import Unfit
from rnndsl.tools.verify.checks import checks
from rnndsl.tools.verify.context import Context, threads
from rnndsl.tools.verify.finding import FAIL, PASS, REPORT, SKIP, Finding
from rnndsl.tools.verify.settings import Settings
from rnndsl.version import VERSION

JSON_VERSION = 1
Tick = Callable[[str, str, int, int], None]  # cell, check, checks done, checks in all


@dataclass(frozen=True)
class Line:
    """A check and what it found. seconds: that it took."""

    check: str
    what: str
    finding: Finding
    seconds: float


@dataclass
class CellReport:
    """One cell verified. line: of its header in the program."""

    cell: str
    program: str
    line: int
    sizes: dict[str, int]
    seed: int
    devices: dict[str, str]
    lines: list[Line] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not any(x.finding.verdict == FAIL for x in self.lines)

    def count(self, verdict: str) -> int:
        return sum(x.finding.verdict == verdict for x in self.lines)


@dataclass
class Report:
    """What `verify` returns: it prints as its pages, and shows itself in a notebook."""

    cells: list[CellReport] = field(default_factory=list)
    interrupted: bool = False

    @property
    def passed(self) -> bool:
        """Whether no check failed, and all were run."""
        return not self.interrupted and all(c.passed for c in self.cells)

    @cached_property
    def text(self) -> str:
        from rnndsl.tools.verify.page import page

        return "\n\n\n".join(page(c) for c in self.cells) + ("\n\nInterrupted: this is what was found until then." if self.interrupted else "")

    @property
    def data(self) -> dict[str, Any]:
        """What `verify --json` prints."""
        return {"version": JSON_VERSION, "passed": self.passed, "interrupted": self.interrupted, "cells": [_data(c) for c in self.cells]}

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.text)}</pre>"


def verify(source: Source, cell: str | None, settings: Settings, tick: Tick) -> Report:
    """Verifies the cells of a program, or the one named `cell`; an interruption from the keyboard ends it with what is found so far.

    Raises RnnError for a wrong program, Unfit for a cell, a size or a backend that does not fit.
    """
    checked = compiler.compiled(source)
    api.require_cells(checked.program)
    names = [c.name for c in checked.program.cells]
    if cell is not None and cell not in names:
        raise Unfit(f"there is no cell {cell}; there is {', '.join(names)}")
    module = api.load(source.text, source.name)
    report = Report()
    contexts = [
        Context(plan, source, checked.file, getattr(module, plan.cell.name), settings, torch.get_num_threads())
        for plan in checked.plans
        if cell in (None, plan.cell.name)
    ]
    try:
        with threads(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for c, table in [(c, list(checks(c))) for c in contexts]:
                report.cells.append(_begun(c))
                for done, check in enumerate(table):
                    tick(c.cell.name, check.name, done, len(table))
                    start = time.perf_counter()
                    found = _guarded(check.run)
                    report.cells[-1].lines.append(Line(check.name, check.what, found, time.perf_counter() - start))
    except KeyboardInterrupt:
        report.interrupted = True
    return report


def _guarded(run: Callable[[], Finding]) -> Finding:
    """What a check finds; a failure where it cannot be carried out."""
    try:
        return run()
    except Unfit as e:
        return Finding(SKIP, notes=(str(e),))
    except Exception as e:
        lines = [line.strip() for line in str(e).splitlines() if line.strip()]
        what = f"it raised {type(e).__name__}{': ' + ' '.join(lines[:3])[:300] if lines else ''}"
        return Finding(FAIL, notes=(what, REPORT))


def _begun(c: Context) -> CellReport:
    tree = next(t for t in c.file.cells if t.name.id == c.cell.name)
    devices = {b.name: torch.cuda.get_device_name() if b.device == "cuda" else "interpreter" if b.is_interpreted else "CPU" for b in c.backends}
    return CellReport(c.cell.name, c.source.name, c.source.line_of(tree.name.span.start), c.subject.sizes, c.settings.seed, devices)


def versions() -> dict[str, str]:
    return {"rnndsl": VERSION, "torch": torch.__version__, "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}


def _data(c: CellReport) -> dict[str, Any]:
    return {
        "cell": c.cell, "program": c.program, "line": c.line, "passed": c.passed, "sizes": c.sizes, "seed": c.seed, "devices": c.devices,
        "versions": versions(), "checks": [_line(x) for x in c.lines],
    }  # fmt: skip


def _line(x: Line) -> dict[str, Any]:
    f = x.finding
    return {
        "check": x.check, "what": x.what, "verdict": f.verdict.lower(), "error": _number(f.error), "allowed": _number(f.allowed),
        "where": f.place or None, "call": f.case or None, "notes": list(f.notes), "seconds": round(x.seconds, 3),
    }  # fmt: skip


def _number(x: float | None) -> float | None:
    """A number that JSON has; an infinite error is null, and told in the notes."""
    return x if x is not None and math.isfinite(x) else None


__all__ = ["PASS", "CellReport", "Report", "verify", "versions"]
