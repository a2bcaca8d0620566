"""D of J = D + N: of a component's Jacobian the part that stays in a channel, where N passes through a matrix.

A product R @ v moves what stands in channel i of v to channel i of its result by R[i, i], and to channel i of each further block of its rows by
the diagonal of that block. Other operations that mix channels belong to N as a whole, but for `split`, which takes a block. Newton's method with
D in place of J measures the same residual, so it has the same solution; only its rounds differ.
"""

from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus.jacobian import Jacobian
from rnndsl.calculus.lanes import Mix
from rnndsl.checks.cell import Type
from rnndsl.checks.dims import Dim
from rnndsl.kernel.lane_values import LaneValues
from rnndsl.kernel.values import Value

_BLOCKS = 32  # of the rows of a matrix, at most
Entries = dict[Symbol, Value]  # by a slot's symbol, or that of its conjugate


class OwnChannel:
    """Entries of D, as values of a step. Its methods raise Unsupported."""

    def __init__(self, jacobian: Jacobian, values: LaneValues):
        self.values, self.plain = values, jacobian.conjugates
        self.bars = {z: bar for bar, z in self.plain.items()}
        self.slots = {s.symbol: s.type for s in jacobian.lanes.slots}
        self.types = {**self.slots, **{m.symbol: m.type for m in jacobian.lanes.mixes}}
        self.passed: dict[Symbol, Entries] = {}  # of the results of mixing operations
        operands = {m.symbol: p.by for m, p in zip(jacobian.lanes.mixes, jacobian.operands, strict=True)}
        for mix in sorted(jacobian.lanes.mixes, key=lambda m: jacobian.lanes.order.index(m.symbol)):
            self.passed[mix.symbol] = self._through(mix, operands[mix.symbol])

    def entries(self, by: dict[Symbol, Formula], t: Type) -> Entries:
        """The entries of a value of type `t`, from its derivatives."""
        found: Entries = {}
        for key, slope in by.items():
            symbol = self.plain.get(key, key)
            if symbol not in self.types or not _same_axes(self.types[symbol], t):
                continue
            if symbol in self.slots:
                self._add(found, key, self._broadcast(self.values.value(slope), t))
                continue
            for inner, entry in self.passed[symbol].items():
                if symbol is not key:
                    inner, entry = self.plain.get(inner) or self.bars.get(inner, inner), self.values.apply("conj", entry)
                self._add(found, inner, self.values.scaled(entry, slope))
        return found

    def _add(self, entries: Entries, symbol: Symbol, value: Value) -> None:
        entries[symbol] = self.values.apply("+", entries[symbol], value) if symbol in entries else value

    def _broadcast(self, value: Value, t: Type) -> Value:
        whole = Type(t.heads, t.axes, value.type.is_complex)
        return Value(self.values.arithmetic.fitted(value, whole), whole)

    def _through(self, mix: Mix, by: dict[Symbol, Formula]) -> Entries:
        """What a mixing operation hands on in its own channel."""
        if mix.operation == "split" and mix.type.rank == 1:
            _, number = mix.static
            entries = self.entries(by, mix.operand_type)
            return {s: self.values.block(e, mix.type, int(number)) for s, e in entries.items()}
        if mix.operation != "@" or mix.other_types[0].rank != 2 or mix.type.rank != mix.operand_type.rank or mix.type.heads != mix.operand_type.heads:
            return {}
        return self._through_product(mix, {s: e for s, e in self.entries(by, mix.operand_type).items() if self._is_of(s, mix.operand_type)})

    def _is_of(self, symbol: Symbol, t: Type) -> bool:
        return _same_axes(self.slots[self.plain.get(symbol, symbol)], t)

    def _through_product(self, mix: Mix, entries: Entries) -> Entries:
        """The diagonals of the blocks of a matrix, times what they are reached by."""
        axis = mix.type.rank - 1 if mix.argument == 0 else 0
        size = mix.operand_type.axes[axis]
        blocks = next((n for n in range(1, _BLOCKS + 1) if size * Dim.of(n) == mix.type.axes[axis]), None)
        if not entries or blocks is None or (blocks > 1 and mix.type.rank == 2):
            return {}
        matrix, t = self.values.value(mix.others[0]), mix.other_types[0]
        diagonal = self.values.diagonals(matrix, t, blocks, mix.argument == 0)
        if mix.type.rank == 2:
            diagonal = self.values.arithmetic.placed(diagonal, axis, Type(mix.type.heads, mix.type.axes, t.is_complex))
        return {s: self.values.apply("*", diagonal, self.values.repeated(e, blocks)) for s, e in entries.items()}


def _same_axes(a: Type, b: Type) -> bool:
    return (a.heads, a.axes) == (b.heads, b.axes)
