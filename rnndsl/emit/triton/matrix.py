"""The small matrices of a channel as Triton functions, entry by entry; entries that are always zero are left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rnndsl.calculus.family import AFFINE, MAX_PLUS
from rnndsl.emit.triton.layout import returned
from rnndsl.emit.triton.records import FollowText, FunctionText

Pattern = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Semiring:
    """How entries are added and multiplied in text, and what zero is."""

    family: str

    @property
    def zero(self) -> str:
        return "0.0" if self.family == AFFINE else 'float("-inf")'

    def times(self, a: str, b: str) -> str:
        return f"{a} * {b}" if self.family == AFFINE else f"{a} + {b}"

    def plus(self, terms: Sequence[str]) -> str:
        if self.family == AFFINE:
            return " + ".join(terms)
        total = terms[0]
        for term in terms[1:]:
            total = f"{'maximum' if self.family == MAX_PLUS else 'logaddexp'}({total}, {term})"
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

    @cached_property
    def transposed(self) -> "Matrices":
        return Matrices(self.k, self.semiring, frozenset((j, i) for i, j in self.step))

    def names(self, matrix: str) -> list[str]:
        """What the entries of a matrix are called."""
        return [f"{matrix}_{i}_{j}" for i, j in self.entries]

    def vector(self, name: str) -> list[str]:
        """What the entries of a vector are called."""
        return [f"{name}_{i}" for i in range(self.k)]

    def product(self, left: str, right: str) -> list[str]:
        """The entries of left · right."""
        found = []
        for i, j in self.entries:
            terms = [self.semiring.times(f"{left}_{i}_{m}", f"{right}_{m}_{j}") for n, m in self.entries if n == i and (m, j) in self.entries]
            found.append(self.semiring.plus(terms) if terms else f"full({self.semiring.zero}, {left}_{i}_{j})")
        return found

    def applied(self, matrix: str, vector: str, added: str) -> list[str]:
        """The entries of matrix · vector ⊕ added."""
        found = []
        for i in range(self.k):
            terms = [self.semiring.times(f"{matrix}_{n}_{j}", f"{vector}_{j}") for n, j in self.entries if n == i]
            found.append(self.semiring.plus([*terms, f"{added}_{i}"]))
        return found


def compose(name: str, m: Matrices) -> FunctionText:
    """Two maps in a row as one, for a scan."""
    parameters = [*m.names("A"), *m.vector("a"), *m.names("B"), *m.vector("b")]
    values = [*m.product("B", "A"), *m.applied("B", "a", "b")]
    return FunctionText(name, "The map x -> B (A x + a) + b: first that of A, then that of B.", parameters, returned([values]))


def scan(name: str, compose: str, reverse: bool = False) -> FunctionText:
    """The maps of lanes in a row, composed."""
    line = f"return tl.associative_scan(maps, 0, {compose}{', reverse=True' if reverse else ''})"
    return FunctionText(name, f"Of each lane the map of all up to it{', from the last' if reverse else ''}.", ["maps"], [line])


def product(name: str, m: Matrices) -> FunctionText:
    """The product of the matrices of two steps in a row."""
    return FunctionText(name, "B · A.", [*m.names("A"), *m.names("B")], returned([m.product("B", "A")]))


def apply(name: str, m: Matrices) -> FunctionText:
    """The value of a map."""
    parameters = [*m.names("A"), *m.vector("x"), *m.vector("a")]
    return FunctionText(name, "A x + a.", parameters, returned([m.applied("A", "x", "a")]))


def seeded(name: str, m: Matrices, kept: Sequence[int], follows: Sequence[FollowText]) -> FunctionText:
    """What a step backwards adds: its map of the gradients that come in, of its new states (`kept` are the slots that have any) and of what
    follows."""
    of_follows = [(f.index, j) for f in follows for j in f.slopes]
    parameters = [*m.names("J"), *(f"O_{i}_{j}" for i, j in of_follows), *(f"seed_{i}" for i in kept), *(f"follow_{f.index}" for f in follows)]
    values = []
    for i in range(m.k):
        terms = [f"J_{n}_{j} * seed_{j}" for n, j in m.entries if n == i and j in kept]
        terms += [f"O_{f}_{j} * follow_{f}" for f, j in of_follows if j == i]
        values.append(" + ".join(terms) or f"full(0.0, {parameters[0]})")
    return FunctionText(name, "What the gradients of a step's new values, and of what follows, add to those of the old.", parameters, returned([values]))


def shift(name: str, k: int) -> FunctionText:
    """What stands one further, for a scan."""
    before = [n for i in range(k) for n in (f"last_{i}", f"before_{i}")]
    own = [n for i in range(k) for n in (f"own_{i}", f"own_before_{i}")]
    values = [v for i in range(k) for v in (f"own_{i}", f"tl.where(own_many != 0, own_before_{i}, last_{i})")]
    parameters = [*before, "many", *own, "own_many"]
    return FunctionText(name, "Of some values in a row: the last one, and the one before it.", parameters, returned([[*values, "own_many * 0 + 1"]]))


def shifted(name: str, shift: str) -> FunctionText:
    """The scan with it."""
    line = f"return tl.associative_scan(values, 0, {shift}, reverse=REVERSE)"
    return FunctionText(name, "Values moved by one lane, behind each that moves.", ["values", "REVERSE: tl.constexpr"], [line])
