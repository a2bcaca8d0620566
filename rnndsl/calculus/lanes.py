"""A component's equations in lane form: one scalar symbol a vector, each operation that mixes channels opaque.

The cost does not depend on any width. A value is a SymPy expression in symbols for the old states (slots), the streams, the
params, the locals before it, and the results of mixing operations (`Mix`), which are linear in their operands: a norm or a
softmax is first written with sums. Alongside, each value carries which axes its dependence on the states has mixed, and its
family.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import sympy
from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus import family
from rnndsl.calculus.budget import NAMED, Budget
from rnndsl.calculus.functions import (
    ARITHMETIC,
    ELEMENTWISE,
    absolute,
    imag_part,
    modulus,
    number,
    real_part,
    root,
    surrogate,
)
from rnndsl.checks.cell import Apply, Expr, Let, Number, Ref, Repeat, Type, Update, walk
from rnndsl.checks.dims import Dim
from rnndsl.checks.folding import fold
from rnndsl.checks.prelude import body_of
from rnndsl.diagnostics import NOWHERE, Span
from rnndsl.functions import COMPOUNDS
from rnndsl.plan.ir import Gemm, Operation, Scan
from rnndsl.plan.single import own_name

ROW, COLUMN, HEAD = "row", "column", "head"
SHIFT_MAX = "max"
UNROLL = 2  # rounds, at least, of a repeat whose length is not known


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
    crossed: frozenset[str] = frozenset()  # what the formula itself mixes, apart from its symbols

    @property
    def depends(self) -> bool:
        return self.family != family.CONST


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
    return _Lowering(scan, static, state_types, sizes, definitions or {}, longest).run()


def shown_rounds(repeat: Repeat) -> int:
    """How many rounds stand for a repeat that is not written out: a value reaches every local in them."""
    return max(UNROLL, len(repeat.body) + 1)


@dataclass
class _Lowering:
    scan: Scan
    static: frozenset[str]
    state_types: dict[str, Type]
    sizes: dict[str, int]
    definitions: dict[str, Expr] = field(default_factory=dict)
    longest: int | None = None
    budget: Budget = field(default_factory=Budget)
    env: dict[tuple, _Value] = field(default_factory=dict)
    arguments: dict[str, _Value] = field(default_factory=dict)  # of the function of the prelude that is being read
    taken: set[str] = field(default_factory=set)
    leaves: dict[tuple, Leaf] = field(default_factory=dict)
    locals: list[tuple[Symbol, Formula]] = field(default_factory=list)
    mixes: list[Mix] = field(default_factory=list)
    order: list[Symbol] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    known: dict[Symbol, _Value] = field(default_factory=dict)  # what depends on the states: slots, locals, mixes
    moving: set[Symbol] = field(default_factory=set)  # what changes with time and does not depend on the states
    done: dict[tuple, Symbol] = field(default_factory=dict)  # mixes that have a symbol
    transposed: dict[Symbol, _Value] = field(default_factory=dict)
    complex_pairs: bool = False
    types: dict[Symbol, Type] = field(default_factory=dict)
    origins: list[tuple[Expr, int, Formula]] = field(default_factory=list)
    times: dict[int, int] = field(default_factory=dict)  # that an expression, by identity, was lowered

    def run(self) -> Lanes:
        slots = []
        for s, lag in self.scan.carried:
            self.budget.spend(10)
            t = self.state_types[s]
            symbol = self._symbol(s if lag == 1 else f"{s}_{lag}", t)
            slots.append(Slot(s, lag, t, symbol))
            self.env["state", s, lag] = self.known[symbol] = _Value(symbol, t, family.SHIFT, (ROW, COLUMN)[: t.rank])
        updates: list[tuple[str, _Value]] = []
        for operation in self.scan.body:
            self._operation(operation, updates)
        mixed: frozenset[str] = frozenset()
        for _, value in updates:
            mixed |= value.mixed
        used = self._used(v.formula for _, v in updates)
        return Lanes(
            tuple(slots),
            tuple(leaf for leaf in self.leaves.values() if leaf.symbol in used),
            tuple((s, f) for s, f in self.locals if s in used),
            tuple(m for m in self.mixes if m.symbol in used),
            tuple(s for s in self.order if s in used),
            tuple((s, v.formula) for s, v in updates),
            tuple(v.family for _, v in updates),
            mixed,
            tuple(self.causes),
            self.complex_pairs,
            self.types,
            tuple(self.origins),
        )

    def _used(self, formulas: Iterable[Formula]) -> set[Symbol]:
        """Every symbol that some formulas need: what SymPy has cancelled needs none."""
        needs: dict[Symbol, tuple[Formula, ...]] = {s: (f,) for s, f in self.locals}
        needs |= {m.symbol: (m.operand, *m.others) for m in self.mixes}
        needs |= {leaf.symbol: leaf.operands for leaf in self.leaves.values()}
        used: set[Symbol] = set()
        waiting = [s for f in formulas for s in f.free_symbols]
        while waiting:
            symbol = waiting.pop()
            if symbol not in used:
                used.add(symbol)
                waiting += [s for f in needs.get(symbol, ()) for s in f.free_symbols]
        return used

    def _symbol(self, name: str, t: Type) -> Symbol:
        unique, n = name, 1
        while unique in self.taken:
            unique, n = f"{name}.{n}", n + 1
        self.taken.add(unique)
        symbol = Symbol(unique, real=None if t.is_complex else True)
        self.types[symbol] = t
        return symbol

    # Statements

    def _operation(self, operation: Operation, updates: list) -> None:
        match operation:
            case Let():
                self._bind(operation)
            case Update():
                t = self.state_types[operation.state]
                value = self._in_place(self._fitted(self.value(operation.value), t), t, operation.value.span)
                named = self._named(f"{operation.state}'", value)
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
                    self.env["local", operation.counter] = _Value(sympy.Integer(k), Type())
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
        self.env["local", let.name] = named = self._named(own_name(let.name), self.value(let.value))
        self._again(let.value, named.formula)

    def _named(self, name: str, value: _Value) -> _Value:
        """A value under a symbol of its own, unless it is a symbol or number already."""
        if value.formula.is_Atom or (-value.formula).is_Symbol:
            return value
        symbol = self._symbol(name, value.type)
        self.locals.append((symbol, value.formula))
        self.order.append(symbol)
        if not value.depends:
            if value.formula.free_symbols & self.moving:
                self.moving.add(symbol)
            return replace(value, formula=symbol)
        self.known[symbol] = replace(value, formula=symbol, crossed=frozenset())
        return self.known[symbol]

    def _in_place(self, value: _Value, t: Type, span: Span) -> _Value:
        """A new state; where its axes are not those of the old one, as in `S[t] = S[t-1].T`, both are mixed."""
        natural = (ROW, COLUMN)[: t.rank]
        if not value.depends or value.axes in ((), natural):
            return value
        crossed = self._cause(frozenset(value.axes) | frozenset(natural), span)
        return replace(value, mixed=value.mixed | crossed, crossed=value.crossed | crossed)

    # Expressions

    def value(self, expr: Expr) -> _Value:
        """The lane form of an expression."""
        match expr:
            case Number():
                return _Value(number(expr.value), expr.type)
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

    def _apply(self, expr: Apply) -> _Value:
        if isinstance(known := fold(expr), float) and not expr.type.axes:
            return _Value(number(known), expr.type)
        if expr.op == "slice":
            return self._slice(expr)
        if expr.op == "surrogate":
            return self._surrogate(expr)
        if expr.op == "@":
            return self._product(expr)
        args = [self.value(a) for a in expr.args]
        if expr.op in COMPOUNDS and expr.op not in ELEMENTWISE:
            return self._compound(expr, args)
        handler = getattr(self, f"_{expr.op}", None) if expr.op.isidentifier() else None
        if handler is None and args:
            return self._elementwise(expr, args)
        if not any(a.depends for a in args) and expr.op not in ("re", "im", "conj"):
            return self._opaque(expr.op, args, expr.type, expr.static, expr)
        assert handler is not None
        return handler(expr, args)

    def _compound(self, expr: Apply, args: list[_Value]) -> _Value:
        """A function of the prelude that is not kept as one: what it stands for, of the values of its arguments."""
        around = self.arguments
        self.arguments = {p: self._named("v", a) for p, a in zip(COMPOUNDS[expr.op].parameters, args, strict=True)}
        value = self.value(body_of(expr))
        self.arguments = around
        return value

    def _ref(self, ref: Ref) -> _Value:
        if ref.role == "argument":
            return self.arguments[ref.name]
        if ref.role == "state" and ("state", ref.name, ref.lag) in self.env:
            return self.env["state", ref.name, ref.lag]
        if ("local", ref.name) in self.env:
            return self.env["local", ref.name]
        if ref.role == "size" and ref.name in self.sizes:
            return _Value(sympy.Integer(self.sizes[ref.name]), ref.type)
        key = (ref.role, ref.name, ref.lag)
        if key not in self.leaves:
            moves = ref.role in ("input", "noise", "state", "clock") or (ref.role == "local" and ref.name not in self.static)
            name = ref.name if not ref.lag else f"{ref.name}_{ref.lag}"
            self._leaf(key, Leaf(self._symbol(name, ref.type), "stream" if moves else "param", name, ref.type, ref))
        return _Value(self.leaves[key].symbol, ref.type)

    def _leaf(self, key: tuple, leaf: Leaf) -> Symbol:
        self.leaves[key] = leaf
        if leaf.role == "stream":
            self.moving.add(leaf.symbol)
        return leaf.symbol

    def _slice(self, expr: Apply) -> _Value:
        """`W[k]`: a param of its own for each k."""
        (whole, index) = expr.args
        assert isinstance(whole, Ref)
        k = self.value(index)
        key = ("slice", whole.name, k.formula)
        if key not in self.leaves:
            name = f"{whole.name}[{k.formula}]"
            self._leaf(key, Leaf(self._symbol(name, expr.type), "param", name, expr.type, expr, "slice", (k.formula,), (k.type,)))
        return _Value(self.leaves[key].symbol, expr.type)

    def _opaque(self, operation: str, args: list[_Value], t: Type, static: tuple, expr: Expr | None = None) -> _Value:
        """What an operation that is not lane by lane gives of values that do not depend on the states."""
        operands = tuple(a.formula for a in args)
        key = (operation, operands, tuple(a.type for a in args), t, static)
        if key not in self.leaves:
            names = [n.name for n in walk(expr) if isinstance(n, Ref)] if expr is not None else [str(o) for o in operands]
            name = f"{operation}({', '.join(names)})"
            moves = any(o.free_symbols & self.moving for o in operands)
            role = "stream" if moves else "param"
            leaf = Leaf(self._symbol(name, t), role, name, t, None, operation, operands, tuple(a.type for a in args), static)
            self._leaf(key, leaf)
        return _Value(self.leaves[key].symbol, t)

    def _elementwise(self, expr: Apply, args: list[_Value]) -> _Value:
        args = [self._fitted(a, replace(expr.type, is_complex=a.type.is_complex)) for a in args]
        kind = family.combine(expr.op, [a.family for a in args])
        axes, crossed = self._joined(args, expr.span)
        formulas = [a.formula for a in args]
        if expr.op == "broadcast":
            formula = formulas[0]
        elif expr.op in ARITHMETIC:
            formula = ARITHMETIC[expr.op](*formulas)
        elif expr.op == "abs" and expr.args[0].type.is_complex:
            self._read_apart(args[0])
            formula = modulus(formulas[0])
        elif expr.op == "angle" and expr.args[0].type.is_complex:
            self._read_apart(args[0])
            formula = imag_part(sympy.log(formulas[0]))
        else:
            formula = ELEMENTWISE[expr.op](*formulas)
        if formula.has(sympy.Abs):  # sqrt(x^2)
            formula = formula.replace(sympy.Abs, absolute)
        value = self._settled(self.budget.made(formula), expr.type, kind, axes, crossed)
        return self._named("v", value) if self.budget.size(formula) > NAMED else value

    def _settled(self, formula: Formula, t: Type, kind: str, axes: tuple[str, ...], crossed: frozenset[str]) -> _Value:
        """A value as its formula shows it to be, once SymPy has cancelled what cancels: `h - h`, `-(-h)`, `h^1`."""
        if kind == family.CONST:
            return _Value(formula, t)
        own = [s for s in formula.free_symbols if s in self.known]
        if not own:
            return _Value(formula, t)
        terms = [a for a in formula.args if a.free_symbols & self.known.keys()] if formula.is_Add else [formula]
        if len(terms) == 1 and terms[0] in self.known:
            kind = self.known[terms[0]].family
        mixed = crossed.union(*(self.known[s].mixed for s in own))
        return _Value(formula, t, kind, axes, mixed, crossed)

    def _joined(self, args: list[_Value], span: Span) -> tuple[tuple[str, ...], frozenset[str]]:
        """The axes of an elementwise result, and those that are mixed where two arguments run along different ones."""
        crossed: frozenset[str] = frozenset().union(*(a.crossed for a in args))
        axes: tuple[str, ...] = ()
        for a in args:
            if a.depends:
                if axes and a.axes and a.axes != axes:
                    crossed |= self._cause(frozenset(axes) | frozenset(a.axes), span)
                axes = axes or a.axes
        return axes, crossed

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
        axes = value.axes if value.type.rank == t.rank else (ROW, COLUMN)[: t.rank]
        t = replace(t, is_complex=value.type.is_complex)
        return self._mix(_Value(value.formula, value.type, value.family, axes, value.mixed | spread), "broadcast", 0, (), t, NOWHERE, None)

    def _mix(
        self,
        operand: _Value,
        operation: str,
        argument: int,
        others: tuple[_Value, ...],
        t: Type,
        span: Span,
        matrix: str | None,
        static: tuple = (),
    ) -> _Value:
        """The result of a linear operation. `operand` has the family, axes and mixed axes of the result."""
        given = tuple(o.formula for o in others)
        types = tuple(o.type for o in others)
        key = (operand.formula, operand.type, operation, argument, given, t, static)
        if key not in self.done:
            symbol = self._symbol(f"m{len(self.mixes) + 1}", t)
            mix = Mix(symbol, operand.formula, operation, argument, given, t, operand.type, static, span, matrix, types)
            self.mixes.append(mix)
            self.order.append(symbol)
            self.done[key] = symbol
            self.known[symbol] = replace(operand, formula=symbol, type=t)
        return self.known[self.done[key]]

    def _linear(
        self,
        expr: Apply,
        operand: _Value,
        mixes: frozenset[str],
        axes: tuple[str, ...],
        argument: int = 0,
        others: tuple[_Value, ...] = (),
        matrix: str | None = None,
        kind: str | None = None,
    ) -> _Value:
        """One opaque linear operation on a dependent value."""
        if mixes:
            self._cause(mixes, expr.span)
        kind = kind or family.combine("sum", [operand.family])
        result = replace(operand, family=kind, axes=axes, mixed=operand.mixed | mixes)
        return self._mix(result, expr.op, argument, others, expr.type, expr.span, matrix, expr.static)

    def _product(self, expr: Apply) -> _Value:
        """`a @ b`: linear in each of its factors; a diagonal matrix scales, which mixes nothing."""
        a, b = expr.args
        scaled = self._scaled(expr)
        if scaled is not None:
            return scaled
        left, right = self.value(a), self.value(b)
        if not left.depends and not right.depends:
            return self._opaque("@", [left, right], expr.type, (), expr)
        names = [n.name for n in walk(a if right.depends else b) if isinstance(n, Ref)]
        matrix = names[0] if len(names) == 1 else None
        both = left.depends and right.depends
        if both:  # each stands in the derivative of the other
            left, right = self._named("l", left), self._named("r", right)
        parts = []
        for operand, other, argument in ((left, right, 0), (right, left, 1)):
            if operand.depends:
                contracted, kept = self._contraction(a.type.rank, b.type.rank, argument, operand)
                fitted = self._fitted_heads(operand, expr.type)
                parts.append(self._linear(expr, fitted, contracted, kept, argument, (other,), matrix, family.NONLINEAR if both else None))
        if len(parts) == 1:
            return parts[0]
        first, second = parts  # d(ab) = da b + a db: two operations, one value
        crossed = self._cause(frozenset(first.axes + second.axes), expr.span) if first.axes != second.axes else frozenset()
        return replace(first, formula=Factored(first.formula, second.formula), mixed=first.mixed | second.mixed | crossed, crossed=crossed)

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
            while isinstance(side, Ref) and side.name in self.definitions:
                side = self.definitions[side.name]
            if isinstance(side, Apply) and side.op == "diag":
                vector, other = self.value(side.args[0]), self.value(expr.args[1 - i])
                args = [self._placed(vector, i, expr.type, expr.span), other] if expr.type.rank == 2 else [vector, other]
                return self._elementwise(Apply("*", expr.args, expr.type, span=expr.span), args)
        return None

    def _placed(self, v: _Value, i: int, t: Type, span: Span) -> _Value:
        """A vector as every column (i = 0) or every row (i = 1) of a matrix."""
        operation = ("rows", "columns")[i]
        if not v.depends:
            t = Type(v.type.heads, t.axes, v.type.is_complex)
            return self._opaque(operation, [v], t, ())
        v = self._fitted_heads(v, t)
        own = (ROW, COLUMN)[i]
        crossed = self._cause(frozenset((ROW, COLUMN)), span) if v.axes and v.axes[0] != own else frozenset()
        result = replace(v, axes=(ROW, COLUMN), mixed=v.mixed | crossed)
        return self._mix(result, operation, 0, (), replace(t, is_complex=v.type.is_complex), span, None)

    def _dot(self, expr: Apply, args: list[_Value]) -> _Value:
        t = replace(expr.type, axes=expr.args[0].type.axes)
        product = self._elementwise(Apply("*", expr.args, t, span=expr.span), args)
        if not product.depends:
            return self._opaque("sum", [product], expr.type, (), expr)
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
        return self._mix(replace(value, axes=like.axes), "broadcast", 0, (), t, span, None)

    def _total(self, value: _Value, how: str, expr: Apply) -> _Value:
        scalar = replace(expr.type, axes=(), is_complex=value.type.is_complex)
        return self._sum(Apply(how, expr.args[:1], scalar, span=expr.span), [value])

    def _along(self, expr: Apply, v: _Value, formula: Formula, *summed: _Value) -> _Value:
        crossed = v.crossed.union(*(s.crossed for s in summed))
        return self._settled(formula, expr.type, family.NONLINEAR, v.axes, crossed)

    def _softmax(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        v = self._named("v", v)
        top = self._spread(self._total(v, SHIFT_MAX, expr), v, expr.type, expr.span)
        e = self._named("e", self._along(expr, v, sympy.exp(v.formula - top.formula), top))
        total = self._spread(self._total(e, "sum", expr), v, expr.type, expr.span)
        return self._along(expr, v, e.formula / total.formula, total)

    def _norm(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        v = self._named("v", v)
        square = v.formula**2
        if v.type.is_complex:
            self._read_apart(v)
            square = real_part(v.formula) ** 2 + imag_part(v.formula) ** 2
        squares = replace(v, formula=square, family=family.NONLINEAR, type=replace(v.type, is_complex=False))
        square = self._total(squares, "sum", expr)
        return replace(square, formula=root(square.formula), type=expr.type, family=family.NONLINEAR)

    def _outer(self, expr: Apply, args: list[_Value]) -> _Value:
        placed = [self._placed(v, i, expr.type, expr.span) for i, v in enumerate(args)]
        return self._elementwise(Apply("*", expr.args, expr.type, span=expr.span), placed)

    def _transpose(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        if v.formula in self.transposed:
            return self.transposed[v.formula]
        v = self._named("v", v)
        result = self._linear(expr, v, frozenset(), v.axes[::-1])
        self.transposed[result.formula] = v
        return result

    def _split(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        return self._linear(expr, v, frozenset(v.axes[:1] or (ROW,)), v.axes)

    def _concat(self, expr: Apply, args: list[_Value]) -> _Value:
        total: _Value | None = None
        offset = Dim.of(0)
        for i, v in enumerate(args):
            if v.depends:
                v = self._fitted_heads(v, expr.type)
                placing = replace(expr, static=(offset,))
                part = self._linear(placing, v, frozenset(v.axes[:1] or (ROW,)), v.axes, i, kind=v.family)
                total = part if total is None else replace(part, formula=total.formula + part.formula, mixed=total.mixed | part.mixed)
            offset = offset + v.type.axes[0]
        assert total is not None
        if any(not v.depends for v in args):
            parts = [replace(v, formula=sympy.Integer(0)) if v.depends else v for v in args]
            rest = self._opaque("concat", [_Value(p.formula, p.type) for p in parts], expr.type, ())
            total = replace(total, formula=total.formula + rest.formula)
        affine = all(v.family in (family.CONST, family.SHIFT, family.AFFINE) for v in args)
        return replace(total, family=family.AFFINE if affine else family.NONLINEAR)

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
        if not v.type.is_complex:
            return v
        self._read_apart(v)
        return replace(v, formula=sympy.conjugate(v.formula), family=family.combine("conj", [v.family]))

    def _re(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        if not v.type.is_complex:
            return v
        self._read_apart(v)
        return replace(v, formula=real_part(v.formula), type=expr.type, family=family.combine("re", [v.family]))

    def _im(self, expr: Apply, args: list[_Value]) -> _Value:
        (v,) = args
        if not v.type.is_complex:
            return _Value(sympy.Integer(0), expr.type)
        self._read_apart(v)
        return replace(v, formula=imag_part(v.formula), type=expr.type, family=family.combine("im", [v.family]))

    def _read_apart(self, v: _Value) -> None:
        """Notes that a value's real and imaginary parts are read apart: it has no complex derivative then."""
        if v.depends and v.type.is_complex:
            self.complex_pairs = True

    def _surrogate(self, expr: Apply) -> _Value:
        args = [self._fitted(self.value(a), expr.type) for a in expr.args]
        formula = surrogate(*(a.formula for a in args))
        axes, crossed = self._joined(args, expr.span)
        kind = family.NONLINEAR if any(a.depends for a in args) else family.CONST
        return self._settled(formula, expr.type, kind, axes, crossed)


class Factored(sympy.Function):
    """The value of a product of two dependent factors. Both arguments are that value, each linear in one: d = d(first) + d(second)."""

    def fdiff(self, argindex=1):
        return sympy.Integer(1)
