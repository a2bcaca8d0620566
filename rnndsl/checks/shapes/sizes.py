"""Sizes and declared shapes: polynomials of the header's names."""

import math
from itertools import dropwhile

from rnndsl.checks.cell import Apply, Expr, Number, Ref, Type
from rnndsl.checks.dims import Dim
from rnndsl.checks.shapes.scope import Scope, Stop
from rnndsl.checks.suggest import is_outer_axis
from rnndsl.diagnostics import Span
from rnndsl.syntax import ast


def type_of(scope: Scope, shape: ast.Shape) -> Type:
    heads = tuple(size_of(scope, d) for d in shape.heads)
    axes = tuple(size_of(scope, d) for d in shape.axes)
    if len(axes) > 2:
        hint = "further axes are head axes, before a semicolon: `[N; K, V]`"
        if is_outer_axis(str(axes[0])):
            inner = ", ".join(map(str, dropwhile(lambda a: is_outer_axis(str(a)), axes)))
            hint = f"there is no batch or time axis in a cell: a shape is that of one step of one sequence, `[{inner}]`"
        scope.report("rank", "a value is a scalar, a vector or a matrix", shape.span, f"{len(axes)} axes", hint=hint)
        raise Stop
    return Type(heads, axes, shape.is_complex)


def size_of(scope: Scope, expr: ast.Expr) -> Dim:
    dim = dimension(scope, expr)
    number = dim.number
    if number is not None and (number.denominator != 1 or number < 1):
        scope.report("not-a-size", "a size is a positive whole number", expr.span, f"this is {number}")
        raise Stop
    return dim


def dimension(scope: Scope, expr: ast.Expr) -> Dim:
    match expr:
        case ast.Number(value=float() as n) if math.isfinite(n) and n == int(n) and abs(n) < 2**53:
            return Dim.of(int(n))
        case ast.Name() if scope.inlining and expr.id in scope.inlining[-1].arguments:
            return _of_argument(scope, scope.inlining[-1].arguments[expr.id], expr.span)
        case ast.Name() if scope.roles.get(expr.id) == "size":
            return Dim.of(expr.id)
        case ast.Prefix():
            inner = dimension(scope, expr.operand)
            return -inner if expr.op == "-" else inner
        case ast.Binary(op="+" | "-" | "*" | "/" as op):
            left, right = dimension(scope, expr.left), dimension(scope, expr.right)
            if op == "/":
                if not right.terms:
                    scope.report("not-a-size", "a size is divided by zero", expr.span, "no number")
                    raise Stop
                try:
                    return left / right
                except ValueError:
                    scope.report("not-a-size", "a size is divided by a sum", expr.right.span, "a sum of sizes",
                                 hint="give that size a name of its own in the header")  # fmt: skip
                    raise Stop from None
            if op == "*":
                return _product(scope, left, right, expr.span)
            return left + right if op == "+" else left - right
        case ast.Binary(op="^", left=base, right=ast.Number(value=float() as n)) if 0 <= n <= 8 and n == int(n):
            total, factor = Dim.of(1), dimension(scope, base)
            for _ in range(int(n)):
                total = _product(scope, total, factor, expr.span)
            return total
    label = "not a size"
    if isinstance(expr, ast.Name) and expr.id in scope.roles | scope.types:
        role = scope.roles.get(expr.id, "local")
        label = f"`{expr.id}` is a{'n' if role == 'input' else ''} {'hyperparameter' if role == 'hyper' else role}"
    scope.report("not-a-size", "a size is made of whole numbers and sizes of the header", expr.span, label)
    raise Stop


def _product(scope: Scope, left: Dim, right: Dim, span: Span) -> Dim:
    powers = [abs(p) for d in (left, right) for m, _ in d.terms for _, p in m]
    if len(left.terms) * len(right.terms) > 100 or sum(powers) > 1000:
        scope.report("not-a-size", "this size is too complicated", span, "multiplied out, it has too many terms",
                     hint="give it a name of its own in the header")  # fmt: skip
        raise Stop
    return left * right


def _of_argument(scope: Scope, expr: Expr, span: Span) -> Dim:
    """The size that an argument of a function is."""
    match expr:
        case Ref(role="size", name=name):
            return Dim.of(name)
        case Number(value=float() as n) if n == n // 1:
            return Dim.of(int(n))
        case Apply(op="+" | "-" | "*" as op, args=(a, b)):
            left, right = _of_argument(scope, a, span), _of_argument(scope, b, span)
            return left + right if op == "+" else left - right if op == "-" else _product(scope, left, right, span)
    scope.report("not-a-size", "a size is made of whole numbers and sizes of the header", span, "not a size")
    raise Stop
