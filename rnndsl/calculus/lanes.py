"""A component's equations in lane form: one scalar symbol a vector, each operation that mixes channels opaque.

The cost does not depend on any width. A value is a SymPy expression in symbols for the old states (slots), the streams, the
params, the locals before it, and the results of mixing operations (`Mix`), which are linear in their operands: a norm or a
softmax is first written with sums. Alongside, each value carries which axes its dependence on the states has mixed, and its
family.
"""

from dataclasses import dataclass, field, replace

import sympy
from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus import family
from rnndsl.calculus.functions import ARITHMETIC, ELEMENTWISE, surrogate
from rnndsl.check.builtins import COMPARISONS
from rnndsl.check.cell import Apply, Expr, Let, Number, Ref, Repeat, Type, Update, walk
from rnndsl.check.dims import Dim
from rnndsl.diagnostics import NOWHERE, Span
from rnndsl.plan.ir import Gemm, Operation, Scan

ROW, COLUMN, HEAD = "row", "column", "head"
UNROLL = 2  # rounds of a repeat whose length is not known


@dataclass(frozen=True)
class Slot:
    """One old value that a component reads: state[t-lag]."""

    state: str
    lag: int
    type: Type
    symbol: Symbol


@dataclass(frozen=True)
class Mix:
    """`symbol` = a linear operation on `operand` that is not lane by lane.

    `operation` is the typed expression whose argument number `argument` is the operand; the others do not change with it.
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


@dataclass(frozen=True)
class Leaf:
    """A value that a component reads and does not change: a stream or a param."""

    symbol: Symbol
    role: str  # stream, param
    name: str
    type: Type


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

    @property
    def definitions(self) -> dict[Symbol, Formula]:
        return dict(self.locals)


@dataclass
class _Value:
    """A lowered expression and what is known of its dependence on the component's states."""

    formula: Formula
    type: Type
    family: str = family.CONST
    axes: tuple[str, ...] = ()  # which state axis each of its axes runs along
    mixed: frozenset[str] = frozenset()

    @property
    def depends(self) -> bool:
        return self.family != family.CONST


def lower(scan: Scan, static: frozenset[str], state_types: dict[str, Type], lags: dict[str, int], sizes: dict[str, int]) -> Lanes:
    """The lane form of a component.

    static: locals that depend on params alone. sizes: the dimensions that are known; a repeat over an unknown one stands for
    itself with two rounds.
    """
    return _Lowering(scan, static, state_types, lags, sizes).run()


@dataclass
class _Lowering:
    scan: Scan
    static: frozenset[str]
    state_types: dict[str, Type]
    lags: dict[str, int]
    sizes: dict[str, int]
    env: dict[tuple, _Value] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    leaves: dict[tuple, Leaf] = field(default_factory=dict)
    locals: list[tuple[Symbol, Formula]] = field(default_factory=list)
    mixes: list[Mix] = field(default_factory=list)
    order: list[Symbol] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    conjugates: dict[Symbol, Symbol] = field(default_factory=dict)
    complex_pairs: bool = False
    types: dict[Symbol, Type] = field(default_factory=dict)

    def run(self) -> Lanes:
        slots = []
        for lag in range(1, max([1, *(self.lags.get(s, 0) for s in self.scan.states)]) + 1):
            for s in self.scan.states:
                if lag == 1 or lag <= self.lags.get(s, 0):
                    t = self.state_types[s]
                    symbol = self._symbol(s if lag == 1 else f"{s}_{lag}", t)
                    slots.append(Slot(s, lag, t, symbol))
                    self.env["state", s, lag] = _Value(symbol, t, family.SHIFT, (ROW, COLUMN)[: t.rank])
        updates: list[tuple[str, _Value]] = []
        for operation in self.scan.body:
            self._operation(operation, updates)
        mixed: frozenset[str] = frozenset()
        for state, value in updates:
            mixed |= self._fitted(value, self.state_types[state]).mixed
        return Lanes(
            tuple(slots),
            tuple(self.leaves.values()),
            tuple(self.locals),
            tuple(self.mixes),
            tuple(self.order),
            tuple((s, v.formula) for s, v in updates),
            tuple(v.family for _, v in updates),
            mixed,
            tuple(self.causes),
            self.complex_pairs,
            self.types,
        )

    def _symbol(self, name: str, t: Type) -> Symbol:
        n = self.taken.get(name, 0)
        self.taken[name] = n + 1
        symbol = Symbol(name if n == 0 else f"{name}.{n}", real=None if t.is_complex else True)
        self.types[symbol] = t
        return symbol

    # Statements

    def _operation(self, operation: Operation, updates: list) -> None:
        match operation:
            case Let():
                self._bind(operation.name, self.value(operation.value))
            case Update():
                t = self.state_types[operation.state]
                value = self._fitted(self.value(operation.value), t)
                named = self._named(f"{operation.state}'", value)
                updates.append((operation.state, named))
                self.env["state", operation.state, 0] = named
            case Gemm():
                for name, product in zip(operation.results, operation.products, strict=True):
                    self.env["local", name] = self.value(product)
            case Repeat():
                low, high = self._bound(operation.low, 1), self._bound(operation.high, UNROLL)
                for k in range(low, high + 1):
                    self.env["local", operation.counter] = _Value(sympy.Integer(k), Type())
                    for let in operation.body:
                        self._bind(let.name, self.value(let.value))

    def _bound(self, dim: Dim, unknown: int) -> int:
        if dim.names <= self.sizes.keys():
            return int(dim.evaluate(self.sizes))
        return unknown

    def _bind(self, name: str, value: _Value) -> None:
        self.env["local", name] = self._named(name, value)

    def _named(self, name: str, value: _Value) -> _Value:
        """A value under a symbol of its own, unless it is a symbol or number already."""
        if value.formula.is_Atom:
            return value
        symbol = self._symbol(name, value.type)
        self.locals.append((symbol, value.formula))
        self.order.append(symbol)
        return replace(value, formula=symbol)

    # Expressions

    def value(self, expr: Expr) -> _Value:
        """The lane form of an expression."""
        match expr:
            case Number():
                return _Value(_number(expr.value), expr.type)
            case Ref():
                return self._ref(expr)
        if expr.op == "slice" or not expr.args:
            return self._leaf(expr, self._text(expr), expr.type)
        if expr.op == "surrogate":
            return self._surrogate(expr)
        if expr.op == "@":
            return self._product(expr)
        handler = getattr(self, f"_{expr.op}", None) if expr.op.isidentifier() else None
        args = [self.value(a) for a in expr.args]
        if handler is None:
            return self._elementwise(expr, args)
        if not any(a.depends for a in args):
            return self._leaf(expr, self._text(expr), expr.type)
        return handler(expr, args)

    def _ref(self, ref: Ref) -> _Value:
        if ref.role == "state" and ("state", ref.name, ref.lag) in self.env:
            return self.env["state", ref.name, ref.lag]
        if ("local", ref.name) in self.env:
            return self.env["local", ref.name]
        if ref.role == "size" and ref.name in self.sizes:
            return _Value(sympy.Integer(self.sizes[ref.name]), ref.type)
        name = ref.name if not ref.lag else f"{ref.name}_{ref.lag}"
        return self._leaf(ref, name, ref.type)

    def _text(self, expr: Apply) -> str:
        """A name for a value that is opaque here."""
        refs = [n for n in walk(expr) if isinstance(n, Ref)]
        if expr.op == "slice":
            k = self.value(expr.args[1]).formula
            return f"{refs[0].name}[{k}]"
        return f"{expr.op}({', '.join(r.name for r in refs)})"

    def _leaf(self, expr: Expr, name: str, t: Type) -> _Value:
        key = (name, t)
        if key not in self.leaves:
            refs = [n for n in walk(expr) if isinstance(n, Ref)]
            stream = any(n.role in ("input", "noise", "state", "clock") or (n.role == "local" and n.name not in self.static and ("local", n.name) not in self.env) for n in refs)
            self.leaves[key] = Leaf(self._symbol(name, t), "stream" if stream else "param", name, t)
        return _Value(self.leaves[key].symbol, t)

    def _elementwise(self, expr: Apply, args: list[_Value]) -> _Value:
        args = [self._fitted(a, replace(expr.type, is_complex=a.type.is_complex)) for a in args]
        kind = family.combine(expr.op, [a.family for a in args])
        axes, mixed = self._joined(args, expr.span)
        formulas = [a.formula for a in args]
        if expr.op == "broadcast":
            formula = formulas[0]
        elif expr.op in ARITHMETIC:
            formula = ARITHMETIC[expr.op](*formulas)
        elif expr.op == "abs" and expr.args[0].type.is_complex:
            formula = sympy.sqrt(formulas[0] * self._conjugate(formulas[0]))
        else:
            formula = ELEMENTWISE[expr.op](*formulas)
        if expr.op in COMPARISONS and kind != family.CONST:
            kind = family.NONLINEAR
        return _Value(formula, expr.type, kind, axes, mixed)

    def _joined(self, args: list[_Value], span: Span) -> tuple[tuple[str, ...], frozenset[str]]:
        """The axes of an elementwise result; where two arguments run along different axes, both are mixed."""
        mixed = frozenset().union(*(a.mixed for a in args if a.depends)) if args else frozenset()
        axes: tuple[str, ...] = ()
        for a in args:
            if a.depends:
                if axes and a.axes and a.axes != axes:
                    mixed |= self._cause(frozenset(axes) | frozenset(a.axes), span)
                axes = axes or a.axes
        return axes, mixed

    def _cause(self, axes: frozenset[str], span: Span) -> frozenset[str]:
        self.causes.append(Cause(axes, span))
        return axes

    def _fitted(self, value: _Value, t: Type) -> _Value:
        """A value broadcast to a type: what depends on the states then spreads over the new axes."""
        if not value.depends:
            return value
        spread: frozenset[str] = frozenset()
        if t.rank > value.type.rank:
            spread |= frozenset((ROW, COLUMN)[: t.rank]) if value.type.rank == 0 else frozenset()
        if t.heads and not value.type.heads:
            spread |= {HEAD}
        if not spread:
            return value
        self._cause(spread, NOWHERE)
        symbol = self._mix(value, "broadcast", 0, (), t, NOWHERE, None)
        return _Value(symbol, t, value.family, (ROW, COLUMN)[: t.rank], value.mixed | spread)

    def _mix(self, operand: _Value, operation: str, argument: int, others: tuple[Formula, ...], t: Type, span: Span, matrix: str | None, static: tuple = ()) -> Symbol:
        symbol = self._symbol(f"m{len(self.mixes) + 1}", t)
        self.mixes.append(Mix(symbol, operand.formula, operation, argument, others, t, operand.type, static, span, matrix))
        self.order.append(symbol)
        return symbol

    def _linear(self, expr: Apply, operand: _Value, mixes: frozenset[str], axes: tuple[str, ...], argument: int = 0, others: tuple[Formula, ...] = (), matrix: str | None = None) -> _Value:
        """One opaque linear operation on a dependent value."""
        if mixes:
            self._cause(mixes, expr.span)
        symbol = self._mix(operand, expr.op, argument, others, expr.type, expr.span, matrix, expr.static)
        kind = family.combine("sum", [operand.family])
        return _Value(symbol, expr.type, kind, axes, operand.mixed | mixes)

    def _product(self, expr: Apply) -> _Value:
        """`a @ b`: linear in each of its factors; a diagonal matrix scales, which mixes nothing."""
        a, b = expr.args
        scaled = self._scaled(expr)
        if scaled is not None:
            return scaled
        left, right = self.value(a), self.value(b)
        if not left.depends and not right.depends:
            return self._leaf(expr, self._text(expr), expr.type)
        total: _Value | None = None
        names = [n.name for n in walk(a if right.depends else b) if isinstance(n, Ref)]
        matrix = names[0] if len(names) == 1 else None
        both = left.depends and right.depends
        for operand, other, argument in ((left, right, 0), (right, left, 1)):
            if not operand.depends:
                continue
            contracted, kept = self._contraction(a.type.rank, b.type.rank, argument, operand)
            fitted = self._fitted_heads(operand, expr.type)
            part = self._linear(expr, fitted, contracted, kept, argument, (other.formula,), matrix)
            if both:
                part = replace(part, family=family.NONLINEAR)
                if total is not None:  # d(ab) = da b + a db: two operations, one value
                    part = replace(part, formula=_Product(total.formula, part.formula), mixed=part.mixed | total.mixed)
            total = part
        assert total is not None
        return total

    def _fitted_heads(self, value: _Value, t: Type) -> _Value:
        if t.heads and not value.type.heads and value.depends:
            return self._fitted(value, replace(t, axes=value.type.axes))
        return value

    def _contraction(self, left_rank: int, right_rank: int, argument: int, operand: _Value) -> tuple[frozenset[str], tuple[str, ...]]:
        """Which state axes a product mixes in one factor, and along which axes its result runs."""
        axes = operand.axes or (ROW, COLUMN)
        if argument == 0:  # the operand's last axis is summed over
            contracted = axes[left_rank - 1]
            kept = axes[: left_rank - 1] + ((contracted,) if right_rank == 2 else ())
        else:
            contracted = axes[0]
            kept = ((contracted,) if left_rank == 2 else ()) + axes[1:right_rank]
        return frozenset((contracted,)), kept

    def _scaled(self, expr: Apply) -> _Value | None:
        """diag(a) @ S and S @ diag(a): a scaling."""
        for i, side in enumerate(expr.args):
            if isinstance(side, Apply) and side.op == "diag":
                vector, other = self.value(side.args[0]), self.value(expr.args[1 - i])
                if vector.depends or not other.depends:
                    return None
                return replace(other, formula=vector.formula * other.formula, family=family.combine("*", [family.CONST, other.family]), type=expr.type)
        return None

    def _dot(self, expr: Apply, args: list[_Value]) -> _Value:
        t = replace(expr.type, axes=expr.args[0].type.axes)
        product = self._elementwise(Apply("*", expr.args, t, span=expr.span), args)
        return self._sum(Apply("sum", expr.args[:1], expr.type, span=expr.span), [product])

    def _sum(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset(v.axes[:1] or (ROW,)), ())

    _mean = _sum

    def _cumsum(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset(v.axes[:1] or (ROW,)), v.axes)

    def _spread(self, value: _Value, like: _Value, t: Type, span: Span) -> _Value:
        """A scalar put back along the axis that it was summed over."""
        symbol = self._mix(value, "broadcast", 0, (), t, span, None)
        return _Value(symbol, t, value.family, like.axes, value.mixed)

    def _total(self, value: _Value, how: str, expr: Apply) -> _Value:
        scalar = replace(expr.type, axes=(), is_complex=value.type.is_complex)
        return self._sum(Apply(how, expr.args[:1], scalar, span=expr.span), [value])

    def _along(self, expr: Apply, v: _Value, formula: Formula, *summed: _Value) -> _Value:
        mixed = v.mixed.union(*(s.mixed for s in summed))
        return _Value(formula, expr.type, family.NONLINEAR, v.axes, mixed)

    def _softmax(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        e = self._named("e", replace(v, formula=sympy.exp(v.formula), family=family.NONLINEAR))
        total = self._spread(self._total(e, "sum", expr), v, expr.type, expr.span)
        return self._along(expr, v, e.formula / total.formula, total)

    def _normalize(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        v = self._named("v", v)
        square = self._total(replace(v, formula=v.formula**2, family=family.NONLINEAR), "sum", expr)
        size = self._spread(replace(square, formula=sympy.sqrt(square.formula + sympy.Float("1e-12"))), v, expr.type, expr.span)
        return self._along(expr, v, v.formula / size.formula, size)

    def _rmsnorm(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        v = self._named("v", v)
        square = self._total(replace(v, formula=v.formula**2, family=family.NONLINEAR), "mean", expr)
        size = self._spread(replace(square, formula=sympy.sqrt(square.formula + sympy.Float("1e-5"))), v, expr.type, expr.span)
        return self._along(expr, v, v.formula / size.formula, size)

    def _layernorm(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        v = self._named("v", v)
        mean = self._spread(self._total(v, "mean", expr), v, expr.type, expr.span)
        centred = self._named("d", self._along(expr, v, v.formula - mean.formula, mean))
        return self._rmsnorm(expr, [centred])

    def _norm(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        v = self._named("v", v)
        other = self._conjugate(v.formula) if v.type.is_complex else v.formula
        square = self._total(replace(v, formula=v.formula * other, family=family.NONLINEAR), "sum", expr)
        return replace(square, formula=sympy.sqrt(square.formula), type=expr.type, family=family.NONLINEAR)

    def _outer(self, expr: Apply, args: list[_Value]) -> _Value:
        placed = []
        for i, (v, own) in enumerate(zip(args, (ROW, COLUMN), strict=True)):
            if not v.depends:
                placed.append(v)
                continue
            v = self._fitted_heads(v, expr.type)
            symbol = self._mix(v, "rows" if i == 0 else "columns", 0, (), expr.type, expr.span, None)
            swapped = v.axes and v.axes[0] != own
            mixed = v.mixed | (self._cause(frozenset((ROW, COLUMN)), expr.span) if swapped else frozenset())
            placed.append(_Value(symbol, expr.type, v.family, (ROW, COLUMN), mixed))
        return self._elementwise(Apply("*", expr.args, expr.type, span=expr.span), placed)

    def _transpose(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset(), v.axes[::-1])

    def _split(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset(v.axes[:1] or (ROW,)), v.axes)

    def _concat(self, expr: Apply, args: list[_Value]) -> _Value:
        total: _Value | None = None
        for i, v in enumerate(args):
            if v.depends:
                part = self._linear(expr, v, frozenset(v.axes[:1] or (ROW,)), v.axes, i)
                total = part if total is None else replace(part, formula=total.formula + part.formula, mixed=total.mixed | part.mixed)
        assert total is not None
        if any(not v.depends for v in args):
            rest = self._leaf(expr, f"concat.{expr.span.start}", expr.type)
            total = replace(total, formula=total.formula + rest.formula)
        if family.NONLINEAR in [v.family for v in args]:
            total = replace(total, family=family.NONLINEAR)
        return total

    def _merge(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset((HEAD, ROW)), (ROW,))

    def _heads(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset((HEAD, ROW)), (ROW,) * expr.type.rank)

    def _reshape(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset((ROW, COLUMN)), (ROW, COLUMN)[: expr.type.rank])

    def _diag(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset((ROW, COLUMN)), (ROW, COLUMN))

    def _conj(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return replace(v, formula=self._conjugate(v.formula), family=family.combine("conj", [v.family]))

    def _re(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        formula = (v.formula + self._conjugate(v.formula)) / 2 if v.type.is_complex else v.formula
        return replace(v, formula=formula, type=expr.type, family=family.combine("re", [v.family]))

    def _im(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        formula = (v.formula - self._conjugate(v.formula)) / (2 * sympy.I) if v.type.is_complex else sympy.Integer(0)
        return replace(v, formula=formula, type=expr.type, family=family.combine("im", [v.family]))

    def _conjugate(self, formula: Formula) -> Formula:
        """The conjugate: a value and its conjugate are two symbols, as in Wirtinger's calculus."""
        self.complex_pairs = True
        return sympy.conjugate(formula)

    def _surrogate(self, expr: Apply) -> _Value:
        argument, value, slope = (self._fitted(self.value(a), expr.type) for a in expr.args)
        if not argument.depends:
            return self._leaf(expr, self._text(expr), expr.type)
        formula = surrogate(argument.formula, value.formula, slope.formula)
        axes, mixed = self._joined([argument, value, slope], expr.span)
        return _Value(formula, expr.type, family.NONLINEAR, axes, mixed)


class _Product(sympy.Function):
    """The value of a product of two dependent factors, by its two linear operations: d = d(first) + d(second)."""

    def fdiff(self, argindex=1):
        return sympy.Integer(1)


def _number(value: float | complex) -> Formula:
    if isinstance(value, complex):
        return sympy.Float(repr(value.imag)) * sympy.I
    if value != value:
        return sympy.nan
    if value in (float("inf"), float("-inf")):
        return sympy.oo if value > 0 else -sympy.oo
    if value == 3.141592653589793:
        return sympy.pi
    return sympy.Integer(int(value)) if value == int(value) and abs(value) < 2**53 else sympy.Float(repr(value))


