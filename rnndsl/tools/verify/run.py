"""A verification from its settings to a report. A check that fails stops no other."""

import time
import warnings
from collections.abc import Callable

import torch

from rnndsl import compiler, programs
from rnndsl.checks import require_cells
from rnndsl.diagnostics import Source
from rnndsl.tools import Unfit
from rnndsl.tools.verify.cell_report import CellReport, Line
from rnndsl.tools.verify.checks import checks
from rnndsl.tools.verify.context import Context, threads
from rnndsl.tools.verify.finding import FAIL, REPORT, SKIP, Finding
from rnndsl.tools.verify.report import Report
from rnndsl.tools.verify.settings import Settings

Tick = Callable[[str, str, int, int], None]  # cell, check, checks done, checks in all


def verify(source: Source, cell: str | None, settings: Settings, tick: Tick) -> Report:
    """Verifies the cells of a program, or the one named `cell`; an interruption from the keyboard ends it with what is found so far.

    Raises RnnError for a wrong program, Unfit for a cell, a size or a backend that does not fit.
    """
    checked = compiler.compiled(source)
    require_cells(checked.program)
    names = [c.name for c in checked.program.cells]
    if cell is not None and cell not in names:
        raise Unfit(f"there is no cell {cell}; there is {', '.join(names)}")
    module = programs.load(source)
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
