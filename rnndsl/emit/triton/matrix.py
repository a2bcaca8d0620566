"""Products of the small matrices of a channel, entry by entry; entries that are always zero are left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rnndsl.calculus.family import AFFINE, MAX_PLUS

Pattern = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Semiring:
    """How entries are added and multiplied in text, and what zero is."""

    family: str

    @property
    def zero(self) -> str:
        return "0.0" if self.family == AFFINE else 'float("-inf")'

    def times(self, a: str, b: str) -> str:
        return f"{a} * {b}" if self.family == AFFINE else f"({a} + {b})"

    def plus(self, terms: Sequence[str]) -> str:
        if self.family == AFFINE:
            return " + ".join(terms)
        join = "maximum" if self.family == MAX_PLUS else "logaddexp"
        total = terms[0].strip("()") if len(terms) == 1 else terms[0]
        for term in terms[1:]:
            total = f"{join}({total}, {term})"
        return total


def pattern_of(rows: Sequence[Sequence[int | None]]) -> Pattern:
    """Where a matrix is not always zero."""
    return frozenset((i, j) for i, row in enumerate(rows) for j, n in enumerate(row) if n is not None)


@dataclass(frozen=True)
class Matrices:
    """The k x k matrices that steps in a row may have: an entry is there where it is not zero in one step or in a product of some."""

    k: int
    semiring: Semiring
    step: Pattern

    @cached_property
    def entries(self) -> list[tuple[int, int]]:
        found = set(self.step) or {(0, 0)}  # a step that forgets is a matrix of zeros
        while more := {(i, j) for i, m in found for n, j in found if m == n} - found:
            found |= more
        return sorted(found)

    def names(self, matrix: str) -> list[str]:
        """What the entries of a matrix are called."""
        return [f"{matrix}_{i}_{j}" for i, j in self.entries]

    def pairs(self, a: str, b: str) -> list[tuple[str, str]]:
        """The entries of two matrices side by side."""
        return list(zip(self.names(a), self.names(b), strict=True))

    def product(self, left: str, right: str) -> list[str]:
        """The entries of left · right."""
        found = []
        for i, j in self.entries:
            terms = [self.semiring.times(f"{left}_{i}_{m}", f"{right}_{m}_{j}") for n, m in self.entries if n == i and (m, j) in self.entries]
            found.append(self.semiring.plus(terms) if terms else f"full({self.semiring.zero}, {left}_{i}_{j})")
        return found

    def applied(self, matrix: str, vector: str, added: str) -> list[str]:
        """The entries of matrix · vector ⊕ added."""
        k = range(self.k)
        return self.applied_to(matrix, [f"{vector}_{j}" for j in k], [f"{added}_{i}" for i in k])

    def applied_to(self, matrix: str, vector: Sequence[str | None], added: Sequence[str | None]) -> list[str]:
        """The entries of matrix · vector ⊕ added, where those of both have any names; None is zero."""
        found = []
        for i, rest in enumerate(added):
            terms = [self.semiring.times(f"{matrix}_{i}_{j}", v) for n, j in self.entries if n == i and (v := vector[j]) is not None]
            terms += [rest] if rest is not None else []
            found.append(self.semiring.plus(terms) if terms else "nothing")
        return found

    @cached_property
    def transposed(self) -> "Matrices":
        return Matrices(self.k, self.semiring, frozenset((j, i) for i, j in self.step))
