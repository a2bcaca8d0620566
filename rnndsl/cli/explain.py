"""`rnndsl explain`: says what the compiler finds in the equations."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from rnndsl import compiler
from rnndsl.checks import require_cells
from rnndsl.cli.output import write
from rnndsl.cli.programs import read, take_file
from rnndsl.cli.terminal import width
from rnndsl.files import same_file
from rnndsl.tools import Unfit
from rnndsl.tools.arguments import parse_count, parse_shape, parse_sizes
from rnndsl.tools.columns import of_width


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "explain",
        help="say what the compiler finds in the equations",
        description="Prints a page a cell: what is computed once, what for all steps at once, the components of the recurrence with\n"
        "their family, structure and Jacobian, what a step costs, and the schedule that a model predicts. docs/explain.md explains it.",
        epilog="examples:\n  rnndsl explain gru.rnn\n  rnndsl explain gru.rnn --shape 8,4096 --size H=256 D=64 --ranks 8\n"
        "  rnndsl explain cells.rnn --cell GRU --json\n  rnndsl explain gru.rnn --latex > gru.tex\n"
        "  rnndsl explain gru.rnn --picture gru.svg\n",
    )
    take_file(p)
    p.add_argument("--cell", metavar="NAME", help="this cell alone")
    p.add_argument("--shape", metavar="B,T", help="sequences and steps of a call: the schedule for them")
    p.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=256", help="sizes of the cell; counts become numbers")
    p.add_argument("--ranks", metavar="N", help="how N ranks would share the time of a call, and what they would send; with --shape and all sizes")
    form = p.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print plain data")
    form.add_argument("--latex", action="store_true", help="print equations and Jacobian for a document with amsmath")
    form.add_argument("--picture", metavar="OUT", help="draw states, streams and the Jacobian's sparsity: a .png or .svg file")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Prints the page of a program's cells, or draws it."""
    from rnndsl.tools.explain import explain
    from rnndsl.tools.page import MARGIN, WIDTH
    from rnndsl.tools.ranks import over_ranks

    shape, sizes, ranks = parse_shape(options.shape), parse_sizes(options.size), parse_count("--ranks", options.ranks)
    result = compiler.compiled(read(options.file))
    require_cells(result.program)
    found = explain(result, options.cell, shape, sizes, None if ranks is None else over_ranks(ranks))
    if options.json:
        print(json.dumps(found.data, indent=2))
    elif options.picture:
        if same_file(Path(options.picture), [Path(options.file)]):
            raise Unfit(f"{options.picture} is the program itself; name another file")
        if len(found.cells) > 1:
            raise Unfit(f"a picture shows one cell; choose one with --cell: {', '.join(c.name for c in found.cells)}")
        found.cells[0].picture(options.picture)
        print(f"wrote {options.picture}")
    else:
        with of_width(width(sys.stdout, WIDTH + MARGIN) - MARGIN):
            write((found.latex if options.latex else found.text) + "\n")
    return 0
