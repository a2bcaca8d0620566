"""What expressions of numbers alone come to."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from rnndsl.checks.cell import Apply, Expr, Number, Ref, walk
from rnndsl.functions import COMPOUNDS
from rnndsl.functions.numbers import NUMBERS


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
    if isinstance(expr, Apply) and expr.op in COMPOUNDS:
        from rnndsl.checks.prelude import written_out  # which types what it writes out, and so folds numbers

        return computed(written_out(expr), arguments)
    function = NUMBERS[expr.op].number if isinstance(expr, Apply) and expr.op in NUMBERS else None
    if not isinstance(expr, Apply) or function is None:
        return None
    args = [computed(a, arguments) for a in expr.args]
    return float(function(*args)) if all(isinstance(a, float) for a in args) else None  # type: ignore[arg-type]
