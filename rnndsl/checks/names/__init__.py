"""File -> Names, or errors: every name is declared once, in its place, and read where it may be."""

from rnndsl.checks.names.declarations import declaration, declare, header_name
from rnndsl.checks.names.equations import locals_of, no_state, statement
from rnndsl.checks.names.functions import FunctionNames, check_recursion
from rnndsl.checks.names.items import check_items
from rnndsl.checks.names.scope import Scope
from rnndsl.checks.names.whole import check_whole, output
from rnndsl.diagnostics import Collector
from rnndsl.syntax import ast


def check_names(file: ast.File, out: Collector) -> None:
    """Reports every wrong use of a name in a file."""
    check_items(file, out)
    functions = {f.name.id: f for f in file.functions}
    check_recursion(functions, out)
    for function in file.functions:
        FunctionNames(function, functions, out).check()
    for cell in file.cells:
        _check_cell(Scope(cell, functions, out))


def _check_cell(scope: Scope) -> None:
    """Declarations may stand anywhere; equations are read in the order of the text."""
    statements = scope.cell.statements
    declarations = [s for s in statements if isinstance(s, ast.Declaration)]
    for h in scope.cell.header:
        header_name(scope, h)
    for d in declarations:
        for name in d.names:
            declare(scope, name, d.role)
    scope.locals = locals_of(scope, statements)
    scope.counters = {s.variable.id: s.variable.span for s in statements if isinstance(s, ast.Repeat)}
    for d in declarations:
        declaration(scope, d)
    for s in statements:  # first, so that the reads of such a name give no second message
        for target in s.targets if isinstance(s, ast.Assign) else ():
            if target.index is not None and target.name.id not in scope.roles:
                no_state(scope, target)
    for s in statements:
        statement(scope, s, counter=None)
    for s in statements:
        if isinstance(s, ast.Output):
            output(scope, s)
    check_whole(scope)
