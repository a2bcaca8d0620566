"""Derivatives of a component in lane form, by the chain rule over its locals and mixing operations.

For the solver, the true derivative; for the backward pass, `grad` surrogates in its place. Where a derivative passes through a
mixing operation, the entry is in factored form: ∂root/∂mix here, the operation itself, and ∂operand/∂slot in turn.
"""

from dataclasses import dataclass
from functools import cached_property

import sympy
from sympy import Expr as Formula
from sympy import Integer, Symbol

from rnndsl.calculus.functions import derivative, surrogate
from rnndsl.calculus.lanes import Lanes


@dataclass(frozen=True)
class Partials:
    """The derivatives of one root (a new state, or a mixing operation's operand) in each symbol that is no local.

    Entries that are zero are absent.
    """

    root: str
    by: dict[Symbol, Formula]


@dataclass(frozen=True)
class Jacobian:
    """∂s[t]/∂(old states, streams, params, mixes), and the same of every operand of a mix."""

    lanes: Lanes
    updates: tuple[Partials, ...]
    operands: tuple[Partials, ...]

    @cached_property
    def pattern(self) -> tuple[tuple[bool, ...], ...]:
        """Which new state depends on which slot, directly or through mixing operations; rows are new states."""
        reach: dict[Symbol, set[Symbol]] = {}
        slots = {s.symbol for s in self.lanes.slots}
        for mix, partials in zip(self.lanes.mixes, self.operands, strict=True):
            reach[mix.symbol] = self._slots_of(partials, slots, reach)
        return tuple(
            tuple(s.symbol in self._slots_of(p, slots, reach) for s in self.lanes.slots) for p in self.updates
        )

    @staticmethod
    def _slots_of(p: Partials, slots: set[Symbol], reach: dict[Symbol, set[Symbol]]) -> set[Symbol]:
        found = set()
        for symbol in p.by:
            found |= {symbol} if symbol in slots else reach.get(symbol, set())
        return found

    def entry(self, state: str, symbol: Symbol) -> Formula:
        """∂state[t]/∂symbol, apart from what passes through mixing operations."""
        return next(p for p in self.updates if p.root == state).by.get(symbol, Integer(0))


def differentiate(lanes: Lanes, backward: bool = False) -> Jacobian:
    """The Jacobian of a component; `backward` takes surrogate derivatives where the program gives them."""
    choose = (lambda e: e) if backward else _without_surrogates
    gradients: dict[Symbol, dict[Symbol, Formula]] = {}
    definitions = lanes.definitions

    def partials(formula: Formula) -> dict[Symbol, Formula]:
        formula = choose(formula)
        total: dict[Symbol, Formula] = {}
        for symbol in sorted(formula.free_symbols, key=str):
            direct = derivative(formula, symbol)
            if direct == 0:
                continue
            inner = gradients.get(symbol)
            for leaf, d in ({symbol: Integer(1)} if inner is None else inner).items():
                total[leaf] = total.get(leaf, Integer(0)) + direct * d
        return {s: e for s, e in total.items() if e != 0}

    operands: dict[Symbol, Partials] = {}
    mixes = {m.symbol: m for m in lanes.mixes}
    for symbol in lanes.order:
        if symbol in definitions:  # z(1 - z) rather than the sigmoid anew
            named = {definitions[symbol]: symbol}
            gradients[symbol] = {s: e.xreplace(named) for s, e in partials(definitions[symbol]).items()}
        else:
            operands[symbol] = Partials(str(symbol), partials(mixes[symbol].operand))
    updates = tuple(Partials(state, partials(formula)) for state, formula in lanes.updates)
    return Jacobian(lanes, updates, tuple(operands[m.symbol] for m in lanes.mixes))


def _without_surrogates(formula: Formula) -> Formula:
    """The formula with every surrogate replaced by the value that it stands for."""
    return formula.replace(lambda e: isinstance(e, surrogate), lambda e: e.args[1])


def shared(formulas: list[Formula]) -> tuple[list[tuple[Symbol, Formula]], list[Formula]]:
    """Common subexpressions of several formulas, named once (sympy.cse; nothing is simplified)."""
    names, reduced = sympy.cse(formulas, symbols=sympy.numbered_symbols("q"), optimizations=[], order="none")
    return list(names), list(reduced)
