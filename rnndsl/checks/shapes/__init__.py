"""Named syntax tree -> Cell: every expression gets a type, functions are inlined, nothing is evaluated."""

from rnndsl.checks.cell import Cell, Returned, Variable
from rnndsl.checks.shapes.declarations import check_const_order, header_of, variables_of
from rnndsl.checks.shapes.equations import assign, outputs_of, repeat
from rnndsl.checks.shapes.scope import Scope
from rnndsl.checks.shapes.sizes import type_of
from rnndsl.diagnostics import Collector
from rnndsl.syntax import ast


def program_of(file: ast.File, out: Collector) -> tuple[Cell, ...]:
    """Types every cell of a file whose names are right."""
    functions = {f.name.id: f for f in file.functions}
    cells = [check_shapes(c, functions, out) for c in file.cells]
    return tuple(c for c in cells if c is not None)


def check_shapes(cell: ast.CellDef, functions: dict[str, ast.FunctionDef], out: Collector) -> Cell | None:
    """The typed cell, or None where something was reported."""
    before = sum(d.severity == "error" for d in out.found)
    checked = _typed(cell, Scope(cell.name, functions, out))
    return checked if sum(d.severity == "error" for d in out.found) == before else None


def _typed(cell: ast.CellDef, scope: Scope) -> Cell:
    header = header_of(scope, cell)
    declared = [s for s in cell.statements if isinstance(s, ast.Declaration)]
    for d in declared:
        shape = scope.guard(lambda d=d: type_of(scope, d.shape))
        for name in d.names:
            scope.roles[name.id] = d.role
            if shape is None:
                scope.failed.add(name.id)
            else:
                scope.types[name.id] = shape
    # consts may be made of other consts, in any order
    variables = [v for d in declared for v in variables_of(scope, d)]
    check_const_order(scope, variables)
    for s in cell.statements:
        if isinstance(s, ast.Assign):
            assign(scope, s, scope.body)
        elif isinstance(s, ast.Repeat):
            repeat(scope, s)
    outputs = [r for s in cell.statements if isinstance(s, ast.Output) for r in outputs_of(scope, s)]
    _check_dependence(scope, variables, outputs)
    return Cell(cell.name.id, cell.doc or "", header, tuple(variables), tuple(scope.body), tuple(outputs), span=cell.span)


def _check_dependence(scope: Scope, variables: list[Variable], outputs: list[Returned]) -> None:
    """A cell without a state has an output that changes with an input, or at least from step to step."""
    if any(v.role == "state" for v in variables) or scope.out.failed or not outputs:
        return
    if not any(scope.changes(o.value) for o in outputs):
        scope.report("no-dependence", f"the cell `{scope.name.id}` has no state, and its outputs read no input",
                     outputs[0].span, "the same at every step",
                     hint="a value that does not change from step to step needs no cell")  # fmt: skip


__all__ = ["check_shapes", "program_of"]
