"""A component -> its lane form: its operations in order, each expression as a value."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import sympy
from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus import family
from rnndsl.calculus.algebra import Algebra
from rnndsl.calculus.functions import ELEMENTWISE, number, surrogate
from rnndsl.calculus.lanes import COLUMN, ROW, Factored, Lanes, Leaf, Slot, Value
from rnndsl.calculus.mixing import RULES
from rnndsl.checks.cell import Apply, Expr, Let, Number, Ref, Repeat, Type, Update, walk
from rnndsl.checks.dims import Dim
from rnndsl.checks.folding import computed
from rnndsl.checks.prelude import body_of
from rnndsl.diagnostics import Span
from rnndsl.functions import COMPOUNDS
from rnndsl.plan.ir import Gemm, Operation, Scan
from rnndsl.plan.single import own_name

UNROLL = 2  # rounds, at least, of a repeat whose length is not known


def lower(
    scan: Scan,
    static: frozenset[str],
    state_types: dict[str, Type],
    sizes: dict[str, int],
    definitions: dict[str, Expr] | None = None,
    longest: int | None = None,
) -> Lanes:
    """The lane form of a component. Raises TooLarge.

    static: locals that depend on params alone. sizes: the dimensions that are known; a repeat over an unknown one, or of more than `longest`
    rounds, stands for itself with as many rounds as a value needs to reach every local. definitions: locals of earlier stages, so that `A @ h` with
    `A = diag(a)` is seen to scale.
    """
    return Lowering(scan, static, state_types, sizes, definitions or {}, longest).run()


def shown_rounds(repeat: Repeat) -> int:
    """How many rounds stand for a repeat that is not written out: a value reaches every local in them."""
    return max(UNROLL, len(repeat.body) + 1)


@dataclass
class Lowering:
    scan: Scan
    static: frozenset[str]
    state_types: dict[str, Type]
    sizes: dict[str, int]
    definitions: dict[str, Expr] = field(default_factory=dict)
    longest: int | None = None
    algebra: Algebra = field(default_factory=Algebra)
    env: dict[tuple, Value] = field(default_factory=dict)
    arguments: dict[str, Value] = field(default_factory=dict)  # of the function of the prelude that is being read
    origins: list[tuple[Expr, int, Formula]] = field(default_factory=list)
    times: dict[int, int] = field(default_factory=dict)  # that an expression, by identity, was lowered

    def run(self) -> Lanes:
        slots = []
        for s, lag in self.scan.carried:
            self.algebra.budget.spend(10)
            t = self.state_types[s]
            symbol = self.algebra.symbol(s if lag == 1 else f"{s}_{lag}", t)
            slots.append(Slot(s, lag, t, symbol))
            self.env["state", s, lag] = self.algebra.known[symbol] = Value(symbol, t, family.SHIFT, (ROW, COLUMN)[: t.rank])
        updates: list[tuple[str, Value]] = []
        for operation in self.scan.body:
            self._operation(operation, updates)
        mixed: frozenset[str] = frozenset()
        for _, value in updates:
            mixed |= value.mixed
        used = self._used(v.formula for _, v in updates)
        return Lanes(
            tuple(slots),
            tuple(leaf for leaf in self.algebra.leaves.values() if leaf.symbol in used),
            tuple((s, f) for s, f in self.algebra.locals if s in used),
            tuple(m for m in self.algebra.mixes if m.symbol in used),
            tuple(s for s in self.algebra.order if s in used),
            tuple((s, v.formula) for s, v in updates),
            tuple(v.family for _, v in updates),
            mixed,
            tuple(self.algebra.causes),
            self.algebra.complex_pairs,
            self.algebra.types,
            tuple(self.origins),
        )

    def _used(self, formulas: Iterable[Formula]) -> set[Symbol]:
        """Every symbol that some formulas need: what SymPy has cancelled needs none."""
        needs: dict[Symbol, tuple[Formula, ...]] = {s: (f,) for s, f in self.algebra.locals}
        needs |= {m.symbol: (m.operand, *m.others) for m in self.algebra.mixes}
        needs |= {leaf.symbol: leaf.operands for leaf in self.algebra.leaves.values()}
        used: set[Symbol] = set()
        waiting = [s for f in formulas for s in f.free_symbols]
        while waiting:
            symbol = waiting.pop()
            if symbol not in used:
                used.add(symbol)
                waiting += [s for f in needs.get(symbol, ()) for s in f.free_symbols]
        return used

    # Statements

    def _operation(self, operation: Operation, updates: list) -> None:
        match operation:
            case Let():
                self._bind(operation)
            case Update():
                t = self.state_types[operation.state]
                value = self._in_place(self.algebra.fitted(self.value(operation.value), t), t, operation.value.span)
                named = self.algebra.named(f"{operation.state}'", value)
                self._again(operation.value, named.formula)
                updates.append((operation.state, named))
                self.env["state", operation.state, 0] = named
            case Gemm():
                for name, product in zip(operation.results, operation.products, strict=True):
                    self.env["local", name] = self.value(product)
            case Repeat():
                low = self._bound(operation.low, 1)
                stands = low + shown_rounds(operation) - 1
                high = self._bound(operation.high, stands)
                if self.longest is not None and high - low >= self.longest:
                    high = min(high, stands)
                begins = {p.name: self._ref(p.start) for p in operation.passed}
                for k in range(low, high + 1):
                    self.env["local", operation.counter] = Value(sympy.Integer(k), Type())
                    self.env |= {("local", name): value for name, value in begins.items()}
                    for let in operation.body:
                        self._bind(let)
                    begins = {p.name: self.env["local", p.last] for p in operation.passed}
                self.env |= {("local", p.last): begins[p.name] for p in operation.passed}  # of no rounds too

    def _bound(self, dim: Dim, unknown: int) -> int:
        if dim.names <= self.sizes.keys():
            return int(dim.evaluate(self.sizes))
        return unknown

    def _bind(self, let: Let) -> None:
        self.env["local", let.name] = named = self.algebra.named(own_name(let.name), self.value(let.value))
        self._again(let.value, named.formula)

    def _in_place(self, value: Value, t: Type, span: Span) -> Value:
        """A new state; where its axes are not those of the old one, as in `S[t] = S[t-1].T`, both are mixed."""
        natural = (ROW, COLUMN)[: t.rank]
        if not value.depends or value.axes in ((), natural):
            return value
        crossed = self.algebra.cause(frozenset(value.axes) | frozenset(natural), span)
        return replace(value, mixed=value.mixed | crossed, crossed=value.crossed | crossed)

    # Expressions

    def value(self, expr: Expr) -> Value:
        """The lane form of an expression."""
        match expr:
            case Number():
                return Value(number(expr.value), expr.type)
            case Ref():
                return self._ref(expr)
        value = self._apply(expr)
        self.origins.append((expr, self.times.get(id(expr), 0), value.formula))
        self.times[id(expr)] = self.times.get(id(expr), 0) + 1
        return value

    def _again(self, expr: Expr, symbol: Symbol) -> None:
        """Notes that a symbol stands for an expression that was lowered last."""
        if isinstance(expr, Apply):
            self.origins.append((expr, self.times[id(expr)] - 1, symbol))

    def _apply(self, expr: Apply) -> Value:
        if isinstance(known := computed(expr), float) and not expr.type.axes:
            return Value(number(known), expr.type)
        if expr.op == "slice":
            return self._slice(expr)
        if expr.op == "surrogate":
            return self._surrogate(expr)
        if expr.op == "@":
            return self._product(expr)
        args = [self.value(a) for a in expr.args]
        if expr.op in COMPOUNDS and expr.op not in ELEMENTWISE:
            return self._compound(expr, args)
        rule = RULES.get(expr.op)
        if rule is None and args:
            return self.algebra.elementwise(expr, args)
        if not any(a.depends for a in args) and expr.op not in ("re", "im", "conj"):
            return self.algebra.opaque(expr.op, args, expr.type, expr.static, expr)
        assert rule is not None
        return rule(self.algebra, expr, args)

    def _compound(self, expr: Apply, args: list[Value]) -> Value:
        """A function of the prelude that is not kept as one: what it stands for, of the values of its arguments."""
        around = self.arguments
        self.arguments = {p: self.algebra.named("v", a) for p, a in zip(COMPOUNDS[expr.op].parameters, args, strict=True)}
        value = self.value(body_of(expr))
        self.arguments = around
        return value

    def _ref(self, ref: Ref) -> Value:
        if ref.role == "argument":
            return self.arguments[ref.name]
        if ref.role == "state" and ("state", ref.name, ref.lag) in self.env:
            return self.env["state", ref.name, ref.lag]
        if ("local", ref.name) in self.env:
            return self.env["local", ref.name]
        if ref.role == "size" and ref.name in self.sizes:
            return Value(sympy.Integer(self.sizes[ref.name]), ref.type)
        key = (ref.role, ref.name, ref.lag)
        if key not in self.algebra.leaves:
            name = ref.name if not ref.lag else f"{ref.name}_{ref.lag}"
            self.algebra.leaf(key, Leaf(self.algebra.symbol(name, ref.type), "stream" if ref.moves(self.static) else "param", name, ref.type, ref))
        return Value(self.algebra.leaves[key].symbol, ref.type)

    def _slice(self, expr: Apply) -> Value:
        """`W[k]`: a param of its own for each k."""
        (whole, index) = expr.args
        assert isinstance(whole, Ref)
        k = self.value(index)
        key = ("slice", whole.name, k.formula)
        if key not in self.algebra.leaves:
            name = f"{whole.name}[{k.formula}]"
            self.algebra.leaf(key, Leaf(self.algebra.symbol(name, expr.type), "param", name, expr.type, expr, "slice", (k.formula,), (k.type,)))
        return Value(self.algebra.leaves[key].symbol, expr.type)

    def _product(self, expr: Apply) -> Value:
        """`a @ b`: linear in each of its factors; a diagonal matrix scales, which mixes nothing."""
        a, b = expr.args
        scaled = self._scaled(expr)
        if scaled is not None:
            return scaled
        left, right = self.value(a), self.value(b)
        if not left.depends and not right.depends:
            return self.algebra.opaque("@", [left, right], expr.type, (), expr)
        names = [n.name for n in walk(a if right.depends else b) if isinstance(n, Ref)]
        matrix = names[0] if len(names) == 1 else None
        both = left.depends and right.depends
        if both:  # each stands in the derivative of the other
            left, right = self.algebra.named("l", left), self.algebra.named("r", right)
        parts = []
        for operand, other, argument in ((left, right, 0), (right, left, 1)):
            if operand.depends:
                contracted, kept = self.algebra.contraction(a.type.rank, b.type.rank, argument, operand)
                fitted = self.algebra.fitted_heads(operand, expr.type)
                parts.append(self.algebra.linear(expr, fitted, contracted, kept, argument, (other,), matrix, family.NONLINEAR if both else None))
        if len(parts) == 1:
            return parts[0]
        first, second = parts  # d(ab) = da b + a db: two operations, one value
        crossed = self.algebra.cause(frozenset(first.axes + second.axes), expr.span) if first.axes != second.axes else frozenset()
        return replace(first, formula=Factored(first.formula, second.formula), mixed=first.mixed | second.mixed | crossed, crossed=crossed)

    def _scaled(self, expr: Apply) -> Value | None:
        """diag(a) @ S and S @ diag(a): a scaling."""
        for i, side in enumerate(expr.args):
            while isinstance(side, Ref) and side.name in self.definitions:
                side = self.definitions[side.name]
            if isinstance(side, Apply) and side.op == "diag":
                vector, other = self.value(side.args[0]), self.value(expr.args[1 - i])
                args = [self.algebra.placed(vector, i, expr.type, expr.span), other] if expr.type.rank == 2 else [vector, other]
                return self.algebra.elementwise(Apply("*", expr.args, expr.type, span=expr.span), args)
        return None

    def _surrogate(self, expr: Apply) -> Value:
        args = [self.algebra.fitted(self.value(a), expr.type) for a in expr.args]
        formula = surrogate(*(a.formula for a in args))
        axes, crossed = self.algebra.joined(args, expr.span)
        kind = family.NONLINEAR if any(a.depends for a in args) else family.CONST
        return self.algebra.settled(formula, expr.type, kind, axes, crossed)
