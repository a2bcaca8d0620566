"""How a recurrence was solved, from what the programs of a kernel report."""

from dataclasses import dataclass

from torch import Tensor

from rnndsl.tiles import SEQUENTIAL, Tiles


@dataclass(frozen=True)
class SolveReport:
    """How one recurrence was solved, over all chunks of time of all programs.

    rounds: of Newton's method in a chunk, mean and most; residual: the largest |s[t] - f(s[t-1], u[t])| / (1 + |s[t]|) that was accepted;
    alone: chunks that were run step by step instead. A sequential schedule has one chunk and no rounds.
    """

    recurrence: str
    schedule: str
    chunks: int
    rounds: float
    most_rounds: int
    residual: float
    alone: int

    @staticmethod
    def of(name: str, tiles: Tiles, report: Tensor | None) -> "SolveReport":
        """The report of a recurrence, from what its programs wrote."""
        if tiles.schedule == SEQUENTIAL or report is None:
            return SolveReport(name, SEQUENTIAL, 1, 0.0, 0, 0.0, 0)
        values = report.double().cpu()
        chunks = int(values[:, 0].sum())
        return SolveReport(
            name, "newton" if tiles.schedule != SEQUENTIAL else SEQUENTIAL, chunks, float(values[:, 1].sum()) / max(1, chunks),
            int(values[:, 2].max()), float(values[:, 4].max()), int(values[:, 3].sum()),
        )  # fmt: skip

    def __str__(self) -> str:
        if self.schedule == SEQUENTIAL:
            return f"{self.recurrence}: sequential"
        alone = f", {self.alone} of them step by step" if self.alone else ""
        return f"{self.recurrence}: {self.chunks} chunks{alone}, {self.rounds:.1f} rounds each, {self.most_rounds} at most, residual {self.residual:.1e}"
