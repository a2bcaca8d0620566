"""Calls of built-in functions: what the table says of their arguments, and those that take sizes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rnndsl.checks.cell import Apply, Expr, Type
from rnndsl.checks.dims import Dim
from rnndsl.checks.shapes.fitting import by_rule
from rnndsl.checks.shapes.rules import RULES, kind
from rnndsl.checks.shapes.scope import Scope, Stop
from rnndsl.checks.shapes.sizes import size_of
from rnndsl.functions import FUNCTIONS, Function
from rnndsl.syntax import ast

Typed = Callable[[ast.Expr], Expr]  # an argument with its type


def builtin(scope: Scope, call: ast.Call, typed: Typed) -> Expr:
    """A call of a built-in function."""
    row = FUNCTIONS[call.function.id]
    if row.shape in _SIZED:
        return _SIZED[row.shape](scope, call, typed)
    return _of_values(scope, call, row, [typed(a) for a in call.arguments])


def _of_values(scope: Scope, call: ast.Call, row: Function, args: Sequence[Expr]) -> Expr:
    name = row.name
    if row.domain == "real":
        for a, where in zip(args, call.arguments, strict=True):
            if a.type.is_complex:
                scope.report("complex", f"`{name}` takes real values", where.span, "this is complex",
                             hint="take re(z), im(z) or abs(z) first")  # fmt: skip
                raise Stop
    if name == "where" and args[0].type.is_complex:
        scope.report("complex", "a condition is real", call.arguments[0].span, "this is complex",
                     hint="compare abs(z), re(z) or im(z)")  # fmt: skip
        raise Stop
    if row.param_only:
        _param_only(scope, name, args, call)
    shown = f"`{name}({{0}})`" if len(args) == 1 else f"`{name}({{0}}, {{1}})`"
    t = by_rule(scope, RULES[row.shape], args, call.arguments, shown, name)
    if row.domain == "to-real":
        t = replace(t, is_complex=False)
    static = (len(args[0].type.heads),) if name == "merge" else ()
    return Apply(name, tuple(args), t, static, span=call.span)


def _param_only(scope: Scope, name: str, args: Sequence[Expr], call: ast.Call) -> None:
    for a, where in zip(args, call.arguments, strict=True):
        if scope.changes(a):
            scope.report("param-only", f"`{name}` is for params and consts only", where.span, "this changes with time",
                         hint=f"`{name}` is computed once a call; inputs, states and noises change every step")  # fmt: skip
            raise Stop
        if scope.turns(a):
            scope.report("param-only", f"`{name}` is computed once a call", where.span, "this may be another one in each round",
                         hint="write the rounds out: `A[1]`, `A[2]`, …, or what stays the same before the repeat")  # fmt: skip
            raise Stop


def _heads(scope: Scope, call: ast.Call, typed: Typed) -> Expr:
    value = typed(call.arguments[0])
    count = size_of(scope, call.arguments[1])
    if value.type.rank != 1 or value.type.heads:
        what = f"this is {kind(value.type)}" + (", which has head axes already" if value.type.heads else "")
        scope.report("shape-mismatch", "heads takes a vector without head axes", call.arguments[0].span, what)
        raise Stop
    try:
        size = value.type.axes[0] / count
    except ValueError:
        scope.report("not-a-size", "a vector is divided into a sum of sizes", call.arguments[1].span, "a sum of sizes",
                     hint="give that size a name of its own in the header")  # fmt: skip
        raise Stop from None
    if size.number is not None and size.number.denominator != 1:
        scope.report("shape-mismatch", f"{value.type.axes[0]} entries do not divide into {count} heads", call.span,
                     f"the vector is {value.type}")  # fmt: skip
        raise Stop
    axes = () if size.number == 1 else (size,)
    return Apply("heads", (value,), Type((count,), axes, value.type.is_complex), (count, *axes), span=call.span)


def _reshape(scope: Scope, call: ast.Call, typed: Typed) -> Expr:
    value = typed(call.arguments[0])
    axes = tuple(size_of(scope, a) for a in call.arguments[1:])
    old, new = Dim.of(1), Dim.of(1)
    for d in value.type.axes:
        old = old * d
    for d in axes:
        new = new * d
    if old != new:
        scope.report("shape-mismatch", f"{old} entries cannot become {new}", call.span,
                     f"{kind(value.type)} into [{', '.join(map(str, axes))}]")  # fmt: skip
        raise Stop
    return Apply("reshape", (value,), replace(value.type, axes=axes), (value.type.rank, *axes), span=call.span)


def _eye(scope: Scope, call: ast.Call, typed: Typed) -> Expr:
    size = size_of(scope, call.arguments[0])
    return Apply("eye", (), Type((), (size, size)), (size,), span=call.span)


def _ones(scope: Scope, call: ast.Call, typed: Typed) -> Expr:
    size = size_of(scope, call.arguments[0])
    return Apply("ones", (), Type((), (size,)), (size,), span=call.span)


def _split(scope: Scope, call: ast.Call, typed: Typed) -> Expr:
    scope.report("split", "split gives several values", call.span, "one value is needed here",
                 hint="split on a line of its own: `a, b = split(v, 2)`")  # fmt: skip
    raise Stop


_SIZED: dict[str, Callable[[Scope, ast.Call, Typed], Expr]] = {
    "heads": _heads, "reshape": _reshape, "eye": _eye, "ones": _ones, "split": _split,
}  # fmt: skip
