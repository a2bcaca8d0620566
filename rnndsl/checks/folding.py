"""What expressions of numbers alone come to."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from rnndsl.checks.cell import SCALAR, Apply, Expr, Number, Ref, walk
from rnndsl.checks.definitions import definition
from rnndsl.functions import COMPOUNDS
from rnndsl.functions.numbers import NUMBERS
from rnndsl.syntax import ast


def fold(expr: Expr | None) -> float | complex | None:
    """The value of an expression of numbers alone, None of another and where finite numbers give none that is finite."""
    value = computed(expr)
    if expr is None or not isinstance(value, float) or math.isfinite(value):
        return value
    return value if any(isinstance(n, Number) and abs(n.value) == math.inf for n in walk(expr)) else None


def computed(expr: Expr | None, arguments: Mapping[str, float] = MappingProxyType({})) -> float | complex | None:
    """The value of an expression of numbers alone as layers have it, infinite and NaN too; None of another.

    arguments: values for those that the body of a function of the prelude reads.
    """
    if isinstance(expr, Number):
        return expr.value
    if isinstance(expr, Ref) and expr.role == "argument":
        return arguments.get(expr.name)
    function = NUMBERS[expr.op].number if isinstance(expr, Apply) and expr.op in NUMBERS else None
    if not isinstance(expr, Apply) or (function is None and expr.op not in COMPOUNDS):
        return None
    args = [computed(a, arguments) for a in expr.args]
    if not all(isinstance(a, float) for a in args):
        return None
    if function is None:
        return computed(_of_scalars(definition(expr.op).body), dict(zip(COMPOUNDS[expr.op].parameters, args, strict=True)))  # type: ignore[arg-type]
    return float(function(*args))  # type: ignore[arg-type]


def _of_scalars(expr: ast.Expr) -> Expr:
    """An expression of the prelude whose arguments are scalars."""
    inner = tuple(_of_scalars(a) for a in ast.children(expr))
    match expr:
        case ast.Number(value=value):
            return Number(value)
        case ast.Name(id=name):
            return Ref(name, "argument", SCALAR)
        case ast.Prefix():
            return Apply("neg", inner, SCALAR)
        case ast.Call(function=function):
            return Apply(function.id, inner, SCALAR)
        case ast.Binary(op=op):
            return Apply(op, inner, SCALAR)
    raise AssertionError(expr)
