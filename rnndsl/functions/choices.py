"""Functions of the entries of two and three values: the larger, the smaller, a choice."""

from rnndsl.functions import ranges
from rnndsl.functions.row import Function
from rnndsl.scalars import Scalars

ROWS = (
    Function(
        "max", "a, b", "the larger of two values, elementwise",
        hint="`max(a, b)` is elementwise; a vector's largest entry has no function",
        formula="maximum", slopes=("where(a == b, 1 / 2, where(a < b, 0, 1))", "where(b == a, 1 / 2, where(b < a, 0, 1))"),
        interval=ranges.larger, kinks=True,
        number=Scalars.maximum, torch="torch.maximum({0}, {1})", triton="maximum", latex=r"\max",
    ),
    Function(
        "min", "a, b", "the smaller of two values, elementwise",
        hint="`min(a, b)` is elementwise; a vector's smallest entry has no function",
        formula="minimum", slopes=("where(a == b, 1 / 2, where(a > b, 0, 1))", "where(b == a, 1 / 2, where(b > a, 0, 1))"),
        interval=ranges.smaller, kinks=True,
        number=Scalars.minimum, torch="torch.minimum({0}, {1})", triton="minimum", latex=r"\min",
    ),
    Function(
        "logaddexp", "a, b", "log(exp(a) + exp(b))",
        slopes=("where(a == b, 1 / 2, sigmoid(a - b))", "where(b == a, 1 / 2, sigmoid(b - a))"),  # both may be -inf
        interval=ranges.logaddexp, cost=(4, 2),
        number=Scalars.logaddexp, torch="ops.logaddexp({0}, {1})", triton="logaddexp",
    ),
    Function(
        "clamp", "v, lo, hi", "min(max(v, lo), hi), elementwise; its slope in v is 1 from lo to hi, both included",
        hint="it reads `clamp(v, lo, hi)`",
        slopes=("where(v >= lo, where(v <= hi, 1, 0), 0)", "where(lo < hi, where(v < lo, 1, 0), 0)", "where(v > hi, 1, where(hi < lo, 1, 0))"),
        interval=ranges.clamped, kinks=True, cost=(2, 0),
        number=Scalars.clamp, torch="torch.clamp({0}, {1}, {2})", cpp="min(max({0}, {1}), {2})", triton="minimum(maximum({0}, {1}), {2})",
    ),
    Function(
        "where", "cond, a, b", "a where cond is not 0, else b", domain="any", hint="it reads `where(condition, a, b)`",
        slopes=("0", "where(cond, 1, 0)", "where(cond, 0, 1)"), interval=lambda cond, a, b: ranges.hull(a, b),
        number=Scalars.where, torch="torch.where(({0}) != 0, {1}, {2})", node="select",
    ),
)  # fmt: skip
