"""The elementwise functions of the language as SymPy functions that know their derivatives.

Named as in the builtin table; a test holds the two against each other. Expressions are built from these and never simplified.
Where a function has a kink, the derivative is PyTorch's, at NaN too, which no comparison holds for; a test compares all of them.
"""

from collections.abc import Callable

import sympy
from sympy import Expr, Function, Integer

from rnndsl.calculus.budget import raised


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


class sigmoid(Function):
    def fdiff(self, argindex=1):
        return self * (1 - self)


class relu(Function):
    def fdiff(self, argindex=1):
        return where(less_equal(self.args[0], Integer(0)), Integer(0), Integer(1))


class softplus(Function):
    def fdiff(self, argindex=1):
        return sigmoid(self.args[0])


class logsigmoid(Function):
    def fdiff(self, argindex=1):
        return sigmoid(-self.args[0])


class silu(Function):
    def fdiff(self, argindex=1):
        s = sigmoid(self.args[0])
        return s + self * (1 - s)


class gelu(Function):
    def fdiff(self, argindex=1):
        (x,) = self.args
        c = sympy.sqrt(2 / sympy.pi)
        t = sympy.tanh(c * (x + sympy.Float("0.044715") * x**3))
        return (1 + t) / 2 + x * (1 - t**2) / 2 * c * (1 + 3 * sympy.Float("0.044715") * x**2)


class elu(Function):
    def fdiff(self, argindex=1):
        (x,) = self.args
        return where(less_equal(x, Integer(0)), sympy.exp(x), Integer(1))


class _Flat(Function):
    """A function whose derivative is zero wherever it has one."""

    def fdiff(self, argindex=1):
        return Integer(0)


class heaviside(_Flat):
    pass


class sign(_Flat):
    pass


class floor(_Flat):
    pass


class less(_Flat):
    pass


class less_equal(_Flat):
    pass


class greater(_Flat):
    pass


class greater_equal(_Flat):
    pass


class equal(_Flat):
    pass


class not_equal(_Flat):
    pass


class absolute(Function):
    def fdiff(self, argindex=1):
        return sign(self.args[0])


class maximum(Function):
    def fdiff(self, argindex=1):
        a, b = self.args if argindex == 1 else self.args[::-1]
        return where(equal(a, b), sympy.Rational(1, 2), where(less(a, b), Integer(0), Integer(1)))


class minimum(Function):
    def fdiff(self, argindex=1):
        a, b = self.args if argindex == 1 else self.args[::-1]
        return where(equal(a, b), sympy.Rational(1, 2), where(greater(a, b), Integer(0), Integer(1)))


class logaddexp(Function):
    def fdiff(self, argindex=1):
        a, b = self.args if argindex == 1 else self.args[::-1]
        return where(equal(a, b), sympy.Rational(1, 2), sigmoid(a - b))  # both may be -inf


class mod(Function):
    def fdiff(self, argindex=1):
        a, b = self.args
        return Integer(1) if argindex == 1 else -floor(a / b)


class where(Function):
    def fdiff(self, argindex=1):
        condition = self.args[0]
        if argindex == 1:
            return Integer(0)
        return where(condition, Integer(argindex == 2), Integer(argindex == 3))


class surrogate(Function):
    """surrogate(v, value, slope): the value going forward; going backward its derivative in v is the slope, in nothing else."""

    def fdiff(self, argindex=1):
        return self.args[2] if argindex == 1 else Integer(0)


ELEMENTWISE = {
    "tanh": sympy.tanh, "sigmoid": sigmoid, "relu": relu, "exp": sympy.exp, "log": sympy.log, "sqrt": sympy.sqrt, "abs": absolute,
    "sign": sign, "softplus": softplus, "logsigmoid": logsigmoid, "silu": silu, "gelu": gelu, "elu": elu, "sin": sympy.sin,
    "cos": sympy.cos, "floor": floor, "heaviside": heaviside, "max": maximum, "min": minimum, "logaddexp": logaddexp, "mod": mod,
    "where": where, "<": less, "<=": less_equal, ">": greater, ">=": greater_equal, "==": equal, "!=": not_equal,
}  # fmt: skip

ARITHMETIC: dict[str, Callable[..., Expr]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: power(a, b) if not b.is_Number or (whole := raised(a, b)) is None else whole,
    "neg": lambda a: -a,
}


def derivative(expr: Expr, symbol: sympy.Symbol) -> Expr:
    """∂expr/∂symbol, unsimplified."""
    if symbol not in expr.free_symbols:
        return Integer(0)
    return expr.diff(symbol)
