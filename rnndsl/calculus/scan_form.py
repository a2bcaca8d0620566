"""The exact scan of a component that needs no iteration: s' = a ⊕ s, with the coefficients as formulas.

Affine: s'_i = Σ_j a_ij s_j + b_i. Max-plus: s'_i = max(max_j (a_ij + s_j), b_i). Log-semiring: the same with logaddexp.
A coefficient that is absent is the zero of its semiring: 0, or -inf.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import sympy
from sympy import Expr as Formula
from sympy import Integer, Symbol

from rnndsl.calculus import family
from rnndsl.calculus.budget import NAMED, Budget
from rnndsl.calculus.functions import logaddexp, maximum, relu, softplus, where
from rnndsl.calculus.jacobian import Jacobian
from rnndsl.calculus.lanes import Lanes

Terms = dict[Symbol | None, Formula]


@dataclass(frozen=True)
class ScanForm:
    """a[i][j] multiplies (or is added to) slot j in new state i; b[i] stands alone. None is the semiring's zero.

    `locals` are parts of these under names, in order, where the coefficients have grown long. Where a complex slot is read through its
    conjugate, `bars[i]` has what multiplies that in new state i, by the symbol that `conjugates` has for it.
    """

    family: str
    a: tuple[tuple[Formula | None, ...], ...]
    b: tuple[Formula | None, ...]
    locals: tuple[tuple[Symbol, Formula], ...] = ()
    bars: tuple[dict[Symbol, Formula], ...] = ()
    conjugates: dict[Symbol, Symbol] = field(default_factory=dict, compare=False)  # of a slot's symbol


def has_scan_form(lanes: Lanes, kind: str) -> bool:
    """Whether there is a scan form: channels do not mix, and the family is a semiring's."""
    return not (lanes.mixes or kind == family.NONLINEAR)


def scan_form(lanes: Lanes, kind: str, jacobian: Jacobian) -> ScanForm | None:
    """The scan form of a component; None where it has none. Raises TooLarge."""
    if not has_scan_form(lanes, kind):
        return None
    slots = [s.symbol for s in lanes.slots]
    form = _Form(lanes, maximum if kind == family.MAX_PLUS else logaddexp)
    if kind == family.AFFINE:
        a = tuple(tuple(p.by.get(s) for s in slots) for p in jacobian.updates)
        b = tuple(None if (value := form.at_zero(formula)) == 0 else value for _, formula in lanes.updates)
        bars = {z: bar for bar, z in jacobian.conjugates.items() if z in slots}
        others = tuple({bar: p.by[bar] for bar in bars.values() if bar in p.by} for p in jacobian.updates)
        return ScanForm(kind, a, b, (*jacobian.locals, *form.locals), others, bars)
    rows = [form.terms(formula) for _, formula in lanes.updates]
    a = tuple(tuple(r.get(s) for s in slots) for r in rows)
    return ScanForm(kind, a, tuple(r.get(None) for r in rows), tuple(form.locals))


class _Form:
    """The coefficients of one component; each local is looked at once, and what is long has a name."""

    def __init__(self, lanes: Lanes, join: Callable):
        self.definitions = lanes.definitions
        self.slots = {s.symbol for s in lanes.slots}
        self.moving = set(self.slots)  # what depends on them
        self.join = join
        self.locals: list[tuple[Symbol, Formula]] = []
        self.budget = Budget()
        self.zeros: dict[Symbol, Formula] = {s: Integer(0) for s in self.slots}
        self.parts: dict[Symbol, Terms] = {s: {s: Integer(0)} for s in self.slots}
        for symbol, formula in lanes.locals:
            if formula.free_symbols & self.moving:
                self.moving.add(symbol)

    def short(self, formula: Formula) -> Formula:
        """The formula, or a name for it where it is long."""
        if self.budget.size(self.budget.made(formula)) <= NAMED:
            return formula
        name = Symbol(f"part {len(self.locals) + 1}", real=True if all(s.is_real for s in formula.free_symbols) else None)
        self.locals.append((name, formula))
        return name

    def at_zero(self, formula: Formula) -> Formula:
        """What is left where every old state is zero."""
        for s, definition in self.definitions.items():  # in order: each in terms of those before it
            if s not in self.zeros:
                self.zeros[s] = self.short(definition.xreplace(self.zeros))
        return self.budget.made(formula.xreplace(self.zeros))

    def constant(self, formula: Formula) -> Formula:
        """A formula that no old state reaches."""
        return self.at_zero(formula)

    def terms(self, formula: Formula) -> Terms:
        """The formula as join over slots of (coefficient + slot), and a constant under the key None."""
        for s, definition in self.definitions.items():
            if s in self.moving and s not in self.parts:
                self.parts[s] = {k: self.short(v) for k, v in self.visit(definition).items()}
        return self.visit(formula)

    def visit(self, f: Formula) -> Terms:
        self.budget.spend(1)
        if not f.free_symbols & self.moving:
            return {None: self.constant(f)}
        if f in self.parts:
            return self.parts[f]
        if f.is_Add:
            moving = [t for t in f.args if t.free_symbols & self.moving]
            constant = self.constant(sympy.Add(*(t for t in f.args if not t.free_symbols & self.moving)))
            (inner,) = moving
            return {k: self.budget.made(v + constant) for k, v in self.visit(inner).items()}
        if isinstance(f, relu | softplus):
            return self.merged(self.visit(f.args[0]), {None: Integer(0)})
        if isinstance(f, where):
            yes, no = self.visit(f.args[1]), self.visit(f.args[2])
            condition = self.constant(f.args[0])
            return {k: self.budget.made(where(condition, yes.get(k, -sympy.oo), no.get(k, -sympy.oo))) for k in {**yes, **no}}
        return self.merged(*(self.visit(a) for a in f.args))

    def merged(self, *parts: Terms) -> Terms:
        out: Terms = {}
        for part in parts:
            for k, v in part.items():
                out[k] = self.budget.made(self.join(out[k], v)) if k in out else v
        return out
