"""Symbolic sizes: polynomials in a cell's dimensions, so that `[H]` and `[D]` differ even where H = D."""

from dataclasses import dataclass
from fractions import Fraction

Monomial = tuple[tuple[str, int], ...]  # (name, power), sorted by name; powers may be negative


@dataclass(frozen=True)
class Dim:
    """A size: a sum of monomials with rational coefficients, in canonical order."""

    terms: tuple[tuple[Monomial, Fraction], ...]

    @staticmethod
    def of(value: int | str) -> "Dim":
        """The size that a number or a dimension's name stands for."""
        if isinstance(value, str):
            return Dim(((((value, 1),), Fraction(1)),))
        return _canonical({(): Fraction(value)})

    def __add__(self, other: "Dim") -> "Dim":
        total = dict(self.terms)
        for monomial, factor in other.terms:
            total[monomial] = total.get(monomial, Fraction(0)) + factor
        return _canonical(total)

    def __neg__(self) -> "Dim":
        return Dim(tuple((m, -f) for m, f in self.terms))

    def __sub__(self, other: "Dim") -> "Dim":
        return self + -other

    def __mul__(self, other: "Dim") -> "Dim":
        if self.terms == ONE.terms or other.terms == ONE.terms:
            return other if self.terms == ONE.terms else self
        total: dict[Monomial, Fraction] = {}
        for m1, f1 in self.terms:
            for m2, f2 in other.terms:
                m = _times(m1, m2)
                total[m] = total.get(m, Fraction(0)) + f1 * f2
        return _canonical(total)

    def __truediv__(self, other: "Dim") -> "Dim":
        """Division by one monomial; raises ValueError for a sum or zero."""
        if len(other.terms) != 1:
            raise ValueError(f"cannot divide a size by {other}")
        monomial, factor = other.terms[0]
        inverse = Dim(((tuple((n, -p) for n, p in monomial), 1 / factor),))
        return self * inverse

    @property
    def number(self) -> Fraction | None:
        """The value where no dimension is involved, else None."""
        if not self.terms:
            return Fraction(0)
        return self.terms[0][1] if len(self.terms) == 1 and not self.terms[0][0] else None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(n for m, _ in self.terms for n, _ in m)

    def is_positive(self) -> bool:
        """Whether a number made of sizes is above zero whatever they are, each being at least 1."""
        grows = all(f > 0 and all(p > 0 for _, p in m) for m, f in self.terms if m)
        return grows and sum(f for _, f in self.terms) > 0

    def divided(self) -> tuple["Dim", "Dim"]:
        """(numerator, denominator) without fractions or negative powers."""
        if all(f.denominator == 1 and all(p > 0 for _, p in m) for m, f in self.terms):
            return self, ONE
        denominator = ONE
        for monomial, factor in self.terms:
            missing = Dim(((tuple((n, -p) for n, p in monomial if p < 0), Fraction(factor.denominator)),))
            if any(p < 0 for m, _ in (self * denominator).terms for _, p in m) or any(
                f.denominator != 1 for _, f in (self * denominator).terms
            ):
                denominator = denominator * missing
        return self * denominator, denominator

    def evaluate(self, sizes: dict[str, int]) -> Fraction:
        """The value with every dimension known."""
        total = Fraction(0)
        for monomial, factor in self.terms:
            for name, power in monomial:
                factor *= Fraction(sizes[name]) ** power
            total += factor
        return total

    def text(self, names: dict[str, str] | None = None) -> str:
        """The size as an arithmetic expression, `4*H`; whole numbers only where `divided` has been applied."""
        names = names or {}
        parts = []
        for monomial, factor in self.terms:
            up = [names.get(n, n) for n, p in monomial if p > 0 for _ in range(p)]
            down = [names.get(n, n) for n, p in monomial if p < 0 for _ in range(-p)]
            if abs(factor.numerator) != 1 or not up:
                up.insert(0, str(abs(factor.numerator)))
            if factor.denominator != 1:
                down.insert(0, str(factor.denominator))
            parts.append(("-" if factor < 0 else "+", "*".join(up) + "".join(f"/{d}" for d in down)))
        first = "".join(("-" if sign == "-" else "") + text for sign, text in parts[:1])
        return first + "".join(f" {sign} {text}" for sign, text in parts[1:]) if parts else "0"

    def __str__(self) -> str:
        return self.text()


def _times(a: Monomial, b: Monomial) -> Monomial:
    powers = dict(a)
    for name, power in b:
        powers[name] = powers.get(name, 0) + power
    return tuple(sorted((n, p) for n, p in powers.items() if p))


def _canonical(terms: dict[Monomial, Fraction]) -> Dim:
    kept = [(m, f) for m, f in terms.items() if f]
    return Dim(tuple(sorted(kept, key=lambda t: (-sum(p for _, p in t[0]), t[0]))))


ONE = Dim.of(1)
