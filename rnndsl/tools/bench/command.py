"""`rnndsl bench` from its arguments to what it prints."""

import json
import os
import sys
from argparse import Namespace

from rnndsl import api, compiler
from rnndsl.checks.cell import Cell
from rnndsl.cli import INTERRUPTED
from rnndsl.diagnostics import Source
from rnndsl.tools import Unfit
from rnndsl.tools.bench.settings import parse


def bench(options: Namespace, source: Source) -> int:
    """Measures and prints; returns the exit status.

    Raises Unfit for arguments that do not fit, RnnError for a wrong program, NoMatplotlib, OSError for a picture that cannot be written.
    """
    settings = parse(options)
    cell = chosen_cell(source, options.cell)
    if settings.threads is not None:  # before torch is imported, so that every library in it hears of it
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    from rnndsl.tools.bench.picture import check_picture, draw
    from rnndsl.tools.bench.progress import Progress
    from rnndsl.tools.bench.report import data, table
    from rnndsl.tools.bench.run import check_over, run

    check_over(cell, settings.over)
    if options.picture:
        check_picture(options.picture, settings.over)
    layer_class = getattr(api.load(source.text, source.name), cell.name)
    progress = Progress()
    try:
        result = run(source.name, cell, layer_class, settings, progress)
    finally:
        progress.clear()
    print(json.dumps(data(result), indent=1) if options.json else table(result), end="\n" if options.json else "")
    if options.picture:
        draw(result, options.picture)
        print(f"wrote {options.picture}", file=sys.stderr if options.json else sys.stdout)
    return INTERRUPTED if result.interrupted else 0


def chosen_cell(source: Source, name: str | None) -> Cell:
    """The cell of that name, or the only one. Raises Unfit where that is none, RnnError for a wrong program."""
    program = compiler.checked(source).program
    api.require_cells(program)
    names = [c.name for c in program.cells]
    if name is not None and name not in names:
        raise Unfit(f"there is no cell {name}; there is {', '.join(names)}")
    if name is None and len(names) > 1:
        raise Unfit(f"there are several cells; choose one with --cell: {', '.join(names)}")
    return program.cells[names.index(name) if name is not None else 0]
