"""What to do where a value is read before the line that assigns it: which lines move up, or that two values need each other."""

from rnndsl.checks.names.scope import Scope
from rnndsl.checks.names.times import time_lag
from rnndsl.checks.names.words import listed, shorten
from rnndsl.diagnostics import Span
from rnndsl.syntax import ast

_SHOWN = 48  # characters of a line that a hint repeats


def early_hint(scope: Scope, name: str, read: Span) -> str:
    """A hint for a state or local `name` that is read at `read`, before the line that assigns it."""
    old = f"`{name}[t-1]`" if name in scope.states else ""
    reader = _line_at(scope, read)
    needed = _needed(scope, name)
    if reader is not None and reader in needed:
        if old:
            return f"`{name}[t]` is made of what this line makes: read the old value here, {old}"
        return f"`{name}` is made of what this line makes; what is carried from step to step is a state"
    lines = sorted({scope.out.source.position(s.span.start)[0] for s in needed})
    if len(needed) == 1:
        text = shorten(scope.out.source.slice(needed[0].span), _SHOWN)
        what = f"move line {lines[0]}, `{text}`, above this one"
    else:
        what = f"move lines {listed([str(n) for n in lines])} above this one"
    return f"{what}; the old value is {old}" if old else f"{what}: equations are read from top to bottom"


def _line_at(scope: Scope, span: Span) -> ast.Statement | None:
    return next((s for s in scope.cell.statements if s.span.start <= span.start < s.span.end), None)


def _needed(scope: Scope, name: str) -> list[ast.Statement]:
    """The lines that have not been read yet and that the new value of `name` is made of."""
    makes: dict[str, ast.Statement] = {}
    for s in scope.cell.statements:
        for inner in s.body if isinstance(s, ast.Repeat) else (s,):
            for target in inner.targets if isinstance(inner, ast.Assign) else ():
                makes.setdefault(target.name.id, s)
    found: list[ast.Statement] = []
    names = [name]
    while names:
        line = makes.get(made := names.pop())
        if line is None or line in found or made in scope.assigned:
            continue
        found.append(line)
        for inner in line.body if isinstance(line, ast.Repeat) else (line,):
            names.extend(_values_read(scope, inner.value) if isinstance(inner, ast.Assign) else ())
    return found


def _values_read(scope: Scope, expr: ast.Expr) -> list[str]:
    """The locals and the new values of states that an expression reads."""
    match expr:
        case ast.Name():
            return [expr.id] if expr.id in scope.locals else []
        case ast.Index():
            return [expr.base.id] if expr.base.id in scope.states and time_lag(expr.arguments) == 0 else []
    return [n for child in ast.children(expr) for n in _values_read(scope, child)]
