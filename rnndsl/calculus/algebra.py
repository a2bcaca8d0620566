"""What values in lane form are made of each other: elementwise formulas, mixing operations, names for what is long."""

from dataclasses import dataclass, field, replace

import sympy
from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus import family
from rnndsl.calculus.budget import NAMED, Budget
from rnndsl.calculus.functions import ARITHMETIC, ELEMENTWISE, absolute, imag_part, modulus
from rnndsl.calculus.lanes import COLUMN, HEAD, ROW, Cause, Leaf, Mix, Value
from rnndsl.checks.cell import Apply, Expr, Ref, Type, walk
from rnndsl.diagnostics import NOWHERE, Span


@dataclass
class Algebra:
    """Makes values of a component, and keeps what they stand for: leaves, locals and mixes in order. Its methods raise TooLarge."""

    budget: Budget = field(default_factory=Budget)
    taken: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)  # by name, that of the last symbol called after it
    leaves: dict[tuple, Leaf] = field(default_factory=dict)
    locals: list[tuple[Symbol, Formula]] = field(default_factory=list)
    mixes: list[Mix] = field(default_factory=list)
    order: list[Symbol] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    known: dict[Symbol, Value] = field(default_factory=dict)  # what depends on the states: slots, locals, mixes
    moving: set[Symbol] = field(default_factory=set)  # what changes with time and does not depend on the states
    done: dict[tuple, Symbol] = field(default_factory=dict)  # mixes that have a symbol
    transposed: dict[Symbol, Value] = field(default_factory=dict)
    complex_pairs: bool = False
    types: dict[Symbol, Type] = field(default_factory=dict)

    def symbol(self, name: str, t: Type) -> Symbol:
        unique = name
        while unique in self.taken:
            self.numbers[name] = self.numbers.get(name, 0) + 1
            unique = f"{name}.{self.numbers[name]}"
        self.taken.add(unique)
        symbol = Symbol(unique, real=None if t.is_complex else True)
        self.types[symbol] = t
        return symbol

    def named(self, name: str, value: Value) -> Value:
        """A value under a symbol of its own, unless it is a symbol or number already."""
        if value.formula.is_Atom or _is_negated_symbol(value.formula):
            return value
        symbol = self.symbol(name, value.type)
        self.locals.append((symbol, value.formula))
        self.order.append(symbol)
        if not value.depends:
            if value.formula.free_symbols & self.moving:
                self.moving.add(symbol)
            return replace(value, formula=symbol)
        self.known[symbol] = replace(value, formula=symbol, crossed=frozenset())
        return self.known[symbol]

    def leaf(self, key: tuple, leaf: Leaf) -> Symbol:
        self.leaves[key] = leaf
        if leaf.role == "stream":
            self.moving.add(leaf.symbol)
        return leaf.symbol

    def opaque(self, operation: str, args: list[Value], t: Type, static: tuple, expr: Expr | None = None) -> Value:
        """What an operation that is not lane by lane gives of values that do not depend on the states."""
        operands = tuple(a.formula for a in args)
        key = (operation, operands, tuple(a.type for a in args), t, static)
        if key not in self.leaves:
            names = [n.name for n in walk(expr) if isinstance(n, Ref)] if expr is not None else [str(o) for o in operands]
            name = f"{operation}({', '.join(names)})"
            moves = any(o.free_symbols & self.moving for o in operands)
            role = "stream" if moves else "param"
            leaf = Leaf(self.symbol(name, t), role, name, t, None, operation, operands, tuple(a.type for a in args), static)
            self.leaf(key, leaf)
        return Value(self.leaves[key].symbol, t)

    def elementwise(self, expr: Apply, args: list[Value]) -> Value:
        args = [self.fitted(a, replace(expr.type, is_complex=a.type.is_complex)) for a in args]
        kind = family.combine(expr.op, [a.family for a in args])
        axes, crossed = self.joined(args, expr.span)
        formulas = [a.formula for a in args]
        if expr.op == "broadcast":
            formula = formulas[0]
        elif expr.op in ARITHMETIC:
            formula = ARITHMETIC[expr.op](*formulas)
        elif expr.op == "abs" and expr.args[0].type.is_complex:
            self.read_apart(args[0])
            formula = modulus(formulas[0])
        elif expr.op == "angle" and expr.args[0].type.is_complex:
            self.read_apart(args[0])
            formula = imag_part(sympy.log(formulas[0]))
        else:
            formula = ELEMENTWISE[expr.op](*formulas)
        if formula.has(sympy.Abs):  # sqrt(x^2)
            formula = formula.replace(sympy.Abs, absolute)
        value = self.settled(self.budget.made(formula), expr.type, kind, axes, crossed)
        return self.named("v", value) if self.budget.size(formula) > NAMED else value

    def settled(self, formula: Formula, t: Type, kind: str, axes: tuple[str, ...], crossed: frozenset[str]) -> Value:
        """A value as its formula shows it to be, once SymPy has cancelled what cancels: `h - h`, `-(-h)`, `h^1`."""
        if kind == family.CONST:
            return Value(formula, t)
        own = [s for s in formula.free_symbols if s in self.known]
        if not own:
            return Value(formula, t)
        terms = [a for a in formula.args if a.free_symbols & self.known.keys()] if formula.is_Add else [formula]
        if len(terms) == 1 and terms[0] in self.known:
            kind = self.known[terms[0]].family
        mixed = crossed.union(*(self.known[s].mixed for s in own))
        return Value(formula, t, kind, axes, mixed, crossed)

    def joined(self, args: list[Value], span: Span) -> tuple[tuple[str, ...], frozenset[str]]:
        """The axes of an elementwise result, and those that are mixed where two arguments run along different ones."""
        crossed: frozenset[str] = frozenset().union(*(a.crossed for a in args))
        axes: tuple[str, ...] = ()
        for a in args:
            if a.depends:
                if axes and a.axes and a.axes != axes:
                    crossed |= self.cause(frozenset(axes) | frozenset(a.axes), span)
                axes = axes or a.axes
        return axes, crossed

    def cause(self, axes: frozenset[str], span: Span) -> frozenset[str]:
        self.causes.append(Cause(axes, span))
        return axes

    def fitted(self, value: Value, t: Type) -> Value:
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
        self.cause(spread, NOWHERE)
        axes = value.axes if value.type.rank == t.rank else (ROW, COLUMN)[: t.rank]
        t = replace(t, is_complex=value.type.is_complex)
        return self.mix(Value(value.formula, value.type, value.family, axes, value.mixed | spread), "broadcast", 0, (), t, NOWHERE, None)

    def mix(
        self,
        operand: Value,
        operation: str,
        argument: int,
        others: tuple[Value, ...],
        t: Type,
        span: Span,
        matrix: str | None,
        static: tuple = (),
    ) -> Value:
        """The result of a linear operation. `operand` has the family, axes and mixed axes of the result."""
        given = tuple(o.formula for o in others)
        types = tuple(o.type for o in others)
        key = (operand.formula, operand.type, operation, argument, given, t, static)
        if key not in self.done:
            symbol = self.symbol(f"m{len(self.mixes) + 1}", t)
            mix = Mix(symbol, operand.formula, operation, argument, given, t, operand.type, static, span, matrix, types)
            self.mixes.append(mix)
            self.order.append(symbol)
            self.done[key] = symbol
            self.known[symbol] = replace(operand, formula=symbol, type=t)
        return self.known[self.done[key]]

    def linear(
        self,
        expr: Apply,
        operand: Value,
        mixes: frozenset[str],
        axes: tuple[str, ...],
        argument: int = 0,
        others: tuple[Value, ...] = (),
        matrix: str | None = None,
        kind: str | None = None,
    ) -> Value:
        """One opaque linear operation on a dependent value."""
        if mixes:
            self.cause(mixes, expr.span)
        kind = kind or family.combine("sum", [operand.family])
        result = replace(operand, family=kind, axes=axes, mixed=operand.mixed | mixes)
        return self.mix(result, expr.op, argument, others, expr.type, expr.span, matrix, expr.static)

    def fitted_heads(self, value: Value, t: Type) -> Value:
        if t.heads and not value.type.heads and value.depends:
            return self.fitted(value, replace(t, axes=value.type.axes))
        return value

    def contraction(self, left_rank: int, right_rank: int, argument: int, operand: Value) -> tuple[frozenset[str], tuple[str, ...]]:
        """Which state axes a product mixes in one factor, and along which axes its result runs."""
        axes = operand.axes or (ROW, COLUMN)
        if argument == 0:  # the operand's last axis is summed over
            contracted = axes[left_rank - 1]
            kept = axes[: left_rank - 1] + ((contracted,) if right_rank == 2 else ())
        else:
            contracted = axes[0]
            kept = ((contracted,) if left_rank == 2 else ()) + axes[1:right_rank]
        return frozenset((contracted,)), kept

    def placed(self, v: Value, i: int, t: Type, span: Span) -> Value:
        """A vector as every column (i = 0) or every row (i = 1) of a matrix."""
        operation = ("rows", "columns")[i]
        if not v.depends:
            t = Type(v.type.heads, t.axes, v.type.is_complex)
            return self.opaque(operation, [v], t, ())
        v = self.fitted_heads(v, t)
        own = (ROW, COLUMN)[i]
        crossed = self.cause(frozenset((ROW, COLUMN)), span) if v.axes and v.axes[0] != own else frozenset()
        result = replace(v, axes=(ROW, COLUMN), mixed=v.mixed | crossed)
        return self.mix(result, operation, 0, (), replace(t, is_complex=v.type.is_complex), span, None)

    def spread(self, value: Value, like: Value, t: Type, span: Span) -> Value:
        """A scalar put back along the axis that it was summed over."""
        return self.mix(replace(value, axes=like.axes), "broadcast", 0, (), t, span, None)

    def summed(self, expr: Apply, v: Value) -> Value:
        """The sum or mean of a vector."""
        return self.linear(expr, v, frozenset(v.axes[:1] or (ROW,)), ())

    def total(self, value: Value, how: str, expr: Apply) -> Value:
        scalar = replace(expr.type, axes=(), is_complex=value.type.is_complex)
        return self.summed(Apply(how, expr.args[:1], scalar, span=expr.span), value)

    def along(self, expr: Apply, v: Value, formula: Formula, *summed: Value) -> Value:
        crossed = v.crossed.union(*(s.crossed for s in summed))
        return self.settled(formula, expr.type, family.NONLINEAR, v.axes, crossed)

    def read_apart(self, v: Value) -> None:
        """Notes that a value's real and imaginary parts are read apart: it has no complex derivative then."""
        if v.depends and v.type.is_complex:
            self.complex_pairs = True


def _is_negated_symbol(formula: Formula) -> bool:
    return formula.is_Mul and len(formula.args) == 2 and formula.args[0] is sympy.S.NegativeOne and formula.args[1].is_Symbol
