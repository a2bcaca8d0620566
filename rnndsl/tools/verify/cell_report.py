"""What the checks of one cell found, and on what machine."""

import platform
from dataclasses import dataclass, field

import torch

from rnndsl.tools.verify.finding import FAIL, Finding
from rnndsl.version import VERSION


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


def versions() -> dict[str, str]:
    """Of what a verdict may depend on."""
    return {"rnndsl": VERSION, "torch": torch.__version__, "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
