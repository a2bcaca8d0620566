"""The elementwise functions of the language as SymPy functions that know their derivatives.

They are made of the table of functions, a class each, whose slopes are read as formulas when they are first asked for. Expressions are built from
these and never simplified. Where a function has a kink, the derivative is PyTorch's, at NaN too, which no comparison holds for; a test compares all
of them.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import sympy
from sympy import Expr, Function, Integer

from rnndsl.calculus.budget import raised
from rnndsl.checks.definitions import definition
from rnndsl.functions import ENTRIES
from rnndsl.functions import Function as Row
from rnndsl.syntax import ast
from rnndsl.syntax.parser import parse_expression


class root(Function):
    """A square root whose derivative at zero is zero: that of a norm or modulus."""

    def fdiff(self, argindex=1):
        return where(equal(self, Integer(0)), Integer(0), 1 / (2 * self))


class power(Function):
    """A power whose exponent is no number."""

    def fdiff(self, argindex=1):
        base, exponent = self.args
        if argindex == 1:
            return where(equal(exponent, Integer(0)), Integer(0), exponent * power(base, exponent - 1))
        flat = equal(base, Integer(0)) * greater_equal(exponent, Integer(0))
        return where(flat, Integer(0), self * sympy.log(base))


class _Part(Function):
    """A real number made of a complex one; see `jacobian` for its two derivatives."""

    def _eval_is_extended_real(self):
        return True


class real_part(_Part):
    pass


class imag_part(_Part):
    pass


class modulus(_Part):
    pass


class surrogate(Function):
    """surrogate(v, value, slope): the value going forward; going backward its derivative in v is the slope, in nothing else."""

    def fdiff(self, argindex=1):
        return self.args[2] if argindex == 1 else Integer(0)


class _Row(Function):
    """A function of the table."""

    row: Row

    def fdiff(self, argindex=1):
        named = dict(zip(self.row.parameters, self.args, strict=True))
        return formula_of(_slopes(self.row)[argindex - 1], named)


@cache
def _slopes(row: Row) -> tuple[ast.Expr, ...]:
    return tuple(parse_expression(text) for text in row.slopes)


class Compound(_Row):
    """A function of the prelude: kept as one, with the derivative of what it stands for."""

    def fdiff(self, argindex=1):
        return _derivative(self.row, argindex - 1).xreplace(dict(zip(_arguments(self.row), self.args, strict=True)))

    def written_out(self) -> Expr:
        """What it stands for."""
        return _body(self.row).xreplace(dict(zip(_arguments(self.row), self.args, strict=True)))


@cache
def _arguments(row: Row) -> tuple[sympy.Symbol, ...]:
    return tuple(sympy.Dummy(p, real=True) for p in row.parameters)


@cache
def _body(row: Row) -> Expr:
    return formula_of(definition(row.name).body, dict(zip(row.parameters, _arguments(row), strict=True)))


@cache
def _derivative(row: Row, i: int) -> Expr:
    return _body(row).diff(_arguments(row)[i])


def _class_of(row: Row) -> Any:
    """SymPy's own function, an expression of others, or one with the derivatives of the table or of its definition."""
    name = row.formula or row.name
    if name.startswith("sympy."):
        return getattr(sympy, name.removeprefix("sympy."))
    if not name.isidentifier():
        return lambda *args: formula_of(parse_expression(name), dict(zip(row.parameters, args, strict=True)))
    return type(name, (Compound if row.definition else _Row,), {"row": row, "nargs": len(row.parameters)})


ELEMENTWISE: dict[str, Any] = {
    name: _class_of(row)
    for name, row in ENTRIES.items()
    if row.formula or row.slopes or (row.definition and not row.is_surrogate)
}
OPERATIONS: dict[str, Any] = {ENTRIES[name].operation: f for name, f in ELEMENTWISE.items() if not ENTRIES[name].definition}

# Those that analyses know by themselves.
absolute, sign, sigmoid = ELEMENTWISE["abs"], ELEMENTWISE["sign"], ELEMENTWISE["sigmoid"]
relu, softplus, logaddexp, maximum, where = (ELEMENTWISE[name] for name in ("relu", "softplus", "logaddexp", "max", "where"))
less, less_equal, greater, greater_equal, equal, not_equal = (ELEMENTWISE[name] for name in ("<", "<=", ">", ">=", "==", "!="))

ARITHMETIC: dict[str, Callable[..., Expr]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: power(a, b) if not b.is_Number or (whole := raised(a, b)) is None else whole,
    "neg": lambda a: -a,
}


def number(value: float | complex) -> Expr:
    """A number of the language as SymPy has it: whole ones exactly, pi and infinities by name."""
    if isinstance(value, complex):
        return sympy.Float(repr(value.imag)) * sympy.I
    if value != value:
        return sympy.nan
    if value in (float("inf"), float("-inf")):
        return sympy.oo if value > 0 else -sympy.oo
    if value == 3.141592653589793:
        return sympy.pi
    return sympy.Integer(int(value)) if value == int(value) and abs(value) < 2**53 else sympy.Float(repr(value))


def formula_of(expr: ast.Expr, named: dict[str, Expr]) -> Expr:
    """An expression as it is written, of numbers, names and functions of entries, as a formula."""
    match expr:
        case ast.Number():
            return number(expr.value)
        case ast.Name():
            return named[expr.id]
        case ast.Prefix():
            return -formula_of(expr.operand, named)
        case ast.Binary():
            function = ARITHMETIC.get(expr.op) or ELEMENTWISE[expr.op]
            return function(formula_of(expr.left, named), formula_of(expr.right, named))
        case ast.Call():
            return ELEMENTWISE[expr.function.id](*(formula_of(a, named) for a in expr.arguments))
    raise AssertionError(expr)


def derivative(expr: Expr, symbol: sympy.Symbol) -> Expr:
    """∂expr/∂symbol, unsimplified."""
    if symbol not in expr.free_symbols:
        return Integer(0)
    return expr.diff(symbol)
