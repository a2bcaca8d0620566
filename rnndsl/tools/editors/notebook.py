"""The cell magic %%rnn: `%load_ext rnndsl`, then cells of a notebook hold programs. Imports nothing of IPython."""

import argparse
import shlex
import sys
from typing import Any, NoReturn

from rnndsl import compiler, programs
from rnndsl.diagnostics import RnnError
from rnndsl.reading import as_source
from rnndsl.report import render
from rnndsl.tools import Unfit
from rnndsl.tools.arguments import parse_shape, parse_sizes

NAME = "%%rnn"  # what messages call the program


class CellError(RnnError):
    """A wrong program in a notebook's cell: shown as the compiler shows it, in place of a traceback."""

    coloured = True

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [line for d in self.diagnostics for line in [*render(d, self.source, self.coloured).split("\n"), ""]]


class CellMisuse(Unfit):
    """Arguments of %%rnn that do not fit; shown without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{NAME}: {self}"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CellMisuse(f"{message}\n\n{self.format_usage()}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=NAME, add_help=False)
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("--shape", metavar="B,T")
    parser.add_argument("--size", nargs="+", action="extend", default=[], metavar="H=256")
    return parser


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext rnndsl` calls."""

    def rnn(line: str, cell: str) -> None:
        """Compiles a program: its cells become classes of the notebook, and what the compiler finds in them is shown.

        %%rnn [-q] [--shape B,T] [--size H=256 D=64]

        -q, --quiet   show nothing but warnings
        --shape B,T   sequences and steps of a call: the schedule for them
        --size H=256  sizes of the cells; counts become numbers
        """
        run(shell, line, cell)

    shell.register_magic_function(rnn, magic_kind="cell", magic_name="rnn")


def run(shell: Any, line: str, cell: str) -> None:
    """Compiles, shows and binds. Raises CellError for a wrong program, CellMisuse for arguments that do not fit."""
    from rnndsl.tools.explain import Explanation, explain

    coloured = str(getattr(shell, "colors", "")).lower() != "nocolor"
    try:
        options = _parser().parse_args(shlex.split(line))
        shape, sizes = parse_shape(options.shape), parse_sizes(options.size)
        source = as_source("\n" + cell, NAME)  # lines are counted from the one that says %%rnn
        checked = compiler.compiled(source)
        module = programs.load(source)
        found = Explanation(()) if options.quiet else explain(checked, None, shape, sizes)
    except RnnError as e:
        error = CellError(e.source, e.diagnostics)
        error.coloured = coloured
        raise error from None
    except ValueError as e:  # Unfit, and quotes that shlex finds open
        raise e if isinstance(e, CellMisuse) else CellMisuse(str(e)) from None
    for d in checked.warnings:
        print(render(d, source, coloured), file=sys.stderr)
    for c in found.cells:
        shell.display_pub.publish({"text/latex": Explanation((c,))._repr_latex_()})
        shell.display_pub.publish({"text/html": c.html(equations=False), "text/plain": c.text})
    shell.push({c.name: getattr(module, c.name) for c in checked.program.cells})
