"""The operators of entries. Their text is the printers': precedence is no column."""

from collections.abc import Callable

from rnndsl.functions import ranges
from rnndsl.functions.row import Function
from rnndsl.scalars import Scalars

_AB = "a, b"


def _compare(name: str, formula: str, node: str, number: Callable[[float, float], float], latex: str = "") -> Function:
    bounds = ranges.between(0.0, 1.0)
    return Function(
        name, _AB, domain="to-real", formula=formula, slopes=("0", "0"), interval=bounds, number=number, node=node, latex=latex or name
    )


COMPARISONS = (
    _compare("<", "less", "lt", lambda a, b: float(a < b)),
    _compare("<=", "less_equal", "le", lambda a, b: float(a <= b), r"\le"),
    _compare(">", "greater", "gt", lambda a, b: float(a > b)),
    _compare(">=", "greater_equal", "ge", lambda a, b: float(a >= b), r"\ge"),
    _compare("==", "equal", "eq", lambda a, b: float(a == b), "="),
    _compare("!=", "not_equal", "ne", lambda a, b: float(a != b), r"\ne"),
)

ARITHMETIC = (
    Function("+", _AB, domain="any", number=lambda a, b: a + b),
    Function("-", _AB, domain="any", number=lambda a, b: a - b),
    Function("*", _AB, domain="any", number=lambda a, b: a * b),
    Function("/", _AB, domain="any", number=Scalars.divide),
    Function("^", _AB, domain="any", number=Scalars.power, node="pow", cost=(1, 2), triton="power"),
    Function("neg", domain="any", number=lambda v: -v),
)
