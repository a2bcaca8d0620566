"""Expressions: names, operators and calls, with their types."""

import math
from dataclasses import replace

from rnndsl.checks.cell import SCALAR, Apply, Expr, Number, Ref, walk
from rnndsl.checks.folding import fold
from rnndsl.checks.names.times import time_lag
from rnndsl.checks.names.words import shorten
from rnndsl.checks.shapes.calls import builtin
from rnndsl.checks.shapes.fitting import by_rule
from rnndsl.checks.shapes.rules import elementwise, kind, matmul
from rnndsl.checks.shapes.scope import Inlining, Scope, Stop
from rnndsl.checks.slices import selected
from rnndsl.diagnostics import Related, Span
from rnndsl.functions import COMPARISONS, COMPOUNDS
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME

MAX_NODES = 20_000  # of one cell, after functions are inlined


def expression(scope: Scope, expr: ast.Expr, body: list | None) -> Expr:
    """An expression with its type; `body` takes the lines that stand before it, None outside of the equations."""
    scope.nodes += 1
    if scope.nodes > MAX_NODES:
        scope.report("too-large", f"the cell `{scope.name.id}` grows too large", scope.name.span,
                     f"over {MAX_NODES} operations after its functions are inlined")  # fmt: skip
        raise Stop
    match expr:
        case ast.Number():
            return Number(expr.value, span=expr.span)
        case ast.Name():
            return _name(scope, expr)
        case ast.Index():
            return _index(scope, expr, body)
        case ast.Prefix():
            operand = expression(scope, expr.operand, body)
            if expr.op == "+":
                return operand
            if isinstance(operand, Number):
                return Number(-operand.value, span=expr.span)
            return Apply("neg", (operand,), operand.type, span=expr.span)
        case ast.Binary():
            return _binary(scope, expr, body)
        case ast.Attribute():
            base = expression(scope, expr.base, body)
            if base.type.rank != 2:
                hint = "a vector is a row or a column as the product needs" if base.type.rank == 1 else None
                scope.report("shape-mismatch", "only a matrix has a transpose", expr.base.span,
                             f"this is {kind(base.type)}", hint=hint)  # fmt: skip
                raise Stop
            return Apply("transpose", (base,), replace(base.type, axes=base.type.axes[::-1]), span=expr.span)
        case ast.Call():
            return _call(scope, expr, body)
    raise AssertionError(expr)


def _name(scope: Scope, expr: ast.Name) -> Expr:
    name = expr.id
    if scope.inlining:
        return scope.inlining[-1].arguments[name]
    if name in scope.failed:
        raise Stop
    if name == TIME:
        return Ref(TIME, "clock", SCALAR, span=expr.span)
    role = scope.roles.get(name, "local")
    if name not in scope.types:
        raise Stop
    return Ref(name, role, scope.types[name], span=expr.span)


def _index(scope: Scope, expr: ast.Index, body: list | None) -> Expr:
    name = expr.base.id
    if name in scope.failed or name not in scope.types:
        raise Stop
    role, t = scope.roles[name], scope.types[name]
    if role in ("state", "input"):
        lag = time_lag(expr.arguments)
        assert lag is not None
        return Ref(name, role, t, lag, span=expr.span)
    if not t.heads:
        hint = f"declare the axis as a head axis: `{name}: [{t.axes[0]}; …]`" if t.axes else None
        scope.report("index", f"`{name}` has no head axes to select from", expr.span, f"`{name}` is {kind(t)}", hint=hint)
        raise Stop
    index = expression(scope, expr.arguments[0], body)
    number = fold(index)
    if number is not None and (isinstance(number, complex) or not math.isfinite(number) or number != number // 1):
        shown = shorten(scope.out.source.slice(expr.arguments[0].span))
        scope.report("index", "slices are counted from 1", expr.arguments[0].span, f"there is no slice {shown}")
        raise Stop
    value = Apply("slice", (Ref(name, role, t, span=expr.base.span), index), replace(t, heads=t.heads[1:]), span=expr.span)
    if (missing := selected(value, *scope.counted).missing()) is not None:
        scope.report("index", f"`{name}` has {t.heads[0]} slices, counted from 1", expr.arguments[0].span, f"there is no slice {missing}")
        raise Stop
    return value


def _binary(scope: Scope, expr: ast.Binary, body: list | None) -> Expr:
    left, right = expression(scope, expr.left, body), expression(scope, expr.right, body)
    op = expr.op
    if op in COMPARISONS:
        for side, where in ((left, expr.left), (right, expr.right)):
            if side.type.is_complex and op not in ("==", "!="):
                scope.report("complex", "complex values have no order", where.span, "this is complex",
                             hint="compare abs(z), re(z) or im(z)")  # fmt: skip
                raise Stop
    t = by_rule(scope, matmul if op == "@" else elementwise, (left, right), (expr.left, expr.right), f"`{{0}} {op} {{1}}`", op)
    if op in COMPARISONS:
        t = replace(t, is_complex=False)
    return Apply(op, (left, right), t, span=expr.span)


def _call(scope: Scope, call: ast.Call, body: list | None) -> Expr:
    if call.function.id in scope.functions:
        return _inline(scope, call, body)
    value = builtin(scope, call, lambda a: expression(scope, a, body))
    return _once(scope, value, body) if isinstance(value, Apply) and value.op in COMPOUNDS and body is not None else value


def _once(scope: Scope, call: Apply, body: list) -> Apply:
    """A call of a function of the prelude that PyTorch does not have: arguments that it reads more than once are computed once."""
    row = COMPOUNDS[call.op]
    if row.torch:
        return call
    named = [scope.named(a, f"{call.op}_{p}", body, call.span) if row.reads(p) > 1 else a for p, a in zip(row.parameters, call.args, strict=True)]
    return replace(call, args=tuple(named))


def _inline(scope: Scope, call: ast.Call, body: list | None) -> Expr:
    function = scope.functions[call.function.id]
    if len(scope.inlining) > 50:
        scope.report("too-deep", "functions call each other more than 50 deep", call.span, "too deep")
        raise Stop
    values = [expression(scope, a, body) for a in call.arguments]
    reads = _counts(function)
    # an argument that is read more than once is computed once; outside the equations there is no line to put it on, and a size stays one
    arguments = {
        p.id: scope.named(v, f"{function.name.id}_{p.id}", body, call.span) if reads.get(p.id, 0) > 1 and body is not None and not _is_known(v) else v
        for p, v in zip(function.parameters, values, strict=True)
    }
    return inlined(scope, function, arguments, call.span, body)


def _is_known(value: Expr) -> bool:
    """Whether a value is made of numbers and sizes alone."""
    return all(isinstance(n, Number | Apply) or n.role == "size" for n in walk(value))


def inlined(scope: Scope, function: ast.FunctionDef, arguments: dict[str, Expr], called: Span, body: list | None) -> Expr:
    """The body of a function in the place of a call, for arguments with their types."""
    scope.inlining.append(Inlining(function, arguments, called))
    try:
        value = expression(scope, function.body, body)
        if function.slope is None:
            return value
        slope = expression(scope, function.slope, body)
    finally:
        scope.inlining.pop()
    argument = arguments[function.parameters[0].id]
    if argument.type.is_complex:
        scope.report("surrogate", "a surrogate derivative needs a real argument", called, "this is complex")
        raise Stop
    for part, where in ((value, function.body), (slope, function.slope)):
        if replace(part.type, heads=()) not in (replace(argument.type, heads=()), SCALAR):
            scope.report("surrogate", "a function with `grad` keeps the shape of its argument", where.span,
                         f"this is {part.type} for an argument {argument.type}",
                         related=(Related(called, "called here"),))  # fmt: skip
            raise Stop
    return Apply("surrogate", (argument, value, slope), argument.type, span=called)


def _counts(function: ast.FunctionDef) -> dict[str, int]:
    """How often a function reads each argument; a surrogate reads its argument once more."""
    found: dict[str, int] = {p.id: 1 for p in function.parameters} if function.slope is not None else {}
    stack: list[ast.Expr] = [e for e in (function.body, function.slope) if e is not None]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name):
            found[node.id] = found.get(node.id, 0) + 1
        stack.extend(ast.children(node))
    return found
