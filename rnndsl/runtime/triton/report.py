"""What the programs of a kernel report of how they solved a recurrence."""

from torch import Tensor

from rnndsl.runtime.solved import SolveReport
from rnndsl.tiles import NEWTON, SEQUENTIAL, Tiles


def read_report(name: str, tiles: Tiles, report: Tensor | None) -> SolveReport:
    """The report of a recurrence, from what its programs wrote. Waits for the GPU."""
    if tiles.schedule == SEQUENTIAL or report is None:
        return SolveReport(name, SEQUENTIAL)
    values = report.double().cpu()
    chunks = int(values[:, 0].sum())
    return SolveReport(
        name, NEWTON, chunks, float(values[:, 1].sum()) / max(1, chunks),
        int(values[:, 2].max()), float(values[:, 4].max()), int(values[:, 3].sum()),
    )  # fmt: skip
