"""Ast -> Cell: names, then shapes. All errors of a stage are reported together; the next stage then does not run."""

from rnndsl.checks.cell import Program
from rnndsl.checks.names import check_names
from rnndsl.checks.shapes import program_of
from rnndsl.diagnostics import Collector, Diagnostic, Source, Span
from rnndsl.syntax import ast


def check(file: ast.File, source: Source) -> tuple[Program, list[Diagnostic]]:
    """The checked program and its warnings. Raises RnnError with every error of the stage that failed."""
    out = Collector(source)
    check_names(file, out)
    out.stop_if_any()
    cells = program_of(file, out)
    out.stop_if_any()
    return Program(source, cells), out.found


def require_cells(program: Program) -> None:
    """Raises RnnError where a program holds no cell."""
    if not program.cells:
        out = Collector(program.source)
        end = len(program.source.text.rstrip())
        hint = "a header reads `cell NAME(D, H):`"
        out.error("no-cell", "there is no cell to compile", Span(end, end + 1), "the program ends here", hint=hint)
        out.stop_if_any()
