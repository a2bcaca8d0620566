"""THE line: text -> Ast -> Cell -> Plan -> kernels and module. One screen."""

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rnndsl.checks import check
from rnndsl.checks.cell import Program
from rnndsl.diagnostics import Diagnostic, RnnError, Source, Span
from rnndsl.syntax import ast
from rnndsl.syntax.parser import parse

_RECURSION = 10_000  # trees are at most a few hundred levels deep; every stage takes a few frames a level


@dataclass(frozen=True)
class Checked:
    """A program without errors."""

    file: ast.File
    program: Program
    warnings: tuple[Diagnostic, ...]


@contextmanager
def deep_trees(source: Source):
    """Lets Python go deeper than it does by itself. Raises RnnError where a program needs still more, or more memory than there is."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION))
    try:
        yield
    except RecursionError:
        hint = "name what is in the middle of a formula, or use fewer rounds of a repeat and fewer calls in each other"
        raise _too_large(source, "what is made of it is nested too deeply", f"over {_RECURSION:,} levels", hint) from None
    except MemoryError:
        raise _too_large(source, "there is not enough memory for it", "too large for this machine", "split it into smaller cells") from None
    finally:
        sys.setrecursionlimit(limit)


def _too_large(source: Source, why: str, label: str, hint: str) -> RnnError:
    title = f"this program is too large: {why}"
    return RnnError(source, [Diagnostic("too-large", title, Span(0, len(source.text.split("\n", 1)[0])), label, hints=(hint,))])


def checked(source: Source) -> Checked:
    """Parses and checks. Raises RnnError with every error of the stage that failed."""
    with deep_trees(source):
        file = parse(source)
        program, warnings = check(file, source)
        return Checked(file, program, tuple(warnings))


def plans(program: Program) -> tuple:
    """The plan of each cell of a checked program, held against the rules of a legal plan."""
    from rnndsl.plan.build import make_plan
    from rnndsl.plan.verify import verify

    with deep_trees(program.source):
        return tuple(verify(make_plan(cell)) for cell in program.cells)


def system(plan: Any, source: Source, sizes: dict[str, int] | None = None, longest: int | None = None) -> Any:
    """What the calculus finds of a cell: the family, structure and derivatives of its components; repeats of more than `longest` rounds stand
    for themselves. Raises RnnError where it is too large for that."""
    from rnndsl.calculus.analysis import analyse

    with deep_trees(source):
        return analyse(plan, source, sizes, longest)


def systems(program: Program) -> tuple:
    """The system of each cell of a checked program."""
    return tuple(system(plan, program.source) for plan in plans(program))


def kernels(program: Program) -> tuple[str, ...]:
    """The C++ of the recurrences of each cell of a checked program."""
    from rnndsl.emit.cpp.library import cpp_text

    with deep_trees(program.source):
        return tuple(cpp_text(plan, program.source).text for plan in plans(program))


def triton_kernels(program: Program) -> tuple:
    """The Triton kernels of the recurrences of each cell of a checked program."""
    from rnndsl.emit.triton.library import kernels_text

    with deep_trees(program.source):
        return tuple(kernels_text(plan, program.source) for plan in plans(program))


def module(program: Program, standalone: bool = False) -> str:
    """The Python module of a checked program."""
    from rnndsl.emit.module import module_text

    with deep_trees(program.source):
        return module_text(plans(program), program.source, standalone)
