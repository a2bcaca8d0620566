"""Interval arithmetic on typed expressions.

A value that is read several times would lose its identity (1 - z and z both in [0, 1] sum to [0, 2]), so an expression that is
affine in such a value is evaluated at the value's two ends instead, which is exact: a convex combination stays in the hull of
its parts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from rnndsl.checks.cell import Apply, Expr, Number, Ref, walk
from rnndsl.checks.folding import computed, fold
from rnndsl.checks.prelude import body_of
from rnndsl.functions import COMPOUNDS, FUNCTIONS, OPERATORS, ranges

LONG = 100  # nodes of an expression from which its name is kept
_SPLITS = 6  # values held at their ends at once


@dataclass(frozen=True)
class Interval:
    """[low, high], ends possibly infinite."""

    low: float
    high: float

    def hull(self, other: "Interval") -> "Interval":
        return Interval(min(self.low, other.low), max(self.high, other.high))

    def holds(self, other: "Interval") -> bool:
        return self.low <= other.low and other.high <= self.high

    @property
    def finite(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


ALL = Interval(-math.inf, math.inf)


def point(value: float) -> Interval:
    return Interval(value, value)


def is_short(expr: Expr) -> bool:
    """Whether an expression has few enough nodes to stand for its name."""
    return all(n < LONG for n, _ in enumerate(walk(expr), 1))


class TooMuch(Exception):
    """Intervals that take too long to find; they are unknown then."""


class Work:
    """Counts steps of interval arithmetic. Raises TooMuch where there are too many."""

    def __init__(self, left: int = 300_000):
        self.left = left

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooMuch


def transparent(expr: Expr) -> bool:
    """Whether replacing a name by this keeps what is known: arithmetic does, since its parts may cancel; a bounded function
    of something else is better kept whole, as one value that several places read."""
    return isinstance(expr, Ref | Number) or (isinstance(expr, Apply) and expr.op in ("+", "-", "*", "neg", "/"))


def evaluate(expr: Expr, leaf: Callable[[Ref], Interval], work: Work | None = None) -> Interval:
    """Interval arithmetic, with values that are read twice held at their ends. Raises TooMuch."""
    return Evaluation(leaf, work).of(expr)


class _Node:
    """Arithmetic over atoms (the parts that are not arithmetic), with what each atom does to it."""

    __slots__ = ("args", "degrees", "key", "op", "reads", "repeated")

    def __init__(self, op: str, args: tuple["_Node", ...], key: int):
        self.op, self.args, self.key = op, args, key
        if op == "atom":
            self.degrees, self.reads = {key: 1}, {key: 1}
        else:
            self.degrees, self.reads = {}, {}
            for a in args:
                for k, d in a.degrees.items():
                    known = self.degrees.get(k, 0)
                    self.degrees[k] = known + d if op == "*" else max(known, d)
                    self.reads[k] = self.reads.get(k, 0) + a.reads[k]
        # affine in each of these, and reading it more than once
        self.repeated = tuple(k for k, d in self.degrees.items() if d == 1 and self.reads[k] > 1)


class Evaluation:
    """Intervals of expressions, given those of names. Equal expressions have one key and are evaluated once."""

    def __init__(self, leaf: Callable[[Ref], Interval], work: Work | None = None):
        self.leaf = leaf
        self.work = work or Work()
        self.keys: dict[tuple, int] = {}
        self.seen: dict[int, tuple[Expr, int]] = {}  # by id, the expression kept alive
        self.known: dict[int, Interval] = {}

    def key(self, expr: Expr) -> int:
        if id(expr) not in self.seen:
            match expr:
                case Number():
                    parts: tuple = ("number", repr(expr.value))
                case Ref():
                    parts = (expr.role, expr.name, expr.lag)
                case _:
                    parts = (expr.op, expr.static, *(self.key(a) for a in expr.args))
            self.seen[id(expr)] = expr, self.keys.setdefault(parts, len(self.keys))
        return self.seen[id(expr)][1]

    def of(self, expr: Expr) -> Interval:
        """An interval that holds every value of an expression."""
        key = self.key(expr)
        if key not in self.known:
            self.known[key] = self._compute(expr)
        return self.known[key]

    def _compute(self, expr: Expr) -> Interval:
        if isinstance(expr, Number):
            return ALL if isinstance(expr.value, complex) else point(expr.value)
        if isinstance(expr, Ref):
            return self.leaf(expr)
        if expr.type.is_complex or any(a.type.is_complex for a in expr.args):
            return _of_complex(expr.op)
        if expr.op in _ARITHMETIC:
            atoms: dict[int, Interval] = {}
            return self._at_ends(self._node(expr, atoms), atoms, frozenset(), _SPLITS)
        args = [self.of(a) for a in expr.args]
        if expr.op in COMPOUNDS and COMPOUNDS[expr.op].interval is None:
            return self._of_compound(expr, args)
        return _apply(expr, args)

    def _of_compound(self, expr: Apply, args: list[Interval]) -> Interval:
        """A function of the prelude by its definition: at the ends of its argument where it never falls."""
        row, body = COMPOUNDS[expr.op], body_of(expr)
        if row.rising:
            low, high = (computed(body, {row.parameters[0]: end}) for end in (args[0].low, args[0].high))
            return Interval(low, high) if isinstance(low, float) and isinstance(high, float) and low <= high else ALL
        named = dict(zip(row.parameters, args, strict=True))
        return Evaluation(lambda ref: named[ref.name] if ref.role == "argument" else self.leaf(ref), self.work).of(body)

    def _node(self, expr: Expr, atoms: dict[int, Interval]) -> _Node:
        key = self.key(expr)
        if isinstance(expr, Apply) and expr.op in _ARITHMETIC and not expr.type.is_complex:
            node = _Node(expr.op, tuple(self._node(a, atoms) for a in expr.args), key)
            self.work.spend(1 + len(node.reads) // 4)
            return node
        if key not in atoms:
            atoms[key] = self.of(expr)
        if isinstance(expr, Number):
            return _Node("number", (), key)
        return _Node("atom", (), key)

    def _at_ends(self, node: _Node, atoms: dict[int, Interval], held: frozenset[int], splits: int) -> Interval:
        """A node's interval; an atom that it is affine in and reads more than once takes both of its ends in turn."""
        self.work.spend(1)
        if not node.args:
            return atoms[node.key]
        for k in node.repeated if splits else ():
            if k not in held and atoms[k].finite:
                ends = {point(atoms[k].low), point(atoms[k].high)}
                low, *high = (self._at_ends(node, atoms | {k: end}, held | {k}, splits - 1) for end in ends)
                return low.hull(high[0]) if high else low
        args = [self._at_ends(a, atoms, held, splits) for a in node.args]
        match node.op:
            case "+":
                return _plus(*args)
            case "-":
                return _plus(args[0], Interval(-args[1].high, -args[1].low))
            case "neg":
                return Interval(-args[0].high, -args[0].low)
        return _square(args[0]) if node.args[0].key == node.args[1].key else _times(*args)


def _of_complex(op: str) -> Interval:
    """What is known of a real value that is made of a complex one."""
    row = FUNCTIONS.get(op)
    return Interval(*row.interval(*[(-math.inf, math.inf)] * len(row.parameters))) if row is not None and row.domain == "to-real" and row.interval else ALL


def _times(a: Interval, b: Interval) -> Interval:
    return Interval(*ranges.product((a.low, a.high), (b.low, b.high)))


def _plus(a: Interval, b: Interval) -> Interval:
    low = -math.inf if -math.inf in (a.low, b.low) else a.low + b.low
    high = math.inf if math.inf in (a.high, b.high) else a.high + b.high
    return Interval(low, high)


_ARITHMETIC = frozenset(("+", "-", "*", "neg"))
_KEEPS = frozenset(("transpose", "broadcast", "slice"))


def _apply(expr: Apply, args: list[Interval]) -> Interval:
    match expr.op:
        case "/":
            return _quotient(*args)
        case "^":
            return _power(expr, args)
        case "surrogate":
            return args[1]
    if expr.op in _KEEPS:
        return args[0]
    row = OPERATORS.get(expr.op) or FUNCTIONS.get(expr.op)
    if row is not None and row.rising and row.number is not None:
        return Interval(row.number(args[0].low), row.number(args[0].high))
    if row is not None and row.interval is not None:
        return Interval(*row.interval(*((a.low, a.high) for a in args)))
    return ALL


def _square(a: Interval) -> Interval:
    low = 0.0 if a.low <= 0 <= a.high else min(a.low * a.low, a.high * a.high)
    return Interval(low, max(a.low * a.low, a.high * a.high))


def _quotient(a: Interval, b: Interval) -> Interval:
    if b.low <= 0 <= b.high:
        return ALL
    inverse = Interval(1 / b.high if math.isfinite(b.high) else 0.0, 1 / b.low if math.isfinite(b.low) else 0.0)
    inverse = Interval(min(inverse.low, inverse.high), max(inverse.low, inverse.high))
    return _times(a, inverse)


def _power(expr: Apply, args: list[Interval]) -> Interval:
    exponent = fold(expr.args[1])
    base = args[0]
    if isinstance(exponent, float) and exponent.is_integer() and 0 < exponent <= 16:
        n = int(exponent)
        ends = (_raised(base.low, n), _raised(base.high, n))
        if n % 2 == 1:
            return Interval(*ends)
        return Interval(0.0 if base.low <= 0 <= base.high else min(ends), max(ends))
    if base.low >= 0:
        if isinstance(exponent, float) and exponent > 0:
            return Interval(_raised(base.low, exponent), _raised(base.high, exponent))
        return Interval(0.0, math.inf)
    return ALL


def _raised(x: float, n: float) -> float:
    try:
        return x**n
    except OverflowError:
        return math.copysign(math.inf, x) if n % 2 else math.inf
