"""Derivatives of a component in lane form, by the chain rule over its locals and mixing operations.

For the solver, the true derivative; for the backward pass, `grad` surrogates in its place. Where a derivative passes through a
mixing operation, the entry is in factored form: ∂root/∂mix here, the operation itself, and ∂operand/∂slot in turn.

A complex symbol z that is read through its conjugate has two derivatives, as in Wirtinger's calculus: ∂/∂z under z itself and
∂/∂z̄ under a symbol of its own, so that d(root) = Σ ∂root/∂z dz + ∂root/∂z̄ conj(dz).
"""

from dataclasses import dataclass, field
from functools import cached_property

import sympy
from sympy import Expr as Formula
from sympy import Integer, Symbol

from rnndsl.calculus.budget import Budget
from rnndsl.calculus.functions import derivative, equal, imag_part, modulus, real_part, surrogate, where
from rnndsl.calculus.lanes import SHIFT_MAX, Lanes

LONG = 60  # operations in a local's derivative from which it gets a name: a chain of locals would double it at every step
SHARED = 2  # and in one that several others are multiplied with: those of a new state, and those in a local that depends on several values


@dataclass(frozen=True)
class Partials:
    """The derivatives of one root (a new state, or a mixing operation's operand) in each symbol that is no local.

    Entries that are zero are absent.
    """

    root: str
    by: dict[Symbol, Formula]


@dataclass(frozen=True)
class Jacobian:
    """∂s[t]/∂(old states, streams, params, mixes), and the same of every operand of a mix.

    A product is linear in its other factor too: `factors` are the derivatives of that factor, for each mix, where it depends on no
    state (where it does, the product is two mixes, one for each factor).
    """

    lanes: Lanes
    updates: tuple[Partials, ...]
    operands: tuple[Partials, ...]
    conjugates: dict[Symbol, Symbol] = field(default_factory=dict, compare=False)  # z̄ to z
    factors: tuple[Partials, ...] = ()
    locals: tuple[tuple[Symbol, Formula], ...] = ()  # derivatives under names that later ones and entries read
    named: dict[Symbol, tuple[Formula, Symbol]] = field(default_factory=dict, compare=False)  # of those: of what they are, and in what

    @cached_property
    def pattern(self) -> tuple[tuple[bool, ...], ...]:
        """Which new state depends on which slot, directly or through mixing operations; rows are new states."""
        reach: dict[Symbol, set[Symbol]] = {}
        slots = {s.symbol for s in self.lanes.slots}
        plain = self.conjugates
        for mix, partials in zip(self.lanes.mixes, self.operands, strict=True):
            reach[mix.symbol] = self._slots_of(partials, slots, reach, plain)
        return tuple(
            tuple(s.symbol in self._slots_of(p, slots, reach, plain) for s in self.lanes.slots) for p in self.updates
        )

    @staticmethod
    def _slots_of(p: Partials, slots: set[Symbol], reach: dict[Symbol, set[Symbol]], plain: dict[Symbol, Symbol]) -> set[Symbol]:
        found = set()
        for key in p.by:
            symbol = plain.get(key, key)
            found |= {symbol} if symbol in slots else reach.get(symbol, set())
        return found

    def entry(self, state: str, symbol: Symbol) -> Formula:
        """∂state[t]/∂symbol, apart from what passes through mixing operations."""
        return next(p for p in self.updates if p.root == state).by.get(symbol, Integer(0))


def differentiate(lanes: Lanes, backward: bool = False) -> Jacobian:
    """The Jacobian of a component; `backward` takes surrogate derivatives where the program gives them. Raises TooLarge."""
    return _Chain(lanes, backward).run()


@dataclass
class _Chain:
    """The chain rule along a component's locals."""

    lanes: Lanes
    backward: bool
    gradients: dict[Symbol, dict[Symbol, Formula]] = field(default_factory=dict)
    bars: dict[Symbol, Symbol] = field(default_factory=dict)  # z to z̄
    plain: dict[Symbol, Symbol] = field(default_factory=dict)  # z̄ to z
    locals: list[tuple[Symbol, Formula]] = field(default_factory=list)
    named: dict[Symbol, tuple[Formula, Symbol]] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)

    def run(self) -> Jacobian:
        definitions = self.lanes.definitions
        mixes = {m.symbol: m for m in self.lanes.mixes}
        new = {formula for _, formula in self.lanes.updates}
        operands: dict[Symbol, Partials] = {}
        for symbol in self.lanes.order:
            if symbol in definitions:
                found = self.partials(definitions[symbol], symbol)
                limit = SHARED if symbol in new else LONG
                self.gradients[symbol] = {s: self.short(e, symbol, s, limit) for s, e in found.items()}
            else:
                operand = mixes[symbol].operand
                moves = mixes[symbol].operation != SHIFT_MAX
                operands[symbol] = Partials(str(symbol), self.partials(operand, operand) if moves else {})
        updates = tuple(Partials(state, self.partials(formula, formula)) for state, formula in self.lanes.updates)
        by_mix = tuple(operands[m.symbol] for m in self.lanes.mixes)
        factors = tuple(Partials(str(m.symbol), self.factor(m.others)) for m in self.lanes.mixes)
        return Jacobian(self.lanes, updates, by_mix, dict(self.plain), factors, tuple(self.locals), self.named)

    def factor(self, others: tuple[Formula, ...]) -> dict[Symbol, Formula]:
        """The derivatives of a product's other factor; none where it depends on the states."""
        changing = {s.symbol for s in self.lanes.slots} | {m.symbol for m in self.lanes.mixes}
        found = self.partials(others[0], others[0]) if others else {}
        return {} if {self.plain.get(s, s) for s in found} & changing else found

    def partials(self, formula: Formula, root: Formula) -> dict[Symbol, Formula]:
        """The derivatives of a formula, that of `root`, in each symbol that is no local."""
        formula = formula if self.backward else _without_surrogates(formula)
        parts: dict[Symbol, Formula] = {}

        def hidden(call: Formula) -> Formula:
            dummy = sympy.Dummy(real=True)
            self.gradients[dummy], parts[dummy] = self.of_part(call), call
            return dummy

        if formula.has(real_part, imag_part, modulus):
            formula = formula.replace(lambda e: isinstance(e, real_part | imag_part | modulus), hidden)
        total = self.chain(formula, root)
        for dummy, call in reversed(parts.items()):
            total = {s: e.xreplace({dummy: call}) for s, e in total.items()}
        return total

    def of_part(self, call: Formula) -> dict[Symbol, Formula]:
        """The derivatives of re z, im z or |z|: d(re z) = re(dz), d(im z) = re(-i dz), d|z| = re(conj(z) dz) / |z|."""
        (z,) = call.args
        inner = self.chain(z, z)
        factor: Formula = Integer(1)
        if isinstance(call, imag_part):
            factor = -sympy.I
        elif isinstance(call, modulus):
            factor = where(equal(call, Integer(0)), Integer(0), sympy.conjugate(z) / call)
        found: dict[Symbol, Formula] = {}
        for s, e in inner.items():  # re(f ds) = f ds / 2 + conj(f) conj(ds) / 2
            for symbol, half in ((s, factor * e / 2), (self.bar(s), self.conjugate(factor * e) / 2)):
                found[symbol] = found.get(symbol, Integer(0)) + half
        return found

    def conjugate(self, formula: Formula) -> Formula:
        """The conjugate of a formula, its symbols' conjugates written out."""
        return self.conjugated(formula).xreplace(self.back())

    def back(self) -> dict[Symbol, Formula]:
        return {bar: sympy.conjugate(z) for bar, z in self.plain.items()}

    def chain(self, formula: Formula, root: Formula) -> dict[Symbol, Formula]:
        """The chain rule over a formula's symbols; where the formula itself stands in a derivative, its root does: z(1 - z), no second sigmoid."""
        own = {formula: root} if root.is_Symbol and not formula.is_Atom else {}
        if formula.has(sympy.conjugate):
            formula = formula.replace(lambda e: isinstance(e, sympy.conjugate), lambda e: self.conjugated(e.args[0]))
        terms: dict[Symbol, list[Formula]] = {}
        for symbol in sorted(formula.free_symbols, key=str):
            self.budget.spend(self.budget.size(formula))
            direct = self.budget.made(derivative(formula, symbol).xreplace(own))
            if direct == 0:
                continue
            inner = self.gradient(symbol)
            if len(inner) > 1 and root.is_Symbol and not direct.has(where):  # a mask stays where it is seen
                direct = self.short(direct, root, symbol, SHARED)
            for leaf, d in inner.items():
                terms.setdefault(leaf, []).append(self.budget.made(direct * d))
        back = self.back()
        total = {s: _common(sympy.Add(*t)) for s, t in terms.items()}
        return {s: e.xreplace(back) if back else e for s, e in total.items() if e != 0}

    def gradient(self, symbol: Symbol) -> dict[Symbol, Formula]:
        """The derivatives of a symbol or of the conjugate of one."""
        z = self.plain.get(symbol)
        inner = self.gradients.get(symbol if z is None else z)
        if inner is None:
            return {symbol: Integer(1)}
        if z is None:
            return inner
        return {self.bar(s): self.conjugated(e) for s, e in inner.items()}

    def bar(self, symbol: Symbol) -> Symbol:
        """The symbol of a symbol's conjugate; a real one is its own."""
        if symbol.is_real:
            return symbol
        if symbol in self.plain:
            return self.plain[symbol]
        if symbol not in self.bars:
            bar = Symbol(f"conj({symbol})")
            self.bars[symbol], self.plain[bar] = bar, symbol
        return self.bars[symbol]

    def conjugated(self, formula: Formula) -> Formula:
        """The conjugate of a formula, in conjugates of its symbols: every function here takes conj(f(z)) = f(conj z)."""
        if formula.is_Symbol:
            return self.bar(formula)
        if formula.is_Number or formula.is_NumberSymbol:
            return formula
        if formula == sympy.I:
            return -formula
        if isinstance(formula, sympy.conjugate):
            return formula.args[0]
        if isinstance(formula, real_part | imag_part | modulus):
            return formula
        return formula.func(*(self.conjugated(a) for a in formula.args))

    def short(self, e: Formula, root: Formula, symbol: Symbol, limit: int) -> Formula:
        """A derivative, under a name of its own where it has `limit` operations or more."""
        if e.is_Atom or (-e).is_Atom or not _longer(e, limit) or e.has(sympy.Dummy):
            return e
        real = all(s.is_real for s in e.free_symbols) and not e.has(sympy.I)
        text = f"∂{root}/∂{symbol}"
        while any(str(s) == text for s in self.named):
            text += "'"
        name = Symbol(text, real=True if real else None)
        self.locals.append((name, e))
        self.named[name] = (root, symbol)
        return name


def _common(e: Formula) -> Formula:
    """A sum with what all of its terms are multiplied with taken out: the rest is often that of another entry too."""
    if not e.is_Add:
        return e
    terms = [sympy.Mul.make_args(t) for t in e.args]
    factors = [f for f in terms[0] if not f.is_number and all(f in others for others in terms[1:])]
    return sympy.Mul(*factors, sympy.Add(*(sympy.Mul(*(f for f in t if f not in factors)) for t in terms))) if factors else e


def _without_surrogates(formula: Formula) -> Formula:
    """The formula with every surrogate replaced by the value that it stands for."""
    return formula.replace(lambda e: isinstance(e, surrogate), lambda e: e.args[1])


def _longer(formula: Formula, limit: int) -> bool:
    """Whether a formula has more than `limit` nodes."""
    return any(n >= limit for n, _ in enumerate(sympy.preorder_traversal(formula)))


def shared(formulas: list[Formula]) -> tuple[list[tuple[Symbol, Formula]], list[Formula]]:
    """Common subexpressions of several formulas, named once (sympy.cse; nothing is simplified)."""
    names, reduced = sympy.cse(formulas, symbols=sympy.numbered_symbols("q"), optimizations=[], order="none")
    return list(names), list(reduced)
