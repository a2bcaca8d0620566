"""What `verify` returns: pages, and plain data."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rnndsl.tools.html import in_fixed_width
from rnndsl.tools.verify.cell_report import CellReport, Line, versions
from rnndsl.tools.verify.page import Paint, page, plain

JSON_VERSION = 1


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
        return self.as_text(plain)

    def as_text(self, paint: Paint) -> str:
        """The pages, with verdicts in colour where `paint` gives them one."""
        return "\n\n\n".join(page(c, paint) for c in self.cells) + ("\n\nInterrupted: this is what was found until then." if self.interrupted else "")

    @property
    def data(self) -> dict[str, Any]:
        """What `verify --json` prints."""
        return {"version": JSON_VERSION, "passed": self.passed, "interrupted": self.interrupted, "cells": [_data(c) for c in self.cells]}

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return in_fixed_width(self.text)


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
