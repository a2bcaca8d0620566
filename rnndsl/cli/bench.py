"""`rnndsl bench`: times a cell on this machine."""

import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from rnndsl import programs
from rnndsl.backends import NAMES as BACKENDS
from rnndsl.checks.cell import Cell
from rnndsl.cli.programs import chosen_cell, read, take_cell, take_file
from rnndsl.cli.progress import Progress
from rnndsl.cli.status import INTERRUPTED, Misuse
from rnndsl.diagnostics import Source
from rnndsl.files import same_file
from rnndsl.tools.bench.settings import AGAINST, DIRECTIONS, SCOPES, USUAL_SIZES, Settings, parse


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "bench",
        help="time a cell here, next to PyTorch's loop, torch.compile, torch.nn, and what the machine can do",
        description="Times a cell on this machine: our backends, the PyTorch loop, the loop with a compiled step, torch.nn where it has the\n"
        "cell, pararnn-torch where it is installed and has it. All in turn, in one run. docs/bench.md says what is measured and how.",
        epilog="examples:\n  rnndsl bench gru.rnn\n  rnndsl bench gru.rnn --shape 16,256 --size H=512 --against loop,nn\n"
        "  rnndsl bench gru.rnn --direction forward --scope step --json\n"
        "  rnndsl bench gru.rnn --over T=64,256,1024 --picture times.svg\n"
        "  rnndsl bench gru.rnn --ranks 2 --shape 1,65536\n",
    )
    take_file(p)
    take_cell(p)
    p.add_argument("--shape", metavar="B,T", help="sequences and steps of a call (default 4,1024)")
    p.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=256", help=f"sizes of the cell (default {USUAL_SIZES})")
    p.add_argument("--dtype", default="float32", metavar="TYPE", help="float32 (default), float64, bfloat16 or float16")
    p.add_argument("--against", metavar="NAMES", help=f"of {','.join(AGAINST)} (default: all of them)")
    p.add_argument("--backends", metavar="NAMES", help=f"of {','.join(BACKENDS)} (default: those that can run the cell)")
    p.add_argument("--direction", metavar="NAMES", help=f"of {','.join(DIRECTIONS)} (default: both of them)")
    p.add_argument("--scope", metavar="NAMES", help=f"of {','.join(SCOPES)} (default: all of them)")
    p.add_argument("--ranks", metavar="N", help="N processes here share the time of a call of the layer: they against one process (default: none)")
    p.add_argument("--repeats", metavar="N", help="rounds (default: up to 20, fewer where they are slow)")
    p.add_argument("--threads", metavar="N", help="threads of PyTorch and of the kernels (with --ranks: of each process, 1 if not given)")
    p.add_argument("--over", metavar="T=64,256", help="repeat it for these values of T, B or a size")
    p.add_argument("--picture", metavar="OUT", help="draw time against what --over varies: a .png or .svg file")
    p.add_argument("--json", action="store_true", help="print every sample as plain data")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Measures, prints, draws."""
    if options.picture and same_file(Path(options.picture), [Path(options.file)]):
        raise Misuse(f"{options.picture} is the program itself; name another file")
    source = read(options.file)
    settings = parse(options)
    cell = chosen_cell(source, options.cell)
    if settings.threads is not None:  # before torch is imported, so that every library in it hears of it
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    progress = Progress()
    progress.say("importing PyTorch")
    if settings.ranks is not None:
        return _over_ranks(source, cell, settings, options.json, progress)
    from rnndsl.tools.bench.picture import check_picture, draw
    from rnndsl.tools.bench.report import data, table
    from rnndsl.tools.bench.run import check_over
    from rnndsl.tools.bench.run import run as measured

    try:
        check_over(cell, settings.over)
        if options.picture:
            check_picture(options.picture, settings.over)
        layer_class = getattr(programs.load(source), cell.name)
        result = measured(source.name, cell, layer_class, settings, progress)
    finally:
        progress.clear()
    print(json.dumps(data(result), indent=1) if options.json else table(result), end="\n" if options.json else "")
    if options.picture:
        draw(result, options.picture)
        print(f"wrote {options.picture}", file=sys.stderr if options.json else sys.stdout)
    return INTERRUPTED if result.interrupted else 0


def _over_ranks(source: Source, cell: Cell, settings: "Settings", as_json: bool, progress: Progress) -> int:
    """Measures a layer over ranks, and prints it."""
    from rnndsl.tools.bench import ranks

    try:
        progress.say(f"timing {settings.ranks} processes against one")
        found = ranks.run(source, cell, getattr(programs.load(source), cell.name), settings)
    finally:
        progress.clear()
    print(json.dumps(found, indent=1) if as_json else ranks.table(found), end="\n" if as_json else "")
    return 0
