"""Bounds on |∂s'/∂s|: the entries of a Jacobian evaluated in interval arithmetic, or by modulus where they are complex.

An entry in lane form is turned back into an expression of the language and given to the interval analysis, with the boxes that
were proven for the states. What mixing operations contribute is not in an entry, so only components whose channels do not mix are
bounded.
"""

import math
from contextlib import suppress

import sympy
from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus.bounds import Bounds, BoxAnalysis
from rnndsl.calculus.functions import ELEMENTWISE, surrogate
from rnndsl.calculus.intervals import ALL, Interval, TooMuch, evaluate, is_short, transparent
from rnndsl.calculus.jacobian import Jacobian
from rnndsl.calculus.lanes import Lanes
from rnndsl.checks.cell import Apply, Expr, Number, Ref, Type
from rnndsl.plan.ir import Plan, Scan

_LANE = "lane"  # the role of a name of the lane form, which is none of the program's
_OPS = {f: op for op, f in ELEMENTWISE.items()}


def growth(scan: Scan, plan: Plan, lanes: Lanes, jacobian: Jacobian, boxes: dict[str, Bounds]) -> dict[tuple[str, str], Interval]:
    """For each pair of a new state and a slot's symbol, an interval that holds |∂state[t]/∂slot|; infinite ends if unknown."""
    if lanes.mixes or lanes.complex_pairs:
        return {}
    analysis = _Growth(scan, plan, lanes, jacobian, boxes)
    slots = [s.symbol for s in lanes.slots]
    found: dict[tuple[str, str], Interval] = {}
    try:
        for symbol in analysis.definitions:  # in order, so that none leads to a long chain of those before it
            with suppress(NotImplementedError):
                analysis.known_before(symbol)
        for p in jacobian.updates:
            found |= {(p.root, str(s)): analysis.size(p.by[s]) for s in slots if s in p.by}
    except TooMuch:
        return {}
    return found


class _Growth:
    def __init__(self, scan: Scan, plan: Plan, lanes: Lanes, jacobian: Jacobian, boxes: dict[str, Bounds]):
        self.analysis = BoxAnalysis(scan, plan)
        self.boxes = {s: b.box for s, b in boxes.items()}
        self.lanes = lanes
        self.definitions = {**lanes.definitions, **dict(jacobian.locals)}
        self.symbols = {str(s): s for s in (*(leaf.symbol for leaf in lanes.leaves), *(s.symbol for s in lanes.slots), *self.definitions)}
        self.slots = {s.symbol: s for s in lanes.slots}
        self.leaves = {leaf.symbol: leaf for leaf in lanes.leaves}
        self.known: dict[str, Interval] = {}
        self.moduli: dict[Ref, Interval] = {}
        self.reals: dict[Ref, Interval] = {}
        self.wholes: dict[Symbol, Expr] = {}

    def size(self, formula: Formula) -> Interval:
        """An interval that holds the absolute value of a formula."""
        try:
            expr = self.expression(formula)
        except NotImplementedError:
            return Interval(0.0, math.inf)
        if _is_complex(expr):
            return self.modulus(expr)
        return _absolute(evaluate(expr, self.leaf, self.analysis.work))

    def expression(self, formula: Formula) -> Expr:
        """The formula as an expression of the language, arithmetic locals replaced by what they stand for."""
        if isinstance(formula, Symbol):
            return self._symbol(formula)
        if formula in (sympy.oo, -sympy.oo):
            return Number(math.inf if formula == sympy.oo else -math.inf)
        if formula.is_Number or formula == sympy.pi:
            return Number(float(formula))
        if formula == sympy.I:
            return Number(1j)
        if isinstance(formula, sympy.Add | sympy.Mul):
            return self._chain("+" if formula.is_Add else "*", formula.args)
        if isinstance(formula, sympy.Pow):
            return self._power(*formula.args)
        if isinstance(formula, surrogate):
            return self.expression(formula.args[1])
        op = _OPS.get(formula.func)
        if op is None:
            raise NotImplementedError
        return _apply(op, *(self.expression(a) for a in formula.args))

    def _chain(self, op: str, parts: tuple[Formula, ...]) -> Expr:
        if op == "*" and parts[0] == -1:
            return _apply("neg", self._chain(op, parts[1:]))
        total = self.expression(parts[0])
        for p in parts[1:]:
            total = _apply(op, total, self.expression(p))
        return total

    def _power(self, base: Formula, exponent: Formula) -> Expr:
        if exponent == sympy.Rational(1, 2):
            return _apply("sqrt", self.expression(base))
        if exponent.is_negative:
            return _apply("/", Number(1.0), self.expression(base ** (-exponent)))
        return _apply("^", self.expression(base), self.expression(exponent))

    def _symbol(self, symbol: Symbol) -> Expr:
        definition = self.definitions.get(symbol)
        t = self.lanes.types.get(symbol, Type())
        ref = Ref(str(symbol), _LANE, Type(is_complex=t.is_complex))
        if definition is not None:
            if symbol not in self.wholes:
                self.wholes[symbol] = whole = self.expression(definition)
                if not transparent(whole) or not is_short(whole):
                    self.wholes[symbol] = ref
            return self.wholes[symbol]
        leaf = self.leaves.get(symbol)
        if leaf is not None and leaf.name in self.analysis.definitions:  # 1 - z keeps its z
            return self.analysis.inline(Ref(leaf.name, "local", leaf.type))
        return ref

    def leaf(self, ref: Ref) -> Interval:
        """What is known of one name."""
        symbol = self.symbols.get(ref.name)
        if symbol is None or ref.role != _LANE:
            return self.analysis.interval(ref, self.boxes)
        if ref.name not in self.known:
            self.known[ref.name] = ALL
            self.known[ref.name] = self._compute(symbol)
        return self.known[ref.name]

    def _compute(self, symbol: Symbol) -> Interval:
        if symbol in self.slots:
            return self.boxes.get(self.slots[symbol].state, ALL)
        if symbol in self.leaves:
            return self.analysis.interval(self._named(symbol), self.boxes)
        return evaluate(self.expression(self.definitions[symbol]), self.leaf, self.analysis.work)

    def known_before(self, symbol: Symbol) -> None:
        """Finds what is known of a local, before what reads it."""
        ref = self._symbol(symbol)
        if isinstance(ref, Ref) and ref.role == _LANE:
            if _is_complex(ref):
                self.modulus(ref)
                self.real(ref)
            else:
                self.leaf(ref)

    def _named(self, symbol: Symbol) -> Ref:
        """The name in the program that a leaf stands for."""
        leaf = self.leaves[symbol]
        cell = self.analysis.plan.cell
        if leaf.name in self.analysis.definitions:
            return Ref(leaf.name, "local", leaf.type)
        if leaf.name in self.analysis.defaults:
            return Ref(leaf.name, "hyper", leaf.type)
        if leaf.name in cell.sizes:
            return Ref(leaf.name, "size", leaf.type)
        role = next((v.role for v in cell.variables if v.name == leaf.name), "input")
        return Ref(leaf.name, role if role != "state" else "input", leaf.type)

    # Complex entries

    def modulus(self, expr: Expr) -> Interval:
        """An interval that holds |expr|: |e^z| = e^re(z), |a b| = |a| |b|."""
        self.analysis.work.spend(1)
        if not _is_complex(expr):
            return _absolute(evaluate(expr, self.leaf, self.analysis.work))
        if isinstance(expr, Number):
            return _absolute(Interval(abs(expr.value), abs(expr.value)))
        if isinstance(expr, Ref):
            if expr not in self.moduli:
                definition = self._definition(expr)
                self.moduli[expr] = Interval(0.0, math.inf) if definition is None else self.modulus(definition)
            return self.moduli[expr]
        args = [self.modulus(a) for a in expr.args] if expr.op in ("*", "neg", "conj", "broadcast") else []
        match expr.op:
            case "*":
                low, high = (_product(getattr(args[0], e), getattr(args[1], e)) for e in ("low", "high"))
                return Interval(low, high)
            case "neg" | "conj" | "broadcast":
                return args[0]
            case "exp":
                real = self.real(expr.args[0])
                return Interval(*(math.exp(min(e, 700.0)) if e != math.inf else math.inf for e in (real.low, real.high)))
            case "+" | "-":
                return Interval(0.0, sum(self.modulus(a).high for a in expr.args))
        return Interval(0.0, math.inf)

    def real(self, expr: Expr) -> Interval:
        """An interval that holds the real part of an expression."""
        self.analysis.work.spend(1)
        if not _is_complex(expr):
            return evaluate(expr, self.leaf, self.analysis.work)
        if isinstance(expr, Number):
            value = complex(expr.value).real
            return Interval(value, value)
        if isinstance(expr, Ref):
            if expr not in self.reals:
                definition = self._definition(expr)
                self.reals[expr] = ALL if definition is None else self.real(definition)
            return self.reals[expr]
        match expr.op:
            case "+":
                a, b = (self.real(e) for e in expr.args)
                return Interval(a.low + b.low if -math.inf not in (a.low, b.low) else -math.inf,
                                a.high + b.high if math.inf not in (a.high, b.high) else math.inf)  # fmt: skip
            case "-":
                return self.real(_apply("+", expr.args[0], _apply("neg", expr.args[1])))
            case "neg":
                inner = self.real(expr.args[0])
                return Interval(-inner.high, -inner.low)
            case "*":  # an imaginary number times a real value
                for one, other in (expr.args, expr.args[::-1]):
                    if isinstance(one, Number) and complex(one.value).real == 0 and not _is_complex(other):
                        return Interval(0.0, 0.0)
            case "broadcast":
                return self.real(expr.args[0])
        return ALL

    def _definition(self, ref: Ref) -> Expr | None:
        if ref.role == _LANE:
            symbol = self.symbols[ref.name]
            return self.expression(self.definitions[symbol]) if symbol in self.definitions else None
        return self.analysis.definitions.get(ref.name)


def _apply(op: str, *args: Expr) -> Apply:
    return Apply(op, args, Type(is_complex=any(_is_complex(a) for a in args)))


def _is_complex(expr: Expr) -> bool:
    return expr.type.is_complex


def _absolute(a: Interval) -> Interval:
    low = 0.0 if a.low <= 0 <= a.high else min(abs(a.low), abs(a.high))
    return Interval(low, max(abs(a.low), abs(a.high)))


def _product(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b
