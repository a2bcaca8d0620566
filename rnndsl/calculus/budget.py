"""How large formulas may grow. Nobody reads more, and SymPy takes seconds for less than a hundred thousand operations."""

import sympy
from sympy import Expr as Formula

NAMED = 200  # operations of a value from which it gets a name of its own
WORK = 60_000  # operations of all formulas that are made of one component
SHOWN = 20_000  # operations, or entries, of what is shown of one component


class TooLarge(Exception):
    """Formulas that are too large to show; the argument says how large."""


class Budget:
    """Counts the operations of the formulas that are made. Raises TooLarge where there are too many."""

    def __init__(self, left: int = WORK):
        self.limit = self.left = left
        self._sizes: dict[Formula, int] = {}

    def spend(self, operations: int) -> None:
        self.left -= operations
        if self.left < 0:
            raise TooLarge(f"over {self.limit:,} operations")

    def size(self, formula: Formula) -> int:
        """The operations of a formula, its names and numbers among them."""
        known = self._sizes
        if formula not in known:
            waiting = [formula]
            while waiting:
                if waiting[-1] in known:
                    waiting.pop()
                elif missing := [a for a in waiting[-1].args if a not in known]:
                    waiting += missing
                else:
                    known[waiting[-1]] = 1 + sum(known[a] for a in waiting[-1].args)
        return known[formula]

    def made(self, formula: Formula) -> Formula:
        """The formula, counted."""
        self.spend(self.size(formula))
        return formula


def raised(base: Formula, exponent: Formula) -> Formula | None:
    """A power by a number; None where SymPy would write out a number of more than a thousand digits."""
    if not isinstance(exponent, sympy.Rational):
        return base**exponent
    factors = [f for f in sympy.Mul.make_args(base) if isinstance(f, sympy.Rational)]
    digits = sum(f.p.bit_length() + f.q.bit_length() for f in factors)
    return None if digits * abs(float(exponent)) > 4096 else base**exponent
