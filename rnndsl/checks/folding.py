"""What expressions of numbers alone come to."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from rnndsl.checks.cell import Apply, Expr, Number, Ref
from rnndsl.functions.numbers import NUMBERS


def fold(expr: Expr | None, arguments: Mapping[str, float] = MappingProxyType({})) -> float | complex | None:
    """The value of an expression of numbers alone, None of another and where finite numbers give none that is finite.

    arguments: values for those that the body of a function of the prelude reads.
    """
    if isinstance(expr, Number):
        return expr.value
    if isinstance(expr, Ref) and expr.role == "argument":
        return arguments.get(expr.name)
    function = NUMBERS[expr.op].number if isinstance(expr, Apply) and expr.op in NUMBERS else None
    if not isinstance(expr, Apply) or function is None:
        return None
    args = [fold(a, arguments) for a in expr.args]
    if not all(isinstance(a, float) for a in args):
        return None
    value = float(function(*args))
    return value if math.isfinite(value) or not all(map(math.isfinite, args)) else None  # type: ignore[arg-type]
