"""A component's equations in lane form: one scalar symbol a vector, each operation that mixes channels opaque.

The cost does not depend on any width. A value is a SymPy expression in symbols for the old states (slots), the streams, the
params, the locals before it, and the results of mixing operations (`Mix`), which are linear in their operands: a norm or a
softmax is first written with sums. Alongside, each value carries which axes its dependence on the states has mixed, and its
family.
"""

from dataclasses import dataclass, field

import sympy
from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus import family
from rnndsl.calculus.functions import surrogate
from rnndsl.checks.cell import Expr, Type
from rnndsl.diagnostics import NOWHERE, Span

ROW, COLUMN, HEAD = "row", "column", "head"
SHIFT_MAX = "max"


@dataclass(frozen=True)
class Slot:
    """One old value that a component carries: state[t-lag]."""

    state: str
    lag: int
    type: Type
    symbol: Symbol


@dataclass(frozen=True)
class Mix:
    """`symbol` = a linear operation on `operand` that is not lane by lane.

    The operand is argument number `argument` of `operation`; the others do not change with it. Operations are those of the
    language, and `broadcast`, `rows` and `columns` (a vector as every column, or every row, of a matrix). A `concat` places its
    operand at the offset in `static`, among zeros. One is not linear: `max`, the largest entry, which a softmax takes off its
    argument so that nothing overflows; its derivative is left out, since the softmax does not depend on it.
    """

    symbol: Symbol
    operand: Formula
    operation: str
    argument: int
    others: tuple[Formula, ...]
    type: Type  # of the result
    operand_type: Type
    static: tuple = ()
    span: Span = field(default=NOWHERE, compare=False)
    matrix: str | None = None  # how the program writes the other factor of a product
    other_types: tuple[Type, ...] = ()


@dataclass(frozen=True)
class Leaf:
    """A value that a component reads and does not change: a stream or a param.

    Either `expr` is the name that it stands for (or a slice of one, `operands` being its number), or `operation`, of the same
    kinds as a mix's, gives it from `operands`: formulas in other leaves and in locals that depend on no state.
    """

    symbol: Symbol
    role: str  # stream, param
    name: str
    type: Type
    expr: Expr | None = field(default=None, compare=False)
    operation: str = ""
    operands: tuple[Formula, ...] = ()
    operand_types: tuple[Type, ...] = ()
    static: tuple = ()


@dataclass(frozen=True)
class Cause:
    """Why channels mix: the axes, and the words of the program that mix them."""

    axes: frozenset[str]
    span: Span


@dataclass(frozen=True)
class Lanes:
    """A component in lane form."""

    slots: tuple[Slot, ...]
    leaves: tuple[Leaf, ...]
    locals: tuple[tuple[Symbol, Formula], ...]  # in order; each in terms of what stands before it
    mixes: tuple[Mix, ...]  # each operand in terms of symbols that stand before it
    order: tuple[Symbol, ...]  # locals and mixes, as computed
    updates: tuple[tuple[str, Formula], ...]
    families: tuple[str, ...]  # of the updates
    mixed: frozenset[str]
    causes: tuple[Cause, ...]
    complex_pairs: bool  # a complex state is read through re, im, conj or abs
    types: dict[Symbol, Type] = field(default_factory=dict, compare=False)
    origins: tuple[tuple[Expr, int, Formula], ...] = field(default=(), compare=False, repr=False)  # of formulas: what the program writes for
    # them, and when, since an expression in a repeat has a formula a round

    @property
    def has_surrogates(self) -> bool:
        """Whether a derivative of the backward pass is another than the true one."""
        formulas = [f for _, f in (*self.locals, *self.updates)]
        formulas += [f for m in self.mixes for f in (m.operand, *m.others)]
        return any(f.has(surrogate) for f in formulas)

    @property
    def definitions(self) -> dict[Symbol, Formula]:
        return dict(self.locals)


@dataclass
class Value:
    """A lowered expression and what is known of its dependence on the component's states."""

    formula: Formula
    type: Type
    family: str = family.CONST
    axes: tuple[str, ...] = ()  # which state axis each of its axes runs along
    mixed: frozenset[str] = frozenset()
    crossed: frozenset[str] = frozenset()  # what the formula itself mixes, apart from its symbols

    @property
    def depends(self) -> bool:
        return self.family != family.CONST


class Factored(sympy.Function):
    """The value of a product of two dependent factors. Both arguments are that value, each linear in one: d = d(first) + d(second)."""

    def fdiff(self, argindex=1):
        return sympy.Integer(1)
