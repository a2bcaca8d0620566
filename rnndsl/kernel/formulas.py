"""The one way from a formula of the calculus to nodes: what explain shows is what kernels compute."""

import math
from abc import ABC, abstractmethod
from functools import reduce
from typing import Generic, TypeVar

import sympy
from sympy import Expr as Formula
from sympy import Integer, Symbol

from rnndsl.calculus import functions
from rnndsl.calculus.functions import ELEMENTWISE, surrogate, where
from rnndsl.kernel.limits import Unsupported

V = TypeVar("V")

_OPERATIONS = {f: op for op, f in ELEMENTWISE.items()}
_OPERATIONS |= {
    functions.root: "root", functions.power: "^", functions.real_part: "re", functions.imag_part: "im", functions.modulus: "abs",
    sympy.conjugate: "conj",
}  # fmt: skip


class Converter(ABC, Generic[V]):
    """Makes the values of formulas, whatever a value is; each formula once. Its methods raise Unsupported."""

    def __init__(self) -> None:
        self.known: dict[Formula, V] = {}
        self._keys: dict[Formula, tuple] = {}

    @abstractmethod
    def number(self, value: float) -> V:
        """A number."""

    @abstractmethod
    def symbol(self, symbol: Symbol) -> V:
        """What a symbol stands for."""

    @abstractmethod
    def apply(self, op: str, *args: V) -> V:
        """An elementwise operation, by its name in the language, or `root`."""

    def rank(self, symbol: Symbol) -> tuple:
        """Where a symbol stands in sums and products; no matter what it is called, since names change no number."""
        return (str(symbol),)

    def imaginary_unit(self) -> V:
        raise Unsupported("a complex number")

    def value(self, formula: Formula) -> V:
        """The value of a formula."""
        if formula not in self.known:
            self.known[formula] = self._value(formula)
        return self.known[formula]

    def scaled(self, value: V, f: Formula) -> V:
        """value · f; where a branch of f is 0 or 1 nothing is multiplied, as in PyTorch, whose masks know no 0 · inf."""
        if f == 0:
            return self.number(0.0)
        if f == 1:
            return value
        if is_mask(f):
            return self.apply("where", self.value(f.args[0]), self.scaled(value, f.args[1]), self.scaled(value, f.args[2]))
        return self.apply("*", value, self.value(f))

    def _value(self, f: Formula) -> V:
        if isinstance(f, Symbol):
            return self.symbol(f)
        if f == sympy.I:
            return self.imaginary_unit()
        if f.is_number and not f.has(sympy.I, sympy.Function):
            return self.number(math.nan if f is sympy.zoo else float(f))
        match f:
            case sympy.Add():
                return self._sum(f)
            case sympy.Mul():
                return self._product(f)
            case sympy.Pow():
                return self._power(*f.args)
            case surrogate():
                return self.value(f.args[1])
            case functions.Compound():
                return self.value(f.written_out())
        if f.func not in _OPERATIONS:
            raise Unsupported(str(f.func))
        return self.apply(_OPERATIONS[f.func], *(self.value(a) for a in f.args))

    def _sum(self, f: sympy.Add) -> V:
        """Terms in turn, from the first that is not taken off."""
        terms = self._in_order(f)
        first = next((t for t in terms if not _is_negative(t)), terms[0])
        total = self.value(first)
        for t in terms:
            if t is not first:
                negative = _is_negative(t)
                total = self.apply("-" if negative else "+", total, self.value(-t if negative else t))
        return total

    def _product(self, f: sympy.Mul) -> V:
        factors = self._in_order(f)
        mask = next((a for a in factors if is_mask(a)), None)
        if mask is not None:
            return self.scaled(self.value(sympy.Mul(*(a for a in factors if a is not mask))), mask)
        divisors = [a for a in factors if _is_divisor(a) and a not in self.known]
        if divisors:
            above = self.value(sympy.Mul(*(a for a in factors if a not in divisors)))
            return reduce(self._divided, divisors, above)
        if factors[0] == -1:
            return self.apply("neg", self.value(-f))
        return reduce(lambda a, b: self.apply("*", a, b), (self.value(a) for a in factors))

    def _in_order(self, f: Formula) -> list[Formula]:
        return sorted(f.args, key=self.key)

    def key(self, f: Formula) -> tuple:
        """What formulas are sorted by: numbers, what is made of symbols, then symbols by their rank."""
        if f not in self._keys:
            if f.is_number:
                found: tuple = (0, str(f))
            elif isinstance(f, Symbol):
                found = (2, self.rank(f))
            else:
                args = tuple(map(self.key, f.args))
                found = (1, type(f).__name__, tuple(sorted(args)) if isinstance(f, sympy.Add | sympy.Mul) else args)
            self._keys[f] = found
        return self._keys[f]

    def _divided(self, value: V, power: sympy.Pow) -> V:
        """value · base^-n: n divisions, since base^n may be 0 or infinite where the quotient is not."""
        base, exponent = power.args
        times = int(-exponent) if exponent.is_Integer and exponent >= -3 else 1
        below = self.value(base ** (-exponent / times))
        for _ in range(times):
            value = self.apply("/", value, below)
        return value

    def _power(self, base: Formula, exponent: Formula) -> V:
        if exponent == sympy.Rational(1, 2):
            return self.apply("sqrt", self.value(base))
        if _is_divisor(base**exponent):
            return self._divided(self.value(Integer(1)), base**exponent)
        return self.apply("^", self.value(base), self.value(exponent))


def is_mask(f: Formula) -> bool:
    """Whether a formula chooses between 0 or 1 and something else."""
    return isinstance(f, where) and any(branch in (0, 1) or is_mask(branch) for branch in f.args[1:])


def _is_negative(f: Formula) -> bool:
    return bool(f.as_coeff_Mul()[0].is_negative)


def _is_divisor(f: Formula) -> bool:
    return isinstance(f, sympy.Pow) and f.args[1].is_number and bool(f.args[1].is_negative)
