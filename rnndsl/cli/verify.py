"""`rnndsl verify`: checks the layers of a cell on this machine."""

import json
import sys
from argparse import Namespace
from typing import Any

from rnndsl.cli.programs import read, take_file
from rnndsl.cli.progress import Progress
from rnndsl.cli.status import ERRORS, INTERRUPTED
from rnndsl.cli.terminal import has_colour, width
from rnndsl.tools.columns import of_width
from rnndsl.tools.verify.settings import BACKENDS, DTYPES, parse


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "verify",
        help="check the layers of a cell: every backend, gradients, Jacobian, states carried on, resets",
        description="Prints a page a cell with a verdict a line: each backend that runs here against the reference and that against the equations,\n"
        "gradients, the Jacobian, calls that must go together, and how fast. Exits with 1 if a check failed. docs/verify.md explains it.",
        epilog="examples:\n  rnndsl verify gru.rnn\n  rnndsl verify cells.rnn --cell GRU --size H=33 --json\n"
        "  rnndsl verify gru.rnn --backend cpu --dtype float32,bfloat16\n"
        "  TRITON_INTERPRET=1 rnndsl verify para_gru.rnn --backend triton      without a GPU\n",
    )
    take_file(p)
    p.add_argument("--cell", metavar="NAME", help="this cell alone")
    p.add_argument("--backend", metavar="NAMES", help=f"of {','.join(BACKENDS)} (default: those that can run the cell here)")
    p.add_argument("--dtype", default=",".join(DTYPES), metavar="NAMES", help="of the inputs (default: all four)")
    p.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=33", help="sizes of the cell (default: small odd ones)")
    p.add_argument("--seed", default="0", metavar="N", help="of weights and inputs (default 0)")
    p.add_argument("--json", action="store_true", help="print plain data")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Verifies and prints."""
    source = read(options.file)
    settings = parse(options)
    progress = Progress()
    progress.say("importing PyTorch")
    from rnndsl.tools.verify.page import WIDTH, coloured, plain
    from rnndsl.tools.verify.run import verify

    try:
        report = verify(source, options.cell, settings, progress)
    finally:
        progress.clear()
    with of_width(width(sys.stdout, WIDTH)):
        print(json.dumps(report.data, indent=1) if options.json else report.as_text(coloured if has_colour(sys.stdout) else plain))
    return INTERRUPTED if report.interrupted else 0 if report.passed else ERRORS
