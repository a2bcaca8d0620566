"""The header and the declarations: values, constraints, initialisers and noises."""

import math

from rnndsl.checks.cell import SCALAR, Draw, Expr, Hyper, Interval, Ref, Type, Variable, walk
from rnndsl.checks.draws import MATRIX_INITIALISERS
from rnndsl.checks.folding import fold
from rnndsl.checks.shapes.expressions import expression
from rnndsl.checks.shapes.fitting import fits
from rnndsl.checks.shapes.rules import kind
from rnndsl.checks.shapes.scope import Scope, Stop
from rnndsl.diagnostics import Related
from rnndsl.syntax import ast


def header_of(scope: Scope, cell: ast.CellDef) -> tuple[str | Hyper, ...]:
    header: list[str | Hyper] = []
    for h in cell.header:
        name = h.name.id
        scope.types[name] = SCALAR
        if h.default is None:
            scope.roles[name] = "size"
            header.append(name)
        else:
            scope.roles[name] = "hyper"
            header.append(Hyper(name, _default(scope, h)))
    return tuple(header)


def _default(scope: Scope, h: ast.HeaderName) -> float:
    assert h.default is not None
    default = h.default
    value = scope.guard(lambda: fold(expression(scope, default, None)))
    if value is None or isinstance(value, complex):
        if value is not None or not scope.out.failed:
            scope.report("hyperparameter", f"the default of `{h.name.id}` is not a real number", h.default.span, "expected a number")
        return 0.0
    return value


def variables_of(scope: Scope, d: ast.Declaration) -> list[Variable]:
    found = []
    for name in d.names:
        if name.id in scope.failed:
            continue
        t = scope.types[name.id]
        value = scope.guard(lambda t=t: _initial(scope, d, t)) if d.value is not None else None
        interval = scope.guard(lambda: _interval(scope, d)) if d.constraint is not None else None
        draw = scope.guard(lambda t=t, interval=interval: _draw(scope, d, t, interval)) if d.draw is not None else None
        found.append(Variable(name.id, d.role, t, name.span, value, interval, draw))
    return found


def _initial(scope: Scope, d: ast.Declaration, t: Type) -> Expr:
    assert d.value is not None
    value = expression(scope, d.value, None)
    what = "initial value" if d.role == "state" else "value"
    fits(scope, value, t, d.value.span, f"the {what}", d.shape.span)
    return value


def _interval(scope: Scope, d: ast.Declaration) -> Interval:
    assert d.constraint is not None
    low = _scalar(scope, d.constraint.low, "a constraint")
    high = _scalar(scope, d.constraint.high, "a constraint") if isinstance(d.constraint, ast.Between) else None
    a, b = fold(low), fold(high) if high is not None else None
    if isinstance(a, float) and isinstance(b, float) and not a < b:
        scope.report("constraint", "this interval is empty", d.constraint.span, f"{a:g} is not below {b:g}")
    for bound in (a, b):
        if isinstance(bound, float) and not math.isfinite(bound):
            scope.report("constraint", "the bound of a constraint is finite", d.constraint.span, "an infinite bound",
                         hint="leave the constraint out, or write `> lo`")  # fmt: skip
    if d.shape.is_complex:
        scope.report("constraint", "a complex param has no order", d.constraint.span, "a constraint needs real values")
    return Interval(low, high)


def _scalar(scope: Scope, expr: ast.Expr, what: str) -> Expr:
    value = expression(scope, expr, None)
    if value.type != SCALAR:
        scope.report("shape-mismatch", f"{what} is a real scalar", expr.span, f"this is {kind(value.type)}")
        raise Stop
    return value


def _draw(scope: Scope, d: ast.Declaration, t: Type, interval: Interval | None) -> Draw:
    assert d.draw is not None
    name = d.draw.name.id
    if d.role == "param" and name in MATRIX_INITIALISERS and t.rank != 2:
        scope.report("initialiser", f"`{name}` fills a matrix", d.draw.span, f"the param is {kind(t)}",
                     related=(Related(d.shape.span, "its shape"),))  # fmt: skip
    if d.role == "param":
        args = tuple(_scalar(scope, a, "an initialiser's argument") for a in d.draw.arguments)
        _initialiser_in_interval(scope, d, name, args, interval)
        _drawn_from_something(scope, d.draw, args)
        return Draw(name, args)
    if t.is_complex:
        scope.report("noise", "a noise is real", d.shape.span, "complex", hint="add two noises: `a + 1j * b`")
    args = tuple(expression(scope, a, None) for a in d.draw.arguments)
    for a, where in zip(args, d.draw.arguments, strict=True):
        fits(scope, a, t, where.span, "the distribution's argument", d.shape.span)
    if name == "bernoulli" and isinstance(p := fold(args[0]), float) and not 0 <= p <= 1:
        scope.report("noise", "a probability lies between 0 and 1", d.draw.arguments[0].span, f"this is {p:g}")
    _drawn_from_something(scope, d.draw, args)
    return Draw(name, args, d.how is not None)


def _drawn_from_something(scope: Scope, draw: ast.Draw, args: tuple[Expr, ...]) -> None:
    """Numbers by which nothing can be drawn are an error."""
    numbers = [fold(a) for a in args]
    match draw.name.id, numbers:
        case "normal", [*_, float() as std] if not std >= 0:
            scope.report("distribution", "a standard deviation is not negative", draw.arguments[-1].span, f"this is {std:g}")
        case "uniform", [float() as low, float() as high] if not low <= high:
            scope.report("distribution", "the bounds of a uniform distribution stand in their order", draw.span, f"{low:g} is above {high:g}")


def _initialiser_in_interval(scope: Scope, d: ast.Declaration, name: str, args: tuple[Expr, ...], interval: Interval | None) -> None:
    """A fixed initial value that the constraint excludes is an error; random ones are clamped when drawn."""
    if interval is None or d.draw is None:
        return
    low, high = fold(interval.low), fold(interval.high) if interval.high is not None else math.inf
    values = {"zeros": [0.0], "ones": [1.0], "constant": [fold(a) for a in args], "eye": [0.0]}
    fixed: list[float | complex | None] = values.get(name, [])  # type: ignore[assignment]
    for value in fixed:
        if all(isinstance(v, float) for v in (low, high, value)) and not low < value < high:  # type: ignore[operator]
            label = f"{value:g} is not above {low:g}" if high == math.inf else f"{value:g} is not between {low:g} and {high:g}"
            scope.report("initialiser", "the initial value lies outside the constraint", d.draw.span, label,
                         related=(Related(d.constraint.span, "the constraint"),) if d.constraint else ())  # fmt: skip


def check_const_order(scope: Scope, variables: list[Variable]) -> None:
    """Consts that are made of each other have no value."""
    uses = {
        v.name: {n.name for n in walk(v.value) if isinstance(n, Ref) and n.role == "const"}
        for v in variables
        if v.role == "const" and v.value is not None
    }
    wanted_by: dict[str, list[str]] = {}
    missing = {name: {n for n in needs if n in uses} for name, needs in uses.items()}
    for name, needs in missing.items():
        for n in needs:
            wanted_by.setdefault(n, []).append(name)
    ready = [name for name, needs in missing.items() if not needs]
    while ready:
        done = ready.pop()
        for name in wanted_by.get(done, ()):
            missing[name].discard(done)
            if not missing[name]:
                ready.append(name)
    for v in variables:
        if missing.get(v.name):
            scope.report("recursion", f"the const `{v.name}` is made of itself", v.span, "its value needs its value")
            return
