"""THE line: text -> Ast -> Program -> Plans -> Systems -> Kernels -> their text -> module. One screen."""

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from rnndsl import backends
from rnndsl.checks import check
from rnndsl.checks.cell import Program
from rnndsl.diagnostics import Diagnostic, RnnError, Source, Span
from rnndsl.syntax import ast
from rnndsl.syntax.parser import parse

if TYPE_CHECKING:  # each stage is imported when it is asked for: a check needs neither SymPy nor Jinja
    from rnndsl.calculus.analysis import System
    from rnndsl.emit.carried import Carried
    from rnndsl.kernel.build import CellKernels
    from rnndsl.plan.ir import Plan

STAGES = ("ast", "cell", "plan", "system", "graph", "kernels", "triton", "module")  # what can be looked at, in order

_RECURSION = 10_000  # trees are at most a few hundred levels deep; every stage takes a few frames a level


@dataclass(frozen=True)
class Compiled:
    """A program without errors, and what each stage makes of it, when it is first asked for; a value a cell but for `file` and `program`."""

    source: Source
    file: ast.File
    program: Program
    warnings: tuple[Diagnostic, ...]

    @cached_property
    def plans(self) -> "tuple[Plan, ...]":
        """When each equation is computed, held against the rules of a legal plan."""
        from rnndsl.plan.build import make_plan
        from rnndsl.plan.verify import verify

        with deep_trees(self.source):
            return tuple(verify(make_plan(cell)) for cell in self.program.cells)

    @cached_property
    def systems(self) -> "tuple[System, ...]":
        """What the calculus finds: the family, structure and derivatives of each component."""
        from rnndsl.calculus.analysis import analyse

        with deep_trees(self.source):
            return tuple(analyse(plan, self.source) for plan in self.plans)

    @cached_property
    def kernels(self) -> "tuple[CellKernels, ...]":
        """What kernels compute, as graphs."""
        from rnndsl.kernel.build import make_kernels

        with deep_trees(self.source):
            return tuple(make_kernels(system) for system in self.systems)

    @cached_property
    def carried(self) -> "tuple[dict[str, Carried], ...]":
        """The kernels as text, by backend, and what a module says of them."""
        with deep_trees(self.source):
            return tuple({b.name: import_module(b.emitter).carried(kernels, self.source) for b in backends.TABLE} for kernels in self.kernels)

    def module(self, standalone: bool = False) -> str:
        """The Python module; `standalone` needs torch alone."""
        from rnndsl.emit.module import module_text

        with deep_trees(self.source):
            return module_text(self.kernels, self.carried, self.source, standalone)


def compiled(source: Source) -> Compiled:
    """Parses and checks a program; its further stages run when they are asked for. Raises RnnError with every error of the stage that failed."""
    with deep_trees(source):
        file = parse(source)
        program, warnings = check(file, source)
        return Compiled(source, file, program, tuple(warnings))


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


def system(plan: "Plan", source: Source, sizes: dict[str, int] | None = None, longest: int | None = None) -> "System":
    """What the calculus finds of a cell with some sizes known; repeats of more than `longest` rounds stand for themselves. Raises RnnError
    where it is too large to be shown."""
    from rnndsl.calculus.analysis import analyse, require_shown

    with deep_trees(source):
        return require_shown(analyse(plan, source, sizes, longest), source)
