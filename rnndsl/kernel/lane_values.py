"""Formulas of a component beside the step that they belong to.

They are made of symbols of the lane form: old states, streams, params, locals. What the step computes already is not made again: each
formula that the calculus made of an expression of the program is that expression's node.
"""

from collections.abc import Iterable

from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus.jacobian import Jacobian
from rnndsl.calculus.lanes import SHIFT_MAX, Lanes, Leaf, Mix
from rnndsl.checks.cell import Apply, Ref, Type
from rnndsl.checks.dims import Dim
from rnndsl.kernel import operations
from rnndsl.kernel.arithmetic import Arithmetic
from rnndsl.kernel.formulas import Converter
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.lowering import Lowering
from rnndsl.kernel.values import Value
from rnndsl.plan.ir import Gemm


class LaneValues(Converter[Value]):
    """Formulas as values of the language; broadcasting is the language's."""

    def __init__(self, lanes: Lanes, lowering: Lowering):
        super().__init__()
        self.lowering = lowering
        self.definitions = lanes.definitions
        self.leaves = {leaf.symbol: leaf for leaf in lanes.leaves}
        self.mixes = {mix.symbol: mix for mix in lanes.mixes}
        self.ranks: dict[Symbol, tuple] = {}
        for symbol in (*(s.symbol for s in lanes.slots), *(leaf.symbol for leaf in lanes.leaves), *lanes.order):
            self.ranks.setdefault(symbol, (0, len(self.ranks)))
        self.known |= {s.symbol: lowering.leaf("old", (s.state, "state", s.lag), s.type) for s in lanes.slots}
        merged = [o for o in lowering.recurrence.operations if isinstance(o, Gemm)]
        products = {id(p): lowering.locals[name] for o in merged for p, name in zip(o.products, o.results, strict=True) if name in lowering.locals}
        self.stacked = {p.args[0]: (o, i) for o in merged for i, p in enumerate(o.products)}
        for expr, time, formula in lanes.origins:
            made = [products[id(expr)]] if id(expr) in products else lowering.made.get(id(expr), [])
            if time < len(made) and not formula.is_Number and formula not in self.leaves:
                self.known.setdefault(formula, made[time])

    @property
    def arithmetic(self) -> Arithmetic:
        return self.lowering.arithmetic

    def define(self, jacobian: Jacobian, further: Iterable[tuple[Symbol, Formula]] = ()) -> None:
        """Says what the names of derivatives stand for, and further symbols."""
        self.definitions = {**self.definitions, **dict(jacobian.locals), **dict(further)}
        for bar, z in jacobian.conjugates.items():
            self.ranks.setdefault(bar, (1, self.ranks.get(z, (2, str(z)))))
        for symbol, (of, by) in jacobian.named.items():
            self.ranks[symbol] = (2, self.key(of), self.key(by))
        for symbol, formula in further:
            self.ranks.setdefault(symbol, (3, self.key(formula)))

    def rank(self, symbol: Symbol) -> tuple:
        return self.ranks.get(symbol, (4,))

    def number(self, value: float) -> Value:
        return self.arithmetic.number(value)

    def imaginary_unit(self) -> Value:
        b = self.arithmetic.builder
        return Value((b.number(0.0), b.number(1.0)), Type(is_complex=True))

    def symbol(self, symbol: Symbol) -> Value:
        if symbol in self.definitions:
            return self.value(self.definitions[symbol])
        if symbol in self.leaves:
            return self._leaf(self.leaves[symbol])
        if symbol in self.mixes:
            return self._mix(self.mixes[symbol])
        raise Unsupported(str(symbol))

    def apply(self, op: str, *args: Value) -> Value:
        if op == "root":
            return self.arithmetic.make("root", args[0].type, *args)
        heads = max((a.type.heads for a in args), key=len, default=())
        axes = max((a.type.axes for a in args), key=len, default=())
        is_complex = any(a.type.is_complex for a in args) and op not in ("re", "im", "abs", "==", "!=")
        return operations.apply(self.arithmetic, Apply(op, (), Type(heads, axes, is_complex)), list(args))

    def _leaf(self, leaf: Leaf) -> Value:
        """A value that the step is given, or what an operation makes of such."""
        if leaf.operation == "slice":
            assert isinstance(leaf.expr, Apply) and isinstance(leaf.expr.args[0], Ref)
            (number,) = self.value(leaf.operands[0]).parts
            base = leaf.expr.args[0]
            return self.lowering.leaf("static", (base.name, base.role, 0), leaf.type, select=number)
        if leaf.expr in self.stacked:
            return self._row_block(*self.stacked[leaf.expr])
        if leaf.expr is not None:
            return self.lowering.value(leaf.expr)
        operands = [Value(self.value(o).parts, t) for o, t in zip(leaf.operands, leaf.operand_types, strict=True)]
        if leaf.operation in ("rows", "columns"):
            return self.arithmetic.placed(operands[0], 0 if leaf.operation == "rows" else 1, leaf.type)
        return operations.apply(self.arithmetic, Apply(leaf.operation, (), leaf.type, leaf.static), operands)

    def _mix(self, mix: Mix) -> Value:
        """What an operation that mixes channels gives, where no expression of the program is it."""
        types = (mix.operand_type, *mix.other_types)
        operand, *others = (Value(self.value(f).parts, t) for f, t in zip((mix.operand, *mix.others), types, strict=True))
        others.insert(mix.argument, operand)
        if mix.operation == SHIFT_MAX:
            return self.arithmetic.total(operand, "largest")
        if mix.operation == "broadcast":
            return Value(self.arithmetic.fitted(operand, mix.type), mix.type)
        return operations.apply(self.arithmetic, Apply(mix.operation, (), mix.type, mix.static), others)

    def _row_block(self, gemm: Gemm, number: int) -> Value:
        """The matrix of one of the products that were merged."""
        whole, t = self.lowering.value(gemm.matrix), gemm.products[number].args[0].type
        offset = sum(gemm.rows[:number], Dim.of(0))
        axis = len(t.heads)
        return self.arithmetic.map_parts(whole, t, lambda p: self.arithmetic.builder.slice(p, axis, offset, t.axes[0]))
